"""Cached training speech in memory, and the encoder run on clips of any length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen2AudioForConditionalGeneration

from greaves.data.task import read_json_lines
from greaves.models.pocket.synthesis import Utterance

Mels = npt.NDArray[np.float16]


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
        mels: features [clips, mel bins, frames].
        frames: frames of speech in each clip.

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
