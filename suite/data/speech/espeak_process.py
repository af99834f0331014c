"""espeak-ng in a process of its own, where every text is spoken by a fresh copy of the engine.

espeak-ng carries state from one text to the next that neither a new voice nor a new
initialisation clears, and seeds its noise by the clock: said again, a text differs by some samples.
Here the engine is started and seeded once and forked for every text, so that a clip depends on text
and voice alone (11 ms a text).

The process reads one JSON line `{text, voice}` a text and writes eight bytes of length, one byte
of outcome (`OK`, `SILENT`) and the WAV file or the reason.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from dataclasses import asdict
from threading import Lock
from typing import IO

import numpy as np
import soundfile

from greaves.data.speech.voices import SAMPLE_RATE, EspeakVoice, SpeechError, espeak

OK, SILENT = b"+", b"-"


class EspeakProcess:
    """The other process, seen from this one; it ends with the object, or with this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        # -P: a folder named greaves in the working folder must not be imported. A session of its
        # own: Ctrl-C stops the build, which then closes the pipe.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "greaves.data.speech.espeak_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            # A process that forks should have no other threads, not even numpy's.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def say(self, voice: EspeakVoice, text: str) -> bytes:
        """Bytes of a WAV file, 16 bits a sample; safe from any thread.

        Raises:
            ValueError: nothing was said; the message tells why.
            SpeechError: the process is gone.
        """
        line = json.dumps({"text": text, "voice": asdict(voice)}) + "\n"
        pipes = self._process
        assert pipes.stdin is not None, "opened with pipes"
        assert pipes.stdout is not None, "opened with pipes"
        with self._lock:
            try:
                pipes.stdin.write(line.encode())
                pipes.stdin.flush()
                (length,) = struct.unpack(">Q", _exactly(pipes.stdout, 8))
                answer = _exactly(pipes.stdout, length)
            except (OSError, EOFError):
                raise SpeechError("espeak-ng's process has ended", do="run again") from None
        if answer[:1] != OK:
            raise ValueError(answer[1:].decode())
        return answer[1:]

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def __del__(self) -> None:
        self.close()


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _wav(line: bytes) -> bytes:
    request = json.loads(line)
    samples = EspeakVoice(**request["voice"]).say(request["text"])
    file = io.BytesIO()
    whole = np.clip(samples, -1.0, 1.0)
    soundfile.write(file, whole, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _answer(payload: bytes) -> None:
    sys.stdout.buffer.write(struct.pack(">Q", len(payload)) + payload)
    sys.stdout.buffer.flush()


def main() -> None:
    """Speak until the other end is closed."""
    espeak().seed_noise(0)
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            try:
                payload = OK + _wav(line)
            except SpeechError as error:
                payload = SILENT + error.what.encode()
            _answer(payload)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            _answer(SILENT + b"espeak-ng crashed on this text")


if __name__ == "__main__":
    main()
