"""Encoders of others: which family a folder or a hub repository holds, and how it is loaded.

Weights are read from safetensors only, and no code that comes with them is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from greaves.align.proximity.sentences import sentences
from greaves.align.proximity.source import Source
from greaves.align.proximity.wavlm import wavlm
from greaves.align.proximity.whisper import whisper
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentItem
from greaves.models.contract import LALM
from greaves.models.transformers_lalm import folder_fingerprint

Encode = Callable[[Sequence[AlignmentItem]], Tensor]


def pretrained(name: str, model: LALM) -> tuple[Encode, bool]:
    """An encoder, on the device of `model` where that is a GPU.

    Args:
        name: a folder, or a hub name with or without "@revision".

    Returns:
        The encoder, and whether it takes clips; else it takes text.

    Raises:
        ModelError: there is none, its weights are not safetensors, or it is of a family that
            transformers does not know.
    """
    source = Source.of(name)
    hears: dict[str, Callable[[Source, torch.device], Encode]] = {
        "wavlm": wavlm,
        "whisper": whisper,
    }
    device = getattr(model, "device", torch.device("cpu"))
    with _told(name):
        family = source.config().model_type
        return hears.get(family, sentences)(source, device), family in hears


@cache
def identity(name: str) -> str:
    """What tells an encoder's weights from others: the commit on the hub, or a folder's hash.

    Raises:
        ModelError: there is no such encoder.
    """
    source = Source.of(name)
    with _told(name):
        commit = getattr(source.config(), "_commit_hash", None)
    return str(commit or folder_fingerprint(Path(source.place)))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns what transformers raises into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"encoder {name!r} cannot be loaded ({first})",
            do="give a folder or a hub name that has config.json, its tokenizer or feature"
            " extractor, and safetensors",
        ) from None
