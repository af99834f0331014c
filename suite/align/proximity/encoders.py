"""Names of encoders -> embeddings of questions: TF-IDF, the model's own, and encoders of others.

Of a folder or a hub repository, weights are read from safetensors only, and no code that comes with
them is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoTokenizer

from greaves.align.proximity.config import OWN, TF_IDF
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentItem
from greaves.data.speech.clips import load_clip
from greaves.models.contract import LALM
from greaves.models.loading import folder_fingerprint
from greaves.models.transformers_lalm import opened

Encode = Callable[[Sequence[AlignmentItem]], Tensor]

HEARING = ("wavlm", "whisper")
"""Families that take clips; all others take text."""

BATCH = 32  # texts at a time


def find_encoder(name: str, axis: Literal["semantic", "acoustic"], model: LALM) -> Encode:
    """The encoder that `name` means on an axis.

    Args:
        name: "tf-idf", "own", or a folder or hub name, with "@" and a revision behind it or not.
        axis: what it is to compare.
        model: whose own audio encoder "own" is.

    Returns:
        [items] -> [items, size]. It is called once for benign and harmful questions together.

    Raises:
        ModelError: it cannot be loaded, or does not encode what the axis compares.
    """
    if name == OWN:
        return _own_audio(model)
    found, hears = (tf_idf, False) if name == TF_IDF else _pretrained(name, model)
    if hears != (axis == "acoustic"):
        takes = "clips" if hears else "text"
        do = "give WavLM or Whisper as acoustic_encoder, a text encoder as semantic_encoder"
        raise ModelError(f"encoder {name!r} takes {takes}: not for the {axis} axis", do=do)
    return found


def tf_idf(items: Sequence[AlignmentItem]) -> Tensor:
    """TF-IDF of single words and of pairs of neighbours in the transcripts, fitted on these items.

    scikit-learn's defaults otherwise: smoothed inverse document frequency, rows of length one.

    Args:
        items: benign and harmful questions together.

    Returns:
        [items, terms] in float64.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # seconds, and seldom needed

    words = r"\b\w+\b"  # scikit-learn's own pattern drops words of one letter
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), token_pattern=words)
    vectors = vectoriser.fit_transform([item.text for item in items])
    return torch.from_numpy(vectors.toarray())


def _own_audio(model: LALM) -> Encode:
    """Mean over time of what the language model is given for a clip: the audio tower's output
    behind its projector.

    Raises:
        ModelError: the model is a black box.
    """
    network = opened(model, "has no audio encoder to look into")

    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows = network.features([item.clip for item in items])
        return torch.stack([row.float().mean(dim=0).cpu() for row in rows])

    return encode


def _pretrained(name: str, model: LALM) -> tuple[Encode, bool]:
    """An encoder, on the device of `model` where that is a GPU, and whether it takes clips."""
    place, options = _source(name)
    device = getattr(model, "device", torch.device("cpu"))
    with _told(name):
        family = AutoConfig.from_pretrained(place, **options).model_type
        kept = {"use_safetensors": True, "dtype": torch.float32, **options}
        network = AutoModel.from_pretrained(place, **kept)
        network.eval().requires_grad_(False).to(device)
        if family in HEARING:
            return _clips(network, AutoFeatureExtractor.from_pretrained(place, **options)), True
        return _texts(network, AutoTokenizer.from_pretrained(place, **options)), False


@cache
def identity(name: str) -> str:
    """What tells an encoder's weights from others: the commit on the hub, or a folder's hash.

    Raises:
        ModelError: there is no such encoder.
    """
    place, options = _source(name)
    with _told(name):
        commit = getattr(AutoConfig.from_pretrained(place, **options), "_commit_hash", None)
    return str(commit or folder_fingerprint(Path(place)))


def _source(name: str) -> tuple[str, dict[str, Any]]:
    """Folder or hub name, and options of every `from_pretrained`; a folder's name may hold "@"."""
    place, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
    return place, {"revision": revision or "main", "trust_remote_code": False}


def _clips(network: Any, extractor: Any) -> Encode:
    """WavLM or Whisper: the mean over time of the last encoder layer, [items, size].

    One clip at a time: padding changes what some WavLMs say. Whisper hears 30 s, silence behind the
    clip included; those frames are left out of the mean (whether the paper does so is unknown).
    """
    (taken,) = extractor.model_input_names[:1]
    whisper = network.config.model_type == "whisper"
    encoder = network.get_encoder() if whisper else network

    @torch.no_grad()
    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows: list[Tensor] = []
        for item in items:
            wave = load_clip(item.clip, extractor.sampling_rate)
            inputs = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")
            states = encoder(inputs[taken].to(network.device)).last_hidden_state[0]
            if whisper:  # its second convolution halves the mel frames
                states = states[: math.ceil(len(wave) / (2 * extractor.hop_length))]
            rows.append(states.mean(dim=0).cpu())
        return torch.stack(rows)

    return encode


def _texts(network: Any, tokenizer: Any) -> Encode:
    """A text encoder: the mean over the transcript's tokens, [items, size].

    That is what sentence-transformers does for the paper's all-MiniLM-L6-v2, so the library is not
    needed.
    """
    longest = tokenizer.model_max_length
    longest = min(longest, getattr(network.config, "max_position_embeddings", longest))

    @torch.no_grad()
    def encode(items: Sequence[AlignmentItem]) -> Tensor:
        rows: list[Tensor] = []
        for start in range(0, len(items), BATCH):
            texts = [item.text for item in items[start : start + BATCH]]
            tokens = tokenizer(
                texts, padding=True, truncation=True, max_length=longest, return_tensors="pt"
            ).to(network.device)
            states = network(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states)
            rows.append(((states * mask).sum(dim=1) / mask.sum(dim=1)).cpu())
        return torch.cat(rows)

    return encode


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turns what transformers raises in the block into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        needs = "config.json, its tokenizer or feature extractor, and safetensors"
        do = f"give a folder or a hub name that has {needs}"
        raise ModelError(f"encoder {name!r} cannot be loaded ({first})", do=do) from None
