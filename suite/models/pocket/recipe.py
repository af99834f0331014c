"""The whole training of the pocket LALM, from the grammar to the shipped folders.

Stages leave their result in the work folder and are skipped when it is there, so a killed training
goes on. The encoder and the language model's first stage need nothing of each other and run side
by side.
"""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast
from transformers import Qwen2AudioForConditionalGeneration as PocketLALM

from greaves.base.errors import TrainingError
from greaves.data.pocket.grammar import SPLIT_SEED, split_pairs
from greaves.data.pocket.lexicon import FACTS, Pair
from greaves.data.speech.voices import espeak
from greaves.models.pocket.architecture import build_model, build_processor, build_tokenizer
from greaves.models.pocket.clips import SpeechCache, empty_features, synthesise, training_features
from greaves.models.pocket.folders import build_data
from greaves.models.pocket.samples import Content, vocabulary_texts
from greaves.models.pocket.train_encoder import train_encoder
from greaves.models.pocket.train_lm import Draw, PseudoAudio, RealAudio, train_language_model

_PACKAGES = ("torch", "transformers", "tokenizers", "soundfile", "soxr")

_LANGUAGE = ("language_model", "lm_head")
_PARTS = {
    "encoder": ("audio_tower", "multi_modal_projector"),
    "text": _LANGUAGE,
    "join": _LANGUAGE,
}
"""Stage -> the parts of the model that it trains."""

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
    espeak_version = espeak().version()
    _claim(work_dir, recipe)
    if not (out / "data" / "air_bench" / "manifest.json").exists():
        build_data(out / "data", recipe.seed + _DATA)
    workers = ProcessPoolExecutor(
        max_workers=min(2, os.cpu_count() or 1), mp_context=get_context("spawn")
    )
    seed, clips, speech = recipe.seed + _SPEECH, recipe.shard_clips, work_dir / "speech"
    with workers:
        shards = range(recipe.shards)
        for done in [workers.submit(synthesise, seed, clips, speech, shard) for shard in shards]:
            done.result()
        stages = ("encoder", "text")
        for done in [workers.submit(_in_worker, s, recipe, work_dir, out / "data") for s in stages]:
            done.result()
    run_stage("join", recipe, work_dir, out / "data")
    tokenizer, model = _untrained(recipe)
    figures = {name: _restore(model, work_dir, name) for name in _PARTS}
    model.to(torch.bfloat16)
    model.save_pretrained(out / "weights")
    # safetensors writes files that only their owner may read.
    (out / "weights" / "model.safetensors").chmod(0o644)
    build_processor(tokenizer).save_pretrained(out / "weights")
    provenance: dict[str, Any] = {
        "recipe": asdict(recipe),
        "split_seed": SPLIT_SEED,
        "espeak-ng": espeak_version,
        "stages": {name: rows[-1] for name, rows in figures.items()},
        "licence": "CC0-1.0: trained by the Greaves authors on synthetic speech only",
        "packages": {name: version(name) for name in _PACKAGES},
    }
    text = json.dumps(provenance, indent=1) + "\n"
    (out / "weights" / "provenance.json").write_text(text, encoding="utf-8")


def run_stage(stage: str, recipe: Recipe, work_dir: Path, data: Path) -> None:
    """Trains one stage; its result is `STAGE.safetensors`, and the figures beside it.

    Args:
        stage: "encoder" (encoder and projector), "text" (the language model on text and
            pseudo-audio) or "join" (the language model on real audio features).
        recipe: sizes and seed.
        work_dir: has the training speech, and for "join" the results of the other stages.
        data: embedded data folders, on whose clips the encoder is measured.
    """
    if (work_dir / f"{stage}.json").exists():
        return
    tokenizer, model = _untrained(recipe)
    steps, rate = recipe.text_steps, recipe.text_rate
    if stage == "encoder":
        heard = [data / "validation", data / "held_out_voices"]
        speech, seed = SpeechCache.load(work_dir / "speech"), recipe.seed + _ENCODER
        steps = recipe.encoder_steps
        rows = train_encoder(model, tokenizer, speech, heard, steps, recipe.batch, seed)
    else:
        draw: Draw
        if stage == "text":
            seed = recipe.seed + _TEXT
            embeddings = model.get_input_embeddings().weight.detach().float()
            blank = model.config.audio_token_id
            draw = PseudoAudio(tokenizer, embeddings, blank, _training_pairs())
        else:
            seed = recipe.seed + _JOIN
            draw = _real_audio(model, work_dir, seed)
            steps, rate = recipe.join_steps, recipe.join_rate
        rows = train_language_model(model, tokenizer, draw, steps, recipe.batch, rate, seed)
    state = {k: v for k, v in model.state_dict().items() if any(p in k for p in _PARTS[stage])}
    save_file({k: v.contiguous() for k, v in state.items()}, work_dir / f"{stage}.safetensors")
    (work_dir / f"{stage}.json").write_text(json.dumps(rows), encoding="utf-8")


def _in_worker(stage: str, recipe: Recipe, work_dir: Path, data: Path) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    run_stage(stage, recipe, work_dir, data)


def _real_audio(model: PocketLALM, work_dir: Path, seed: int) -> RealAudio:
    """The training clips as the encoder hears them; leaves both earlier stages in the model."""
    for name in ("encoder", "text"):
        _restore(model, work_dir, name)
    speech = SpeechCache.load(work_dir / "speech")
    said, facts = speech.utterances, {fact.name: fact for fact in FACTS}
    return RealAudio(
        contents=[Content(u.text, facts.get(u.fact) or Pair(u.verb, u.object)) for u in said],
        sexes=[utterance.sex for utterance in said],
        features=training_features(model, speech, work_dir / "features", seed),
        empty=empty_features(model, seed),
        pairs=_training_pairs(),
    )


def _training_pairs() -> tuple[Pair, ...]:
    parts = split_pairs()
    return (*parts["train"], *parts["validation"])


def _untrained(recipe: Recipe) -> tuple[PreTrainedTokenizerFast, PocketLALM]:
    tokenizer = build_tokenizer(vocabulary_texts())
    model = build_model(tokenizer, recipe.seed).to(torch.bfloat16)
    # On short sequences and small heads plain matrix products beat fused attention on CPUs.
    model.set_attn_implementation("eager")
    return tokenizer, model


def _claim(work_dir: Path, recipe: Recipe) -> None:
    work_dir.mkdir(parents=True, exist_ok=True)
    file = work_dir / "recipe.json"
    text = json.dumps(asdict(recipe))
    if file.exists() and file.read_text(encoding="utf-8") != text:
        what = "the folder holds another recipe's work"
        raise TrainingError(what, where=str(file), do="give an empty --work-dir")
    file.write_text(text, encoding="utf-8")


def _restore(model: PocketLALM, work_dir: Path, stage: str) -> list[dict[str, float]]:
    """Loads the result of a stage into the model; returns its figures."""
    file = work_dir / f"{stage}.safetensors"
    unknown = model.load_state_dict(load_file(file), strict=False).unexpected_keys
    if unknown:
        what = f"the stage result holds unknown weights {unknown[:3]}"
        raise TrainingError(what, where=str(file), do="remove it to repeat the stage")
    rows: list[dict[str, float]] = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    return rows
