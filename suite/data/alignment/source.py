"""Where the texts of a set come from: the pocket grammar, or BeaverTails (PKU-Alignment).

A row of BeaverTails is a question with one response: `prompt`, `response`, `category` (14 harm
categories, each true or false) and `is_safe`. The labels are the response's, so what a question is
follows from all its responses: harmful where at least `harmful_share` of them are unsafe, benign
where none is, and neither (never drawn) between. Its category is the one its unsafe responses are
most often in.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from greaves.base.errors import DataError
from greaves.data.alignment.spec import BeaverTailsSpec
from greaves.data.pocket import grammar
from greaves.data.pocket.grammar import Question


@dataclass(frozen=True)
class SourceQuestion:
    """A question as a source has it.

    Attributes:
        text: in words.
        category: harm category; "benign" for a benign question.
        response: a safe response to it; "" where the source has none.
    """

    text: str
    category: str
    response: str = ""


@dataclass(frozen=True)
class Source:
    """Questions to choose from; the same seed always draws the same ones.

    Attributes:
        harmful: category -> its harmful questions.
        benign: the benign questions.
        about: what a manifest says of the source: name, revision, licence, hash.
        seed: of the choice.
    """

    harmful: Mapping[str, Sequence[SourceQuestion]]
    benign: Sequence[SourceQuestion]
    about: dict[str, Any]
    seed: int

    def draw_harmful(self, per_category: int) -> tuple[list[SourceQuestion], dict[str, int]]:
        """So many harmful questions of each category; category -> how many too few there were.

        A category's draw does not depend on the others.
        """
        drawn = {name: self._draw(name, pool, per_category) for name, pool in self.harmful.items()}
        missing = {name: per_category - len(found) for name, found in sorted(drawn.items())}
        questions = [question for _, found in sorted(drawn.items()) for question in found]
        return questions, {name: count for name, count in missing.items() if count}

    def draw_benign(self, count: int, apart_from: Collection[str] = ()) -> list[SourceQuestion]:
        """At most so many benign questions, none of whose texts is in `apart_from`."""
        pool = [question for question in self.benign if question.text not in apart_from]
        return self._draw("benign", pool, count)

    def _draw(self, name: str, pool: Sequence[SourceQuestion], count: int) -> list[SourceQuestion]:
        ordered = sorted(pool, key=lambda question: question.text)
        return random.Random(f"{self.seed}/{name}").sample(ordered, min(count, len(ordered)))


def pocket_source(seed: int) -> Source:
    """Questions about the training pairs of the pocket grammar, with its refusals and answers.

    Every question has a response. Only harmful questions whose rewrite is a training pair too are
    drawn, so that no set meets a validation or evaluation pair.
    """
    harmful: dict[str, list[SourceQuestion]] = {}
    for question, _ in grammar.mirror_questions(10_000, seed):
        own = _with_response(question, seed)
        harmful.setdefault(own.category, []).append(own)
    benign = [
        _with_response(Question(pair, number % len(grammar.FORMS)), seed)
        for number, pair in enumerate(grammar.split_pairs()["train"])
        if not pair.harmful
    ]
    about = {"name": "pocket grammar", "split": "train", "split_seed": grammar.SPLIT_SEED}
    return Source(harmful, benign, {**about, "licence": "CC0-1.0"}, seed)


def _with_response(question: Question, seed: int) -> SourceQuestion:
    respond = grammar.refusal if question.pair.harmful else grammar.answer
    response = respond(question.pair, random.Random(f"{seed}/{question.text}"))
    return SourceQuestion(question.text, question.pair.category, response)


def speakable(text: str) -> bool:
    """Whether a text has a letter to speak, and no control characters."""
    kinds = {unicodedata.category(letter) for letter in text}
    return bool(kinds & {"Lu", "Ll", "Lo"}) and not kinds & {"Cc", "Cs"}


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
            what = f"the dataset is not in one of the formats {', '.join(FORMATS)}"
            raise DataError(what, where=spec.dataset)
        builder.download_and_prepare()
        table = builder.as_dataset(split=spec.split)
    except DataError:
        raise
    except Exception as error:  # datasets raises dozens of types, its own and others'
        what = f"the dataset cannot be loaded ({type(error).__name__}: {str(error)[:160]})"
        do = "check name, revision and split; where the hub is out of reach, give a local copy"
        raise DataError(what, where=spec.dataset, do=do) from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        what = f"column {missing[0]!r} is missing"
        do = f"BeaverTails has {', '.join(COLUMNS)}"
        raise DataError(what, where=f"{spec.dataset} {spec.split}", do=do)
    return [dict(row) for row in table.select_columns(list(COLUMNS))]


def _commit(dataset: str, revision: str) -> str:
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    try:
        found = HfApi().dataset_info(dataset, revision=revision).sha
    except Exception as error:  # network, authorisation, name, revision: all the user's to check
        what = f"revision {revision!r} cannot be looked up ({type(error).__name__})"
        raise DataError(what, where=dataset, do="give the full commit") from None
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
