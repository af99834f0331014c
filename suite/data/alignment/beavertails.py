"""BeaverTails (PKU-Alignment) as a source of questions, read with `datasets`.

A row is a question with one response: `prompt`, `response`, `category` (14 harm categories, each
true or false) and `is_safe`. The labels are the response's, so what a question is follows from all
its responses: harmful where at least `harmful_share` of them are unsafe, benign where none is, and
neither (never drawn) between. Its category is the one its unsafe responses are most often in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from greaves.base.errors import DataError
from greaves.data.alignment.source import Source, SourceQuestion, speakable
from greaves.data.alignment.spec import BeaverTailsSpec

COLUMNS = ("prompt", "response", "category", "is_safe")
LICENCE = "CC-BY-NC-4.0"
"""Of BeaverTails: not for commercial use; a set built from it is under the same licence."""

FORMATS = ("json", "parquet", "csv", "arrow", "cache")
"""Readers of `datasets` that only read; others may unpickle or fetch."""


@dataclass
class _Prompt:
    """All that the rows say of one prompt."""

    responses: int = 0
    unsafe: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    safe: set[str] = field(default_factory=set)


def beavertails(
    rows: Iterable[Mapping[str, Any]],
    harmful_share: float,
    about: dict[str, Any],
    seed: int,
    answered: bool,
) -> Source:
    """Questions of a dataset in BeaverTails' schema.

    Args:
        rows: of the dataset, in any order.
        harmful_share: least share of unsafe responses of a harmful question, above 0.
        about: what a manifest says of where the rows come from.
        seed: of the choice of questions and responses.
        answered: only questions with a safe response.

    Raises:
        DataError: a row does not have the schema.
    """

    def rank(reply: str) -> bytes:
        return hashlib.sha256(f"{seed}/{reply}".encode()).digest()

    harmful: dict[str, list[SourceQuestion]] = {}
    benign: list[SourceQuestion] = []
    for text, asked in sorted(_gather(rows, str(about.get("name", ""))).items()):
        response = min(asked.safe, key=rank, default="")
        if answered and not asked.safe:
            continue
        if asked.unsafe == 0:
            benign.append(SourceQuestion(text, "benign", response))
        elif asked.categories and asked.unsafe >= harmful_share * asked.responses:
            category = min(asked.categories, key=lambda name: (-asked.categories[name], name))
            harmful.setdefault(category, []).append(SourceQuestion(text, category, response))
    return Source(harmful, benign, about, seed)


def load_beavertails(spec: BeaverTailsSpec, seed: int = 0, answered: bool = False) -> Source:
    """Read BeaverTails, or a dataset in its schema, from the hub or a folder; see `beavertails`.

    Only a dataset from the hub is kept in the cache of `datasets`.

    Raises:
        DataError: it cannot be had, is in a format that is not read, or lacks a column.
    """
    commit = None if spec.local else _commit(spec.dataset, spec.revision)
    with TemporaryDirectory() as scratch:
        rows = _rows(spec, commit, scratch if spec.local else None)
    about = {
        "name": Path(spec.dataset).resolve().name if spec.local else spec.dataset,
        "revision": commit,
        "split": spec.split,
        "rows": len(rows),
        "rows_sha256": _rows_hash(rows),
        "harmful_share": spec.harmful_share,
        "licence": "of the local dataset: see its own files" if spec.local else LICENCE,
    }
    return beavertails(rows, spec.harmful_share, about, seed, answered)


def _rows(spec: BeaverTailsSpec, commit: str | None, cache: str | None) -> list[dict[str, Any]]:
    import datasets

    try:
        builder = datasets.load_dataset_builder(spec.dataset, revision=commit, cache_dir=cache)
        if builder.__class__.__module__.split(".")[-2] not in FORMATS:
            raise DataError(
                f"the dataset is not in one of the formats {', '.join(FORMATS)}", where=spec.dataset
            )
        builder.download_and_prepare()
        table = builder.as_dataset(split=spec.split)
    except DataError:
        raise
    except Exception as error:  # datasets raises dozens of types, its own and others'
        raise DataError(
            f"the dataset cannot be loaded ({type(error).__name__}: {str(error)[:160]})",
            where=spec.dataset,
            do="check name, revision and split; where the hub is out of reach, give a local copy",
        ) from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(
            f"column {missing[0]!r} is missing",
            where=f"{spec.dataset} {spec.split}",
            do=f"BeaverTails has {', '.join(COLUMNS)}",
        )
    return [dict(row) for row in table.select_columns(list(COLUMNS))]


def _commit(dataset: str, revision: str) -> str:
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    try:
        found = HfApi().dataset_info(dataset, revision=revision).sha
    except Exception as error:  # network, authorisation, name, revision: all the user's to check
        raise DataError(
            f"revision {revision!r} cannot be looked up ({type(error).__name__})",
            where=dataset,
            do="give the full commit",
        ) from None
    if not found:
        raise DataError(f"revision {revision!r} names no commit", where=dataset)
    return str(found)


def _gather(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, _Prompt]:
    found: dict[str, _Prompt] = {}
    for number, row in enumerate(rows):
        where = f"{name} row {number}"
        prompt, response = row.get("prompt"), row.get("response")
        category, safe = row.get("category"), row.get("is_safe")
        if not isinstance(prompt, str) or not isinstance(response, str | None):
            raise DataError("prompt or response is not text", where=where)
        if not isinstance(category, dict) or not isinstance(safe, bool):
            raise DataError("category is not a mapping, or is_safe not true or false", where=where)
        text = " ".join(prompt.split())
        if not speakable(text):
            continue
        asked = found.setdefault(text, _Prompt())
        asked.responses += 1
        if safe:
            asked.safe.update(filter(None, [(response or "").strip()]))
        else:
            asked.unsafe += 1
            asked.categories.update(key for key, flag in category.items() if flag)
    return found


def _rows_hash(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of the rows whatever their order."""
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
