"""Stage: encoder and projector learn to spell, by CTC against the model's frozen embeddings.

The blank is the embedding of `<|AUDIO|>`, so a feature that says nothing looks like an empty audio
slot, and one that says a word looks like that word.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

from greaves.data.pocket.grammar import spoken_words
from greaves.data.task import read_json_lines
from greaves.models.pocket.architecture import feature_extractor
from greaves.models.pocket.clips import (
    SpeechCache,
    audio_token_counts,
    decode_clip,
    encode,
    mel_frames,
    shift_bins,
    stack_mels,
)
from greaves.models.pocket.optimisers import Optimisers

log = logging.getLogger(__name__)

LOGIT_SCALE = 10.0
_SEX_WEIGHT = 0.2
_LARGEST_SHIFT = 3


def train_encoder(
    model: Qwen2AudioForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    speech: SpeechCache,
    heard: Sequence[Path],
    steps: int,
    batch: int,
    seed: int,
) -> list[dict[str, float]]:
    """Trains the audio tower and the projector in place.

    Args:
        model, tokenizer: the untrained pocket LALM and its tokenizer.
        speech: training clips.
        heard: data folders with `questions.jsonl` on whose clips the share of right pairs is
            logged.
        steps: of the optimiser, with `batch` clips each.
        seed: of batches and augmentation.

    Returns:
        One row of figures every 100 steps.
    """
    torch.manual_seed(seed)
    embeddings = model.get_input_embeddings().weight.detach().float()
    blank = model.config.audio_token_id
    words = [tokenizer.encode(" " + spoken_words(u.text)) for u in speech.utterances]
    sexes = torch.tensor([float(u.sex == "female") for u in speech.utterances])
    sex_head = nn.Linear(embeddings.shape[1], 1)
    tower, projector = model.model.audio_tower, model.model.multi_modal_projector
    named = [*tower.named_parameters("tower"), *projector.named_parameters("projector")]
    named = [(name, p) for name, p in named if "embed_positions" not in name]
    optimisers = Optimisers([*named, *sex_head.named_parameters()], 3e-3, 2e-3, steps)
    rows: list[dict[str, float]] = []
    began = time.monotonic()
    for step, indices in enumerate(speech.batches(batch, seed), start=1):
        mels, frames = stack_mels([speech.mels[i] for i in indices])
        features = encode(model, augment(mels, frames).to(model.dtype), frames).float()
        counts = audio_token_counts(frames)
        logits = LOGIT_SCALE * features @ embeddings.T
        targets = [torch.tensor(words[i]) for i in indices]
        loss = functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            torch.cat(targets),
            counts,
            torch.tensor([len(target) for target in targets]),
            blank=blank,
            zero_infinity=True,
        )
        inside = torch.arange(features.shape[1])[None, :, None] < counts[:, None, None]
        mean = (features * inside).sum(1) / counts[:, None]
        sex_loss = functional.binary_cross_entropy_with_logits(
            sex_head(mean).squeeze(-1), sexes[indices]
        )
        torch.autograd.backward(loss + _SEX_WEIGHT * sex_loss)
        optimisers.step()
        if step % 100 == 0 or step == steps:
            row = {"step": step, "ctc": loss.item(), "sex": sex_loss.item()}
            if step % 200 == 0 or step == steps:
                for folder in heard:
                    row[folder.name] = heard_share(model, tokenizer, folder)
            row["seconds"] = round(time.monotonic() - began, 1)
            log.info("encoder %s", json.dumps(row))
            rows.append(row)
        if step == steps:
            return rows
    raise AssertionError("batches are endless")


def augment(mels: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Shifts the mel bins of each clip (another vocal tract) and masks a band and a short time."""
    clips, bins, length = mels.shape
    shifted = shift_bins(mels, _LARGEST_SHIFT)
    low = torch.randint(0, bins, (clips, 1))
    band = torch.arange(bins)[None, :] - low
    masked = (band >= 0) & (band < torch.randint(0, 9, (clips, 1)))
    start = (torch.rand(clips, 1) * frames[:, None]).long()
    place = torch.arange(length)[None, :] - start
    gone = (place >= 0) & (place < torch.randint(0, 8, (clips, 1)))
    found: torch.Tensor = shifted.masked_fill(masked[:, :, None] | gone[:, None, :], 0.0)
    return found


def heard_share(
    model: Qwen2AudioForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> float:
    """Share of a folder's clips whose verb and object the encoder spells right (greedy CTC)."""
    rows = [row for _, row in read_json_lines(folder / "questions.jsonl")]
    extractor = feature_extractor()
    embeddings = model.get_input_embeddings().weight.detach().float()
    right = 0
    for start in range(0, len(rows), 40):
        part = rows[start : start + 40]
        clips = [decode_clip(folder / row["clip"]) for row in part]
        mels, frames = stack_mels([m.astype("float16") for m in mel_frames(extractor, clips)])
        with torch.no_grad():
            features = encode(model, mels.to(model.dtype), frames).float()
        best = (features @ embeddings.T).argmax(-1)
        for row, ids, count in zip(part, best, audio_token_counts(frames), strict=True):
            kept = torch.unique_consecutive(ids[:count])
            kept = kept[kept != model.config.audio_token_id]
            heard = tokenizer.decode(kept.tolist()).split()
            right += row["verb"] in heard and row["object"] in heard
    return right / len(rows)
