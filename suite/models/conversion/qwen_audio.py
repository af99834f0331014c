"""First-generation Qwen-Audio to a native `Qwen2AudioForConditionalGeneration` folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from greaves import __version__
from greaves.base.errors import ModelError
from greaves.base.store import new_folder, write_json
from greaves.models.conversion.qwen_audio_processor import (
    RANKS,
    base_tokens,
    save_processor,
    save_stops,
)
from greaves.models.conversion.qwen_audio_tokens import AUDIO_START
from greaves.models.conversion.qwen_audio_weights import (
    EMBEDDINGS,
    MARKERS,
    OriginalConfig,
    Rule,
    read_config,
    rules,
)
from greaves.models.conversion.shards import SHARD_BYTES, ShardWriter, WeightFile, weight_files

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
_NOTICES = ("LICENSE*", "NOTICE*")


@dataclass(frozen=True)
class Converted:
    """What was made.

    Attributes:
        folder: the native checkpoint.
        tensors: number of original tensors.
        total_bytes: size of the native weights.
        files: files of weights.
        warnings: what falls short, one line each.
    """

    folder: Path
    tensors: int
    total_bytes: int
    files: int
    warnings: tuple[str, ...]


def convert(
    source: Path,
    destination: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_tensor: Callable[[int, int], None] = lambda done, total: None,
) -> Converted:
    """Write the native checkpoint of a first-generation Qwen-Audio one.

    No code of the source is run and no pickle beyond tensors is read. Memory holds one shard of
    the result at most. The destination appears when it is whole.

    Args:
        source: `config.json`, weights (safetensors or .bin), `qwen.tiktoken`. Without the last
            there is a warning, and the result has no tokenizer.
        destination: must not exist.
        shard_bytes: a shard of the result is written once it holds this much.
        on_tensor: is told how many tensors of how many are done.

    Raises:
        ModelError: the source is something else, incomplete or broken, or the destination is
            there already or cannot be written.
    """
    config = read_config(source)
    table = rules(config)
    files = _checked_files(source, table)
    tokens = base_tokens(source, config)
    warnings = _warnings(source, tokens)
    total = sum(len(rule.natives) for rule in table.values())
    dtype = ""
    with _whole_or_not(destination) as folder:
        writer = ShardWriter(folder, shard_bytes)
        for done, (native, tensor) in enumerate(_native_tensors(files, table, config), 1):
            if native == EMBEDDINGS:
                dtype = str(tensor.dtype).removeprefix("torch.")
            writer.add(native, tensor)
            on_tensor(done, total)
        written = writer.close()
        config.native(dtype).save_pretrained(folder)
        save_stops(config, folder)
        save_processor(config, tokens, folder)
        inputs = [source / "config.json", *files]
        if tokens is not None:
            inputs.append(source / RANKS)
        for notice in sorted(path for name in _NOTICES for path in source.glob(name)):
            shutil.copyfile(notice, folder / notice.name)
        write_json(
            folder / "provenance.json",
            {
                "made_by": "greaves convert qwen-audio",
                "greaves": __version__,
                "packages": {name: version(name) for name in _PACKAGES},
                "source_sha256": {path.name: _sha256(path) for path in inputs},
                "warnings": warnings,
            },
        )
    return Converted(destination, len(table), writer.total_bytes, len(written), tuple(warnings))


def _checked_files(source: Path, table: dict[str, Rule]) -> list[Path]:
    """The source's files of weights, once they hold every tensor, of its shape, and no other."""
    files = weight_files(source)
    places: dict[str, Path] = {}
    for path in files:
        for name, shape in WeightFile(path).shapes().items():
            if name in places:
                raise ModelError(f"tensor {name!r} is in {places[name].name} too", where=str(path))
            places[name] = path
            if name not in table:
                raise ModelError(
                    f"unknown tensor {name!r}",
                    where=str(path),
                    do="only first-generation Qwen-Audio is converted",
                )
            if shape != table[name].shape:
                raise ModelError(
                    f"tensor {name!r} is {list(shape)}, by config.json {list(table[name].shape)}",
                    where=str(path),
                )
    missing = sorted(table.keys() - places.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"tensor {missing[0]!r} is missing{more}", where=str(source), do="fetch it again"
        )
    return files


def _native_tensors(
    files: list[Path], table: dict[str, Rule], config: OriginalConfig
) -> Iterator[tuple[str, Tensor]]:
    """Native name and native tensor, in the order of the files."""
    holders = (file for file in map(WeightFile, files) if MARKERS in file.shapes())
    markers = next(holders).tensor(MARKERS)
    first = config.token_id(AUDIO_START)
    for path in files:
        file = WeightFile(path)
        for name in file.shapes():
            tensor = file.tensor(name)
            if not tensor.is_floating_point() or tensor.itemsize < 2:
                raise ModelError(
                    f"tensor {name!r} is {tensor.dtype}, which takes more than renaming",
                    where=str(path),
                    do="convert the checkpoint that was not quantised",
                )
            natives = table[name].natives
            for native, part in zip(natives, tensor.chunk(max(len(natives), 1)), strict=False):
                if native == EMBEDDINGS:
                    part = part.clone()
                    part[first : first + 2] = markers.to(part)
                yield native, part


def _warnings(source: Path, tokens: list[bytes] | None) -> list[str]:
    found = []
    if tokens is None:
        found.append(
            f"the source has no {RANKS}, so the result has no tokenizer and reads token ids only;"
            " put the file there and convert again"
        )
    try:
        text = (source / "generation_config.json").read_text(encoding="utf-8")
        form = json.loads(text).get("chat_format")
    except (OSError, ValueError, AttributeError):
        form = None
    if form not in (None, "chatml"):
        found.append(
            f"generation_config.json says chat_format {form!r}: this looks like the base model,"
            " which was not trained to chat; Qwen-Audio-Chat is what benchmarks mean"
        )
    return found


@contextmanager
def _whole_or_not(destination: Path) -> Iterator[Path]:
    """A folder to write in, which becomes the destination at the end, or goes with an error."""
    if destination.exists() or destination.is_symlink():
        raise ModelError("it is there already", where=str(destination), do="name a new folder")
    part = destination.with_name(f".{destination.name}.part")
    if part.exists():
        raise ModelError(
            "another conversion is writing here, or was killed",
            where=str(part),
            do="wait for it, or remove the folder",
        )
    try:
        with new_folder(destination):
            yield part
    except (OSError, SafetensorError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ModelError(f"cannot be written ({reason})", where=str(destination)) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
