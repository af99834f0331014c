"""What speaks the questions of a set: the contract, and espeak-ng."""

from __future__ import annotations

import random
from typing import Any, NamedTuple, Protocol

from greaves.base.errors import GreavesError
from greaves.data.speech.espeak_process import EspeakProcess
from greaves.data.speech.voices import SAMPLE_RATE, espeak, ordinary_voices


class UnspeakableError(GreavesError):
    """One text that a speaker will not say; the other texts of the set are not affected."""


class Spoken(NamedTuple):
    """A spoken text: a WAV file of 16 bits a sample, and all that decides its sound in one text."""

    wav: bytes
    voice: str


class SpeechEngine(Protocol):
    """Many voices of one engine.

    Attributes:
        parallel: how many texts may be spoken at the same time.
    """

    parallel: int

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the engine."""
        ...

    def speak(self, text: str, seed: str) -> Spoken:
        """Say a text in the voice that the seed picks.

        Raises:
            UnspeakableError: this text cannot be spoken.
            SpeechError: the engine fails, whatever the text.
        """
        ...


class EspeakEngine:
    """espeak-ng, in the ordinary voices; the same text and seed give the same bytes.

    Raises:
        SpeechError: espeak-ng is not installed.
    """

    def __init__(self) -> None:
        self.parallel = 1  # there is one process
        self._version = espeak().version()
        self._voices = ordinary_voices()
        self._process = EspeakProcess()

    def describe(self) -> dict[str, Any]:
        return {
            "engine": "espeak-ng",
            "version": self._version,
            "sample_rate": SAMPLE_RATE,
            "licence_note": "synthetic speech of espeak-ng, a program under GPL-3",
        }

    def speak(self, text: str, seed: str) -> Spoken:
        voice = random.Random(seed).choice(self._voices)
        try:
            return Spoken(self._process.say(voice, text), voice.label)
        except ValueError as error:
            raise UnspeakableError(str(error)) from None
