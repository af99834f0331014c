"""Synthetic voices: espeak-ng through the shared library that `espeakng-loader` ships.

espeak-ng is GPL-3, so the wheel is an optional extra (`speech`) and is imported only when a voice
first speaks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product, starmap
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from greaves.base.errors import GreavesError

SAMPLE_RATE = 16_000
"""Samples a second of every clip that leaves this module."""

Sex = Literal["male", "female"]

MALE_VARIANTS: tuple[str, ...] = (
    *("m1", "m2", "m3", "m4", "m5", "m7", "m8"),
    *("Andy", "Gene", "Lee", "Michael", "Mike", "Mario", "Denis", "Diogo", "Hugo", "Marco"),
    *("adam", "benjamin", "david", "edward", "gustave", "max", "paul", "robert", "victor"),
)
"""espeak-ng variants that sound male and are used in training."""

FEMALE_VARIANTS: tuple[str, ...] = (
    *("f1", "f2", "f3", "f5"),
    *("Annie", "Andrea", "anika", "belinda", "linda", "steph", "steph2", "steph3", "aunty"),
)
"""espeak-ng variants that sound female and are used in training."""

HELD_OUT_VARIANTS: dict[str, Sex] = {"m6": "male", "f4": "female"}
"""Ordinary variants that training never hears."""

ACCENTS: tuple[str, ...] = ("en", "en-us")
"""espeak-ng languages that the voices speak."""

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class SpeechError(GreavesError):
    """espeak-ng is not installed, or does not know the voice that was asked for."""


class _Engine:
    """The one espeak-ng instance of this process; the library keeps global state."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            what = "espeak-ng is not installed"
            raise SpeechError(what, do="pip install 'greaves[speech]'") from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._rate = int(
            self._library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0
            )
        )
        if self._rate <= 0:
            raise SpeechError("espeak-ng could not start", do="reinstall espeakng-loader")
        self._chunks: list[npt.NDArray[np.int16]] = []
        # ctypes keeps no reference to a callback: losing this one would crash the library.
        self._callback = _SYNTH_CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def version(self) -> str:
        """For provenance, such as "1.52.0"."""
        self._library.espeak_Info.restype = ctypes.c_char_p
        found: bytes = self._library.espeak_Info(None)
        return found.decode().split()[0]

    def seed_noise(self, seed: int) -> None:
        """Seeds the noise in consonants and breath, which is otherwise seeded by the clock."""
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))

    def synthesise(
        self, text: str, name: str, rate: int, pitch: int
    ) -> tuple[npt.NDArray[np.float32], int]:
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise SpeechError(f"espeak-ng has no voice {name!r}", do="see `espeak-ng --voices`")
        self._library.espeak_SetParameter(_PARAMETER_RATE, rate, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
        self._chunks = []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._chunks:
            raise SpeechError(f"espeak-ng said nothing for {text!r} with voice {name!r}")
        return np.concatenate(self._chunks).astype(np.float32) / 32768.0, self._rate


@cache
def espeak() -> _Engine:
    """The espeak-ng library. Raises SpeechError if espeakng-loader is not installed."""
    return _Engine()


@dataclass(frozen=True)
class EspeakVoice:
    """One espeak-ng voice: an accent, a variant, a speed and a pitch.

    Attributes:
        variant: name of the espeak-ng variant, for instance `m3`.
        accent: espeak-ng language, one of `ACCENTS`.
        rate: speed in words a minute (80-450).
        pitch: base pitch, 0-100; 50 is the variant's own.
    """

    variant: str
    accent: str = "en"
    rate: int = 175
    pitch: int = 50

    @property
    def name(self) -> str:
        """The name that espeak-ng knows this accent and variant by."""
        return f"{self.accent}+{self.variant}"

    @property
    def label(self) -> str:
        """Everything that decides the sound, in one string."""
        return f"{self.name}:rate={self.rate}:pitch={self.pitch}"

    @property
    def sex(self) -> Sex:
        """How the variant sounds.

        Raises:
            KeyError: the variant is in none of this module's lists.
        """
        if self.variant in MALE_VARIANTS:
            return "male"
        if self.variant in FEMALE_VARIANTS:
            return "female"
        return HELD_OUT_VARIANTS[self.variant]

    def say(self, text: str) -> npt.NDArray[np.float32]:
        """Speaks plain English.

        Returns:
            Mono samples in [-1, 1] at 16 kHz, shape [samples].

        Raises:
            SpeechError: espeak-ng is not installed or does not know the voice.
        """
        samples, rate = espeak().synthesise(text, self.name, self.rate, self.pitch)
        spoken: npt.NDArray[np.float32] = soxr.resample(samples, rate, SAMPLE_RATE)
        return spoken.astype(np.float32)


def voices(
    variants: Sequence[str], rates: Sequence[int], pitches: Sequence[int]
) -> tuple[EspeakVoice, ...]:
    """Every combination of the given variants, speeds and pitches in every accent."""
    return tuple(starmap(EspeakVoice, product(variants, ACCENTS, rates, pitches)))


def training_voices() -> tuple[EspeakVoice, ...]:
    """Voices for training: all but the held-out variants, at many speeds and pitches."""
    return voices(MALE_VARIANTS + FEMALE_VARIANTS, rates=(155, 170, 185, 205), pitches=(35, 50, 65))


def ordinary_voices() -> tuple[EspeakVoice, ...]:
    """Seen voices without marked character, for the embedded evaluation clips."""
    plain = ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f5")
    return voices(plain, rates=(155, 170), pitches=(45, 55))


def held_out_voices() -> tuple[EspeakVoice, ...]:
    """Ordinary voices that training never hears."""
    return voices(tuple(HELD_OUT_VARIANTS), rates=(155, 170), pitches=(45, 55))
