"""Clips as they ship (Ogg Opus) and as the encoder reads them (log-mel frames); training speech."""

from __future__ import annotations

import io
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from transformers import WhisperFeatureExtractor

from greaves.base.errors import DataError
from greaves.base.store import as_lines
from greaves.data.pocket.grammar import FORMS, Question, split_pairs
from greaves.data.pocket.lexicon import FACTS
from greaves.data.speech.voices import SAMPLE_RATE, EspeakVoice, training_voices
from greaves.models.pocket.architecture import feature_extractor

Samples = npt.NDArray[np.float32]

_COMPRESSION = 0.96
"""libsndfile's scale of Opus bit rates: about 17 kbit/s, wide-band speech."""


def encode_clip(samples: Samples) -> bytes:
    """Ogg Opus bytes of mono samples at 16 kHz."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=_COMPRESSION
    )
    return buffer.getvalue()


def decode_clip(clip: bytes | Path) -> Samples:
    """Mono samples at 16 kHz of an embedded clip, shape [samples]."""
    source = io.BytesIO(clip) if isinstance(clip, bytes) else clip
    samples, rate = soundfile.read(source, dtype="float32")
    if rate != SAMPLE_RATE:
        raise DataError(f"the clip has {rate} Hz, not {SAMPLE_RATE}", do="rebuild the data folder")
    found: Samples = samples
    return found


def mel_frames(extractor: WhisperFeatureExtractor, clips: list[Samples]) -> list[Samples]:
    """Log-mel frames [frames, mel bins] of each clip (16 kHz mono), most of its padding cut off.

    Two frames of padding are kept, for the convolutions see them.
    """
    # The mask is in frames only when it is asked for at the call.
    found = extractor(
        clips, sampling_rate=SAMPLE_RATE, return_tensors="np", return_attention_mask=True
    )
    counts = found["attention_mask"].sum(-1)
    return [
        mel[:, : count + 2].T.astype(np.float32)
        for mel, count in zip(found["input_features"], counts, strict=True)
    ]


_FACT_SHARE = 0.07
_CODEC_SHARE = 0.08
_MUMBLED_SHARE = 0.03
_NOISY_SHARE = 0.30
_LONGEST = 3.95


@dataclass(frozen=True)
class Utterance:
    """What one training clip says and how it sounds.

    Attributes:
        text: the question.
        verb: verb of the question; empty for a fact.
        object: object of the question; empty for a fact.
        fact: name of the fact; empty for a question of the grammar.
        sex: `male` or `female`.
    """

    text: str
    verb: str
    object: str
    fact: str
    sex: str


def synthesise(seed: int, count: int, folder: Path, shard: int) -> None:
    """Speaks `count` training clips and writes their mel frames.

    Args:
        seed: of the choice of questions, voices and noise; each shard draws its own.
        count: clips in this shard.
        folder: where `mels-{shard}.npy` [frames, 80] (float16), `ends-{shard}.npy` (last frame of
            each clip) and `clips-{shard}.jsonl` go; an existing shard is kept.
        shard: number of this shard.
    """
    if (folder / f"clips-{shard}.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    chooser = random.Random(f"{seed}-{shard}")
    noise = np.random.default_rng([seed, shard])
    extractor = feature_extractor()
    voices = training_voices()
    parts = split_pairs()
    pairs = (*parts["train"], *parts["validation"])
    utterances: list[Utterance] = []
    mels: list[npt.NDArray[np.float16]] = []
    while len(utterances) < count:
        voice = chooser.choice(voices)
        if chooser.random() < _FACT_SHARE:
            fact = chooser.choice(FACTS)
            utterance = Utterance(chooser.choice(fact.questions[:-1]), "", "", fact.name, voice.sex)
        else:
            pair = chooser.choice(pairs)
            question = Question(pair, chooser.randrange(len(FORMS)))
            utterance = Utterance(question.text, pair.verb, pair.object, "", voice.sex)
        samples = degrade(speak(voice, utterance.text), chooser, noise)
        if len(samples) > _LONGEST * SAMPLE_RATE:
            continue
        utterances.append(utterance)
        mels.append(mel_frames(extractor, [samples])[0].astype(np.float16))
    np.save(folder / f"mels-{shard}.npy", np.concatenate(mels))
    np.save(folder / f"ends-{shard}.npy", np.cumsum([len(mel) for mel in mels]))
    lines = as_lines(map(asdict, utterances))
    (folder / f"clips-{shard}.jsonl").write_text(lines, encoding="utf-8")


def speak(voice: EspeakVoice, text: str) -> Samples:
    """The voice's rendering without espeak-ng's trailing silence, shape [samples]."""
    samples = voice.say(text)
    loud = np.flatnonzero(np.abs(samples) > 0.003)
    margin = SAMPLE_RATE // 20
    return samples[max(0, loud[0] - margin) : loud[-1] + 2 * margin]


def degrade(samples: Samples, chooser: random.Random, noise: np.random.Generator) -> Samples:
    """Changes the level; some clips get noise, some mumble, some go through the shipped codec."""
    samples = samples * chooser.uniform(0.3, 1.2)
    draw = chooser.random()
    if draw < _MUMBLED_SHARE:
        # A long moving average takes the consonants away; the noise hides what is left of them.
        width = chooser.randrange(12, 24)
        smooth = np.full(width, 1.0 / width, dtype=np.float32)
        samples = np.convolve(samples, smooth, mode="same").astype(np.float32)
        samples = _with_noise(samples, chooser.uniform(4.0, 12.0), noise)
    elif draw < _MUMBLED_SHARE + _NOISY_SHARE:
        samples = _with_noise(samples, chooser.uniform(15.0, 40.0), noise)
    if chooser.random() < _CODEC_SHARE:
        samples = decode_clip(encode_clip(samples.astype(np.float32)))
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def _with_noise(samples: Samples, decibels: float, noise: np.random.Generator) -> Samples:
    level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-decibels / 20)
    return (samples + noise.normal(0.0, level, samples.shape)).astype(np.float32)
