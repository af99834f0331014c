"""From a checkpoint on disk or on the hub to a network, and what may go wrong on the way.

Only native classes of transformers and safetensors weights are read. Remote code and pickled
weights never are, and neither is fetched.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from greaves.base.errors import ModelError

transformers_logging.disable_progress_bar()

_RAISED = (
    *(OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError),
    SafetensorError,
)
_HASHED = (".json", ".safetensors", ".jinja", ".txt", ".model")
_NOT_HASHED = {"provenance.json"}

ADAPTER = "adapter_config.json"
"""Beside a checkpoint that brings an adapter along."""

FETCHED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
"""Files of a hub repository that are fetched: configuration, tokenizer, processor, weights."""

NOT_FETCHED = ["consolidated*", "original/*"]
"""The same weights once more, as their makers' own code wants them."""


def checkpoint(path: str | Path | None, hub: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint.

    Args:
        path: a local folder; None takes `hub`.
        hub: repository on the Hugging Face hub, e.g. "Qwen/Qwen2-Audio-7B-Instruct".
        revision: commit, tag or branch in that repository; None is its main branch.

    Returns:
        The local folder, or the hub's snapshot in the local cache, fetched if need be.

    Raises:
        ModelError: both `path` and `revision` are given, the snapshot is neither cached nor to be
            had, or the hub has no such repository or revision.
    """
    if path is not None and revision is not None:
        what = f"revision {revision!r} is of the hub's {hub}, and a path is given too"
        raise ModelError(what, where=str(path), do="give one of them")
    if path is not None:
        return Path(path)
    where = f"{hub} (revision {revision})" if revision else hub
    try:
        return Path(
            snapshot_download(
                hub, revision=revision, allow_patterns=FETCHED, ignore_patterns=NOT_FETCHED
            )
        )
    except LocalEntryNotFoundError:
        raise ModelError(
            f"{where} is not in the cache, and the hub cannot be reached",
            do="fetch it where there is a network (`hf download`), or give the option `path`",
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        do = "check its name and your access to it, or give the option `path`"
        raise ModelError(f"{where} cannot be fetched ({reason})", do=do) from None


def pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """`kind.from_pretrained`, of this folder only, never with remote code.

    Args:
        kind: a class of transformers: a processor, a tokenizer, a feature extractor, a config.
        folder: see `checkpoint`.
        options: more arguments.
    """
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)


def pretrained_network(kind: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
    """`pretrained` of a model class, from safetensors only, without any adapter beside it.

    Raises:
        ValueError: weights of the network are not in the checkpoint, or have another shape.
    """
    options |= {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    with _without_report(), _without_adapter(folder) as bare:
        network, found = pretrained(kind, bare, **options)
    wanting = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if wanting:  # transformers draws them at random and says so in passing
        raise ValueError(f"{len(wanting)} weights are not in it, as {wanting[0]}")
    return network


@contextmanager
def _without_report() -> Iterator[None]:
    """transformers lists all weights that no module takes, such as those of Omni's Talker."""
    source = logging.getLogger("transformers.modeling_utils")
    source.addFilter(ours := lambda record: "LOAD REPORT" not in record.getMessage())
    try:
        yield
    finally:
        source.removeFilter(ours)


@contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """The folder, or a view of it without its adapter files.

    transformers loads an adapter that it finds without being asked, and its report on missing
    weights is then about the adapter alone.
    """
    if not (folder / ADAPTER).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as bare:
        for path in folder.iterdir():
            if not path.name.startswith("adapter_"):
                (Path(bare) / path.name).symlink_to(path.resolve())
        yield Path(bare)


@contextmanager
def one_line(what: str, folder: Path) -> Iterator[None]:
    """Whatever transformers raises inside becomes a ModelError of one line."""
    try:
        yield
    except _RAISED as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(f"{what} ({reason})", where=str(folder)) from None


def check_files(folder: Path) -> None:
    """Raises ModelError unless the folder holds a configuration and safetensors weights."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            "there is no config.json", where=str(folder), do="give the folder of a checkpoint"
        )
    if not any(folder.glob("*.safetensors")):
        do = "convert them; pickled ones (.bin) are never read, as they may run code"
        raise ModelError("there are no safetensors weights", where=str(folder), do=do)


def computing(device: str | None, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and the dtype of these names; None takes the first GPU if there is one.

    Raises:
        ModelError: there is no such device, or models do not compute in the dtype.
    """
    found = getattr(torch, str(dtype), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point or found.itemsize < 2:
        what = f"dtype {dtype!r} is not a floating-point type of torch"
        raise ModelError(what, do="say float32, bfloat16 or float16")
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=place).item()  # "meta" holds no numbers
    except (RuntimeError, AssertionError, TypeError, ValueError, ImportError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ModelError(
            f"device {device!r} is not available ({reason})", do="say cpu, cuda or cuda:1"
        ) from None
    return place, found


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over names and contents of a model folder's weights, config and tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _HASHED and path.name not in _NOT_HASHED:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()
