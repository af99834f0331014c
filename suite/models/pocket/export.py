"""The model folder as it ships: weights in bf16, tokenizer, processor, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

from greaves.models.pocket.architecture import build_processor

_PACKAGES = ("torch", "transformers", "tokenizers", "soundfile", "soxr")


def export_model(
    model: Qwen2AudioForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a folder that `from_pretrained` and `AutoProcessor` read, with its provenance.

    Args:
        model: the model; it is left in bf16.
        tokenizer: the pocket tokenizer.
        out: the model folder; its files are overwritten.
        provenance: what made these weights (seeds, stage figures); goes to `provenance.json`
            with package versions.
    """
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    # safetensors writes files that only their owner may read.
    (out / "model.safetensors").chmod(0o644)
    build_processor(tokenizer).save_pretrained(out)
    packages = {name: version(name) for name in _PACKAGES}
    text = json.dumps({**provenance, "packages": packages}, indent=1) + "\n"
    (out / "provenance.json").write_text(text, encoding="utf-8")
