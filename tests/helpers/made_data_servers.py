"""Servers on this machine: OpenAI chat completions over HTTP, Google Text-to-Speech over gRPC."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import grpc
import numpy as np
import soundfile
from google.cloud import texttospeech_v1 as tts

Reply = str | tuple[int, dict[str, str], bytes]
"""Text of a completion, or status, headers and body."""


def question_in(request: dict[str, Any]) -> str:
    """The harmful question that a rewriting request carries."""
    content = request["messages"][-1]["content"]
    return json.loads(content[content.rindex(': "') + 2 :])


class ChatServer:
    """What was asked of the server, and how it replies to a question's n-th request."""

    def __init__(self, reply: Callable[[str, int], Reply]) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""
        self._lock = threading.Lock()

    def asked(self, question: str) -> int:
        return sum(question_in(request) == question for request in self.requests)

    def take(self, request: dict[str, Any], key: str) -> Reply:
        with self._lock:
            number = self.asked(question_in(request))
            self.requests.append(request)
            self.keys.append(key)
        return self.reply(question_in(request), number)


@contextmanager
def chat_server(reply: Callable[[str, int], Reply]) -> Iterator[ChatServer]:
    state = ChatServer(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = state.take(request, self.headers.get("Authorization", ""))
            status, headers, body = _completion(answer) if isinstance(answer, str) else answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _completion(text: str) -> tuple[int, dict[str, str], bytes]:
    message = {"role": "assistant", "content": text}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def tone(seconds: float = 0.4, peak: float = 0.5, rate: int = 16_000) -> bytes:
    """A WAV file of a 200 Hz tone; a peak above 1 is cut off."""
    wave = peak * np.sin(2 * np.pi * 200 * np.arange(int(seconds * rate)) / rate)
    file = BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


class SpeechServer:
    """google.cloud.texttospeech.v1.TextToSpeech: every method that the suite calls."""

    NAMES = (
        *("en-US-Neural2-A", "en-US-Wavenet-B", "en-US-Standard-C", "en-US-Standard-D"),
        *("en-US-Chirp3-HD-Kore", "en-US-Studio-O", "en-GB-Neural2-A", "en-US-News-K"),
    )

    def __init__(self, say: Callable[[str], bytes] | None = None) -> None:
        self.say = say or (lambda text: tone(0.2 + 0.01 * len(text)))
        self.requests: list[tts.SynthesizeSpeechRequest] = []
        self.listed: list[str] = []
        self.fail: list[grpc.StatusCode] = []
        self.address = ""

    def list_voices(self, request: tts.ListVoicesRequest, context: Any) -> tts.ListVoicesResponse:
        self.listed.append(request.language_code)
        voices = [tts.Voice(name=name, language_codes=[name[:5]]) for name in self.NAMES]
        return tts.ListVoicesResponse(voices=voices)

    def synthesize(
        self, request: tts.SynthesizeSpeechRequest, context: Any
    ) -> tts.SynthesizeSpeechResponse:
        self.requests.append(request)
        if self.fail:
            context.abort(self.fail.pop(0), "as the test wants it")
        if len(request.input.text) > 5_000:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too long")
        return tts.SynthesizeSpeechResponse(audio_content=self.say(request.input.text))


@contextmanager
def speech_server(say: Callable[[str], bytes] | None = None) -> Iterator[SpeechServer]:
    state = SpeechServer(say)
    handlers = {
        "ListVoices": grpc.unary_unary_rpc_method_handler(
            state.list_voices,
            request_deserializer=tts.ListVoicesRequest.deserialize,
            response_serializer=tts.ListVoicesResponse.serialize,
        ),
        "SynthesizeSpeech": grpc.unary_unary_rpc_method_handler(
            state.synthesize,
            request_deserializer=tts.SynthesizeSpeechRequest.deserialize,
            response_serializer=tts.SynthesizeSpeechResponse.serialize,
        ),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    service = "google.cloud.texttospeech.v1.TextToSpeech"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    state.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield state
    finally:
        server.stop(None)
