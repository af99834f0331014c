"""The whole training of the pocket LALM, from the grammar to the shipped folders.

Stages leave their result in the work folder and are skipped when it is there, so a killed training
goes on. The encoder and the language model's first stage need nothing of each other and run side
by side.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

from greaves.base.errors import TrainingError
from greaves.data.pocket.grammar import SPLIT_SEED, split_pairs
from greaves.data.pocket.lexicon import FACTS, Pair
from greaves.data.speech.voices import espeak_version
from greaves.models.pocket.architecture import build_model, build_processor, build_tokenizer
from greaves.models.pocket.clips import Utterance, synthesise
from greaves.models.pocket.folders import build_data
from greaves.models.pocket.samples import Content, vocabulary_texts
from greaves.models.pocket.speech_cache import SpeechCache, empty_features, training_features
from greaves.models.pocket.train_encoder import train_encoder
from greaves.models.pocket.train_lm import PseudoAudio, RealAudio, train_language_model

Rows = list[dict[str, float]]

_PACKAGES = ("torch", "transformers", "tokenizers", "soundfile", "soxr")

_SPEECH, _ENCODER, _TEXT, _JOIN, _DATA = 1, 1, 1, 2, 7
"""What each stage adds to the seed; the initial weights use the seed itself."""


@dataclass(frozen=True)
class Recipe:
    """Sizes of the training; the defaults made the shipped weights.

    Attributes:
        seed: of everything; stages add their own offsets.
        shards: shards of training speech.
        shard_clips: clips in each.
        batch: clips or samples a step.
        encoder_steps: steps of the encoder stage (CTC).
        text_steps: steps of the language model on text and pseudo-audio.
        text_rate: its peak learning rate.
        join_steps: steps of the language model on real audio features.
        join_rate: its peak learning rate.
    """

    seed: int = 0
    shards: int = 16
    shard_clips: int = 4_000
    batch: int = 64
    encoder_steps: int = 2_200
    text_steps: int = 1_200
    text_rate: float = 3e-3
    join_steps: int = 1_000
    join_rate: float = 2e-3


def train(recipe: Recipe, work_dir: Path, out: Path) -> None:
    """Trains the pocket LALM and writes `out/weights` and `out/data`.

    Takes about an hour on two cores. Bit-equal weights are to be expected only on the same machine
    and versions.

    Args:
        recipe: sizes and seed.
        work_dir: stage results (3 GB); a finished stage found there is not repeated.
        out: where the model folder and the data folders go.

    Raises:
        SpeechError: espeak-ng is not installed.
        TrainingError: the work folder belongs to another recipe.
    """
    espeak = espeak_version().split()[0]
    _claim(work_dir, recipe)
    if not (out / "data" / "air_bench" / "manifest.json").exists():
        build_data(out / "data", recipe.seed + _DATA)
    workers = ProcessPoolExecutor(
        max_workers=min(2, os.cpu_count() or 1), mp_context=get_context("spawn")
    )
    with workers:
        for done in [
            workers.submit(
                synthesise, recipe.seed + _SPEECH, recipe.shard_clips, work_dir / "speech", shard
            )
            for shard in range(recipe.shards)
        ]:
            done.result()
        stages: tuple[Callable[[Recipe, Path, Path], None], ...] = (encoder_stage, text_stage)
        for done in [workers.submit(stage, recipe, work_dir, out / "data") for stage in stages]:
            done.result()
    join_stage(recipe, work_dir)
    tokenizer, model = _untrained(recipe)
    figures = {name: _restore(model, work_dir, name) for name in ("encoder", "text", "join")}
    provenance: dict[str, Any] = {
        "recipe": asdict(recipe),
        "split_seed": SPLIT_SEED,
        "espeak-ng": espeak,
        "stages": {name: rows[-1] for name, rows in figures.items()},
        "licence": "CC0-1.0: trained by the Greaves authors on synthetic speech only",
    }
    _export(model, tokenizer, out / "weights", provenance)


def encoder_stage(recipe: Recipe, work_dir: Path, data: Path) -> None:
    """Trains the encoder and projector; the result is `encoder.safetensors`."""
    if _finished(work_dir, "encoder"):
        return
    _start_stage()
    tokenizer, model = _untrained(recipe)
    heard = [data / "validation", data / "held_out_voices"]
    speech = SpeechCache.load(work_dir / "speech")
    seed = recipe.seed + _ENCODER
    rows = train_encoder(model, tokenizer, speech, heard, recipe.encoder_steps, recipe.batch, seed)
    _save(model, work_dir, "encoder", ("audio_tower", "multi_modal_projector"), rows)


def text_stage(recipe: Recipe, work_dir: Path, data: Path) -> None:
    """Trains the language model on text and pseudo-audio; the result is `text.safetensors`."""
    del data
    if _finished(work_dir, "text"):
        return
    _start_stage()
    tokenizer, model = _untrained(recipe)
    embeddings = model.get_input_embeddings().weight.detach().float()
    draw = PseudoAudio(tokenizer, embeddings, model.config.audio_token_id, _training_pairs())
    rows = train_language_model(
        model,
        tokenizer,
        draw,
        recipe.text_steps,
        recipe.batch,
        recipe.text_rate,
        recipe.seed + _TEXT,
    )
    _save(model, work_dir, "text", ("language_model", "lm_head"), rows)


def join_stage(recipe: Recipe, work_dir: Path) -> None:
    """Trains the language model on real audio features; the result is `join.safetensors`."""
    if _finished(work_dir, "join"):
        return
    tokenizer, model = _untrained(recipe)
    for name in ("encoder", "text"):
        _restore(model, work_dir, name)
    speech = SpeechCache.load(work_dir / "speech")
    seed = recipe.seed + _JOIN
    draw = RealAudio(
        contents=[content_of(utterance) for utterance in speech.utterances],
        sexes=[utterance.sex for utterance in speech.utterances],
        features=training_features(model, speech, work_dir / "features", seed),
        empty=empty_features(model, seed),
        pairs=_training_pairs(),
    )
    rows = train_language_model(
        model, tokenizer, draw, recipe.join_steps, recipe.batch, recipe.join_rate, seed
    )
    _save(model, work_dir, "join", ("language_model", "lm_head"), rows)


def content_of(utterance: Utterance) -> Content:
    """What a training clip asks for."""
    if utterance.fact:
        fact = next(fact for fact in FACTS if fact.name == utterance.fact)
        return Content(utterance.text, fact)
    return Content(utterance.text, Pair(utterance.verb, utterance.object))


def _training_pairs() -> tuple[Pair, ...]:
    parts = split_pairs()
    return (*parts["train"], *parts["validation"])


def _untrained(
    recipe: Recipe,
) -> tuple[PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration]:
    tokenizer = build_tokenizer(vocabulary_texts())
    model = build_model(tokenizer, recipe.seed).to(torch.bfloat16)
    # On short sequences and small heads plain matrix products beat fused attention on CPUs.
    model.set_attn_implementation("eager")
    return tokenizer, model


def _start_stage() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)


def _claim(work_dir: Path, recipe: Recipe) -> None:
    work_dir.mkdir(parents=True, exist_ok=True)
    file = work_dir / "recipe.json"
    text = json.dumps(asdict(recipe))
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise TrainingError(
            "the folder holds another recipe's work", where=str(file), do="give an empty --work-dir"
        )
    file.write_text(text, encoding="utf-8")


def _finished(work_dir: Path, name: str) -> bool:
    return (work_dir / f"{name}.json").exists()


def _save(
    model: Qwen2AudioForConditionalGeneration,
    work_dir: Path,
    name: str,
    parts: tuple[str, ...],
    rows: Rows,
) -> None:
    kept = {
        key: value.contiguous()
        for key, value in model.state_dict().items()
        if any(part in key for part in parts)
    }
    save_file(kept, work_dir / f"{name}.safetensors")
    (work_dir / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")


def _restore(model: Qwen2AudioForConditionalGeneration, work_dir: Path, name: str) -> Rows:
    state = load_file(work_dir / f"{name}.safetensors")
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise TrainingError(
            f"the stage result holds unknown weights {unknown[:3]}",
            where=str(work_dir / f"{name}.safetensors"),
            do="remove it to repeat the stage",
        )
    rows: Rows = json.loads((work_dir / f"{name}.json").read_text(encoding="utf-8"))
    return rows


def _export(
    model: Qwen2AudioForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a folder that `from_pretrained` and `AutoProcessor` read; leaves the model in bf16."""
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    # safetensors writes files that only their owner may read.
    (out / "model.safetensors").chmod(0o644)
    build_processor(tokenizer).save_pretrained(out)
    packages = {name: version(name) for name in _PACKAGES}
    text = json.dumps({**provenance, "packages": packages}, indent=1) + "\n"
    (out / "provenance.json").write_text(text, encoding="utf-8")
