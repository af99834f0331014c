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
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.alignment.source import Drawn, SourceQuestion, draw, draw_benign

DATASET = "PKU-Alignment/BeaverTails"
REVISION = "8401fe609d288129cc684a9b3be6a93e41cfe678"
"""The dataset's last commit (October 2023)."""
SPLIT = "30k_train"
COLUMNS = ("prompt", "response", "category", "is_safe")
LICENCE = "CC-BY-NC-4.0"
"""Of BeaverTails: not for commercial use; a set built from it is under the same licence."""

FORMATS = ("json", "parquet", "csv", "arrow", "cache")
"""Readers of `datasets` that only read; others may unpickle or fetch."""


@dataclass
class _Asked:
    """All that the rows say of one prompt."""

    responses: int = 0
    unsafe: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    safe: set[str] = field(default_factory=set)


class BeaverTails:
    """Questions of a dataset in BeaverTails' schema.

    Args:
        rows: of the dataset, in any order.
        harmful_share: least share of unsafe responses of a harmful question, above 0.
        about: what a manifest says of where the rows come from.

    Raises:
        DataError: a row does not have the schema.
    """

    def __init__(
        self, rows: Iterable[Mapping[str, Any]], harmful_share: float, about: dict[str, Any]
    ) -> None:
        self._about = about
        self._harmful: dict[str, list[tuple[str, _Asked]]] = {}
        self._benign: list[tuple[str, _Asked]] = []
        for text, asked in sorted(_gather(rows, str(about.get("name", ""))).items()):
            if asked.unsafe == 0:
                self._benign.append((text, asked))
            elif asked.categories and asked.unsafe >= harmful_share * asked.responses:
                category = min(asked.categories, key=lambda name: (-asked.categories[name], name))
                self._harmful.setdefault(category, []).append((text, asked))

    def harmful(self, per_category: int, seed: int, answered: bool) -> Drawn:
        """See `Source.harmful`."""
        pools = {
            category: [
                _question(text, asked, category, seed)
                for text, asked in pool
                if asked.safe or not answered
            ]
            for category, pool in self._harmful.items()
        }
        return draw(pools, per_category, seed)

    def benign(
        self, count: int, seed: int, answered: bool, apart_from: Collection[str]
    ) -> tuple[SourceQuestion, ...]:
        """See `Source.benign`."""
        pool = [
            _question(text, asked, "benign", seed)
            for text, asked in self._benign
            if asked.safe or not answered
        ]
        return draw_benign(pool, count, seed, apart_from)

    def describe(self) -> dict[str, Any]:
        """See `Source.describe`."""
        return dict(self._about)


def load_beavertails(
    dataset: str, revision: str, split: str, harmful_share: float, *, local: bool
) -> BeaverTails:
    """Read BeaverTails, or a dataset in its schema, from the hub or a folder.

    Args:
        dataset: name on the hub, or a folder.
        revision: commit, tag or branch on the hub; the commit it means is recorded.
        split: for instance "30k_train".
        harmful_share: see `BeaverTails`.
        local: whether `dataset` is a folder.

    Raises:
        DataError: it cannot be had, is in a format that is not read, or lacks a column.
    """
    import datasets

    commit = None if local else _commit(dataset, revision)
    try:
        builder = datasets.load_dataset_builder(dataset, revision=commit)
        if builder.__class__.__module__.split(".")[-2] not in FORMATS:
            raise DataError(
                f"the dataset is not in one of the formats {', '.join(FORMATS)}", where=dataset
            )
        builder.download_and_prepare()
        table = builder.as_dataset(split=split)
    except DataError:
        raise
    except Exception as error:  # datasets raises dozens of types, its own and others'
        raise DataError(
            f"the dataset cannot be loaded ({type(error).__name__}: {str(error)[:160]})",
            where=dataset,
            do="check name, revision and split; where the hub is out of reach, give a local copy",
        ) from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(
            f"column {missing[0]!r} is missing",
            where=f"{dataset} {split}",
            do=f"BeaverTails has {', '.join(COLUMNS)}",
        )
    rows = [dict(row) for row in table.select_columns(list(COLUMNS))]
    about = {
        "name": Path(dataset).resolve().name if local else dataset,
        "revision": commit,
        "split": split,
        "rows": len(rows),
        "rows_sha256": _rows_hash(rows),
        "harmful_share": harmful_share,
        "licence": "of the local dataset: see its own files" if local else LICENCE,
    }
    return BeaverTails(rows, harmful_share, about)


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


def _gather(rows: Iterable[Mapping[str, Any]], name: str) -> dict[str, _Asked]:
    found: dict[str, _Asked] = {}
    for number, row in enumerate(rows):
        where = f"{name} row {number}"
        prompt, response = row.get("prompt"), row.get("response")
        category, safe = row.get("category"), row.get("is_safe")
        if not isinstance(prompt, str) or not isinstance(response, str | None):
            raise DataError("prompt or response is not text", where=where)
        if not isinstance(category, dict) or not isinstance(safe, bool):
            raise DataError("category is no mapping, or is_safe not true or false", where=where)
        text = " ".join(prompt.split())
        if not speakable(text):
            continue
        asked = found.setdefault(text, _Asked())
        asked.responses += 1
        if safe:
            asked.safe.update(filter(None, [(response or "").strip()]))
        else:
            asked.unsafe += 1
            asked.categories.update(key for key, flag in category.items() if flag)
    return found


def speakable(text: str) -> bool:
    """Whether a text has a letter to speak and nothing that is no text (control characters)."""
    kinds = {unicodedata.category(letter) for letter in text}
    return bool(kinds & {"Lu", "Ll", "Lo"}) and not kinds & {"Cc", "Cs"}


def _question(text: str, asked: _Asked, category: str, seed: int) -> SourceQuestion:
    safe = sorted(asked.safe, key=lambda reply: hashlib.sha256(f"{seed}/{reply}".encode()).digest())
    return SourceQuestion(text, category, safe[0] if safe else "")


def _rows_hash(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of the rows whatever their order."""
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
