"""Clips as they ship (Ogg Opus) and as the encoder reads them (log-mel frames); training speech.

The encoder runs on clips of any length here; its features of all training clips are cached.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

from greaves.base.errors import DataError
from greaves.base.store import as_lines
from greaves.data.pocket.grammar import FORMS, Question, split_pairs
from greaves.data.pocket.lexicon import FACTS
from greaves.data.speech.voices import SAMPLE_RATE, EspeakVoice, training_voices
from greaves.data.task import read_json_lines
from greaves.models.pocket.architecture import SECONDS, feature_extractor

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


Mels = npt.NDArray[np.float16]

_LARGEST_SHIFT = 2
_EMPTY_CLIPS = 200


@dataclass(frozen=True)
class SpeechCache:
    """Training clips as mel frames.

    Attributes:
        utterances: what each clip says.
        mels: frames of each clip, [frames, mel bins].
    """

    utterances: tuple[Utterance, ...]
    mels: tuple[Mels, ...]

    @classmethod
    def load(cls, folder: Path) -> SpeechCache:
        """Reads every shard of `folder`.

        Raises:
            FileNotFoundError: the folder holds no shard.
        """
        shards = sorted(folder.glob("clips-*.jsonl"))
        if not shards:
            raise FileNotFoundError(f"{folder}: no training speech; run the synthesis stage first")
        utterances: list[Utterance] = []
        mels: list[Mels] = []
        for shard in shards:
            number = shard.stem.removeprefix("clips-")
            utterances += [Utterance(**row) for _, row in read_json_lines(shard)]
            frames: Mels = np.load(folder / f"mels-{number}.npy")
            ends = np.load(folder / f"ends-{number}.npy")
            mels += np.split(frames, ends[:-1])
        return cls(tuple(utterances), tuple(mels))

    def batches(self, size: int, seed: int) -> Iterator[list[int]]:
        """Endless batches of clip indices, of like length within a batch."""
        chooser = np.random.default_rng(seed)
        lengths = np.array([len(mel) for mel in self.mels])
        while True:
            drawn = chooser.choice(len(lengths), size=size * 16, replace=False)
            drawn = drawn[np.argsort(lengths[drawn])]
            for part in chooser.permutation(16):
                yield [int(i) for i in drawn[part * size : (part + 1) * size]]


def stack_mels(mels: list[Mels]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads clips with their last frame, which is silence.

    Returns:
        Features [clips, mel bins, frames] in float32 and the number of frames of speech [clips].
    """
    counts = torch.tensor([len(mel) - 2 for mel in mels])
    longest = -(-max(len(mel) for mel in mels) // 4) * 4
    padded = [np.pad(mel, ((0, longest - len(mel)), (0, 0)), mode="edge") for mel in mels]
    return torch.from_numpy(np.stack(padded)).float().transpose(1, 2), counts


def audio_token_counts(frames: torch.Tensor) -> torch.Tensor:
    """Audio tokens of a clip with that many mel frames, as Qwen2-Audio counts them."""
    return (((frames - 1) // 2 + 1) - 2) // 2 + 1


def encode(
    model: Qwen2AudioForConditionalGeneration, mels: torch.Tensor, frames: torch.Tensor
) -> torch.Tensor:
    """Audio tower and projector on a batch that need not be padded to the tower's full length.

    Args:
        model: the pocket LALM.
        mels: features [clips, mel bins, frames], of which so many `frames` [clips] are speech.

    Returns:
        Audio features [clips, audio tokens, hidden size]; those past a clip's end are meaningless.
    """
    tower = model.model.audio_tower
    hidden = functional.gelu(tower.conv1(mels))
    hidden = functional.gelu(tower.conv2(hidden)).permute(0, 2, 1)
    length = hidden.shape[1]
    hidden = hidden + tower.embed_positions.weight[:length]
    speech = torch.arange(length)[None, :] < ((frames - 1) // 2 + 1)[:, None]
    mask = torch.where(speech, 0.0, -1e4).to(hidden.dtype)
    mask = mask[:, None, None, :].expand(-1, 1, length, -1)
    for layer in tower.layers:
        hidden = layer(hidden, mask)
    hidden = tower.avg_pooler(hidden.permute(0, 2, 1)).permute(0, 2, 1)
    projector: nn.Module = model.model.multi_modal_projector
    found: torch.Tensor = projector(tower.layer_norm(hidden))
    return found


def shift_bins(mels: torch.Tensor, largest: int) -> torch.Tensor:
    """Moves each clip's spectrum up or down by at most `largest` mel bins."""
    clips, bins, length = mels.shape
    shift = torch.randint(-largest, largest + 1, (clips, 1))
    index = (torch.arange(bins)[None, :] + shift).clamp(0, bins - 1)
    return mels.gather(1, index[:, :, None].expand(-1, -1, length))


def training_features(
    model: Qwen2AudioForConditionalGeneration, speech: SpeechCache, cache: Path, seed: int
) -> list[torch.Tensor]:
    """Audio features of every training clip, each heard with a slightly shifted spectrum.

    Args:
        model: the pocket LALM with its trained encoder.
        speech: the training clips.
        cache: file prefix; features found there are read, not computed.
        seed: of the shifts.

    Returns:
        [audio tokens, hidden size] (float16) of each clip.
    """
    rows_file, ends_file = cache.with_suffix(".npy"), cache.with_suffix(".ends.npy")
    if not ends_file.exists():
        torch.manual_seed(seed)
        found = _encode_all(model, list(speech.mels), _LARGEST_SHIFT)
        np.save(rows_file, torch.cat(found).numpy())
        np.save(ends_file, np.cumsum([len(rows) for rows in found]))
    rows = torch.from_numpy(np.load(rows_file))
    return list(rows.tensor_split(torch.from_numpy(np.load(ends_file)[:-1])))


def empty_features(model: Qwen2AudioForConditionalGeneration, seed: int) -> list[torch.Tensor]:
    """Audio features of clips of 1-4 s that say nothing: silence, or noise of any level."""
    noise = np.random.default_rng(seed)
    extractor = feature_extractor()
    mels: list[Mels] = []
    for number in range(_EMPTY_CLIPS):
        samples = noise.normal(0.0, 1.0, int(noise.uniform(1.0, SECONDS) * SAMPLE_RATE))
        level = 0.0 if number % 4 == 0 else 10 ** noise.uniform(-2.5, 0.0)
        clip = np.clip(samples * level, -1.0, 1.0).astype(np.float32)
        mels.append(mel_frames(extractor, [clip])[0].astype(np.float16))
    return _encode_all(model, mels, 0)


def _encode_all(
    model: Qwen2AudioForConditionalGeneration, mels: list[Mels], largest_shift: int
) -> list[torch.Tensor]:
    order = sorted(range(len(mels)), key=lambda i: len(mels[i]))
    found: list[torch.Tensor] = [torch.empty(0)] * len(mels)
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        stacked, frames = stack_mels([mels[i] for i in part])
        with torch.no_grad():
            features = encode(model, shift_bins(stacked, largest_shift).to(model.dtype), frames)
        for i, rows, count in zip(part, features, audio_token_counts(frames), strict=True):
            found[i] = rows[:count].to(torch.float16).clone()
    return found
