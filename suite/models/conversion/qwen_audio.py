"""First-generation Qwen-Audio to a native `Qwen2AudioForConditionalGeneration` folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import count
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from greaves import __version__
from greaves.base.errors import ModelError
from greaves.base.store import new_folder, write_json
from greaves.data.tables import file_hash
from greaves.models.conversion import qwen_audio_tokens as special
from greaves.models.conversion.qwen_audio_weights import (
    EMBEDDINGS,
    MARKERS,
    OriginalConfig,
    Rule,
    read_config,
    rules,
)
from greaves.models.conversion.shards import SHARD_BYTES, WeightFile, weight_files, write_shards

RANKS = "qwen.tiktoken"
"""File of the base tokens in a source folder."""

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
        shard_bytes: that a shard of the result holds at most, unless one tensor is larger.
        on_tensor: is told how many tensors of how many are done.

    Raises:
        ModelError: the source is something else, incomplete or broken, or the destination is
            there already or cannot be written.
    """
    config = read_config(source)
    table = rules(config)
    places = _places(source, table)
    opened = lru_cache(maxsize=1)(WeightFile)  # what is not mapped is in memory as a whole
    tokens = _base_tokens(source, config)
    warnings = _warnings(source, tokens)
    parts = {native: (name, n) for name in places for n, native in enumerate(table[name].natives)}
    sizes: dict[str, int] = {}
    for native, (name, _) in parts.items():
        numbers = math.prod(table[name].shape) // len(table[name].natives)
        sizes[native] = numbers * opened(places[name]).dtype(name).itemsize
    done = count(1)

    def read(native: str) -> Tensor:
        name, part = parts[native]
        rows = table[name].shape[0] // len(table[name].natives)
        tensor = opened(places[name]).rows(name, slice(part * rows, (part + 1) * rows))
        if native == EMBEDDINGS:
            tensor, first = tensor.clone(), config.token_id(special.AUDIO_START)
            tensor[first : first + 2] = opened(places[MARKERS]).rows(MARKERS, slice(2)).to(tensor)
        on_tensor(next(done), len(parts))
        return tensor

    with _whole_or_not(destination) as folder:
        files = write_shards(folder, sizes, read, shard_bytes)
        name, _ = parts[EMBEDDINGS]
        dtype = str(opened(places[name]).dtype(name)).removeprefix("torch.")
        config.native(dtype).save_pretrained(folder)
        _save_processor(config, tokens, folder)
        inputs = [source / "config.json", *dict.fromkeys(places.values())]
        if tokens is not None:
            inputs.append(source / RANKS)
        for notice in sorted(path for name in _NOTICES for path in source.glob(name)):
            shutil.copyfile(notice, folder / notice.name)
        facts = {
            "made_by": "greaves convert qwen-audio",
            "greaves": __version__,
            "packages": {name: version(name) for name in _PACKAGES},
            "source_sha256": {path.name: file_hash(path) for path in inputs},
            "warnings": warnings,
        }
        write_json(folder / "provenance.json", facts)
    return Converted(destination, len(table), sum(sizes.values()), files, tuple(warnings))


def _places(source: Path, table: dict[str, Rule]) -> dict[str, Path]:
    """Which file holds each tensor, once all are there, of their shapes, and no other."""
    places: dict[str, Path] = {}
    for path in weight_files(source):
        file = WeightFile(path)
        for name, shape in file.shapes().items():
            fault, do = "", ""
            if name in places:
                fault = f"tensor {name!r} is in {places[name].name} too"
            elif name not in table:
                fault = f"unknown tensor {name!r}"
                do = "only first-generation Qwen-Audio is converted"
            elif shape != (wanted := table[name].shape):
                fault = f"tensor {name!r} is {list(shape)}, by config.json {list(wanted)}"
            elif not (dtype := file.dtype(name)).is_floating_point or dtype.itemsize < 2:
                fault = f"tensor {name!r} is {dtype}, which takes more than renaming"
                do = "convert the checkpoint that was not quantised"
            if fault:
                raise ModelError(fault, where=str(path), do=do)
            places[name] = path
    missing = sorted(table.keys() - places.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        what = f"tensor {missing[0]!r} is missing{more}"
        raise ModelError(what, where=str(source), do="fetch it again")
    return places


def _base_tokens(source: Path, config: OriginalConfig) -> list[bytes] | None:
    """The tokens before the special ones, in the order of their ids; None without their file."""
    path = source / RANKS
    if not path.exists():
        return None
    tokens = special.read_ranks(path)
    if len(tokens) != config.base_tokens:
        what = f"{len(tokens):,} tokens, by config.json (audio_start_id) {config.base_tokens:,}"
        raise ModelError(what, where=str(path), do="fetch both again")
    return tokens


def _save_processor(config: OriginalConfig, tokens: list[bytes] | None, folder: Path) -> None:
    """Write ends of a response, and the processor; without tokens, of the latter the mel alone."""
    stops = [config.token_id(token) for token in special.STOPS]
    GenerationConfig(eos_token_id=stops, pad_token_id=stops[0]).save_pretrained(folder)
    extractor = WhisperFeatureExtractor(
        feature_size=config.audio.n_mels, return_attention_mask=True
    )
    if tokens is None:
        extractor.save_pretrained(folder)
        return
    marks = [special.AUDIO, special.AUDIO_START, special.AUDIO_END]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=special.byte_level_bpe(tokens, special.PATTERN, special.SPECIAL_TOKENS),
        eos_token=special.END_OF_TEXT,
        pad_token=special.END_OF_TEXT,
        additional_special_tokens=[special.TURN_START, special.TURN_END, *marks],
        padding_side="left",
        model_max_length=config.seq_length,
        clean_up_tokenization_spaces=False,
    )
    Qwen2AudioProcessor(
        feature_extractor=extractor,
        tokenizer=tokenizer,
        chat_template=special.CHAT_TEMPLATE,
        audio_token=special.AUDIO,
        audio_bos_token=special.AUDIO_START,
        audio_eos_token=special.AUDIO_END,
    ).save_pretrained(folder)


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
        what = "another conversion is writing here, or was killed"
        raise ModelError(what, where=str(part), do="wait for it, or remove the folder")
    try:
        with new_folder(destination):
            yield part
    except (OSError, SafetensorError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ModelError(f"cannot be written ({reason})", where=str(destination)) from None
