"""ASR, ORR and HS by category: harm categories, AIR-Bench's chat tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import NamedTuple, TypeAlias

from greaves.base.records import Record, Verdict
from greaves.base.text import csv_text
from greaves.leaderboards.estimate.metric import Level, levels_of
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import VANILLA, TaskKey


class CategoryRow(Record):
    """One metric of one method on the questions of one category.

    Attributes:
        value, low, high: as in `greaves.leaderboards.board.row.Row`; the interval is by question.
        n_questions: questions with at least one scored response.
        n_unscored: responses without a usable verdict; they are left out, never 0.
    """

    judge: str
    model: str
    task: str
    category: str
    method: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n_questions: int
    n_unscored: int


class _Column(NamedTuple):
    """One metric of one task, by one judge."""

    judge: str
    model: str
    task: str
    order: float
    metric: str


_Values: TypeAlias = dict[str, list[float | None]]
"""Question id -> what each response counts."""


def by_category(verdicts: Iterable[Verdict], *, seed: int = DEFAULT_SEED) -> list[CategoryRow]:
    """Rows by judge, model, task, category and method (vanilla first).

    Training seeds are pooled. Tasks with a single category, or none, have no rows.
    """
    found: dict[tuple[_Column, str, bool, str], _Values] = {}
    levels: dict[TaskKey, list[Level]] = {}
    for one in verdicts:
        if one.category:
            key = TaskKey(one.kind, one.mode, one.task)
            if key not in levels:
                levels[key] = levels_of(key)
            for level in levels[key]:
                place = _Column(one.judge, one.model, one.task, level.order, level.name)
                method = (one.category, one.method != VANILLA, one.method)
                questions = found.setdefault((place, *method), {})
                questions.setdefault(one.question_id, []).append(level.value(one))
    known = {level.name: level for own in levels.values() for level in own}
    categories: dict[_Column, set[str]] = {}
    for place, category, *_ in found:
        categories.setdefault(place, set()).add(category)
    return [
        _row(known[place.metric], place, category, method, questions, seed)
        for (place, category, _, method), questions in sorted(found.items())
        if len(categories[place]) > 1
    ]


def _row(
    level: Level, place: _Column, category: str, method: str, questions: _Values, seed: int
) -> CategoryRow:
    scored = [[value for value in each if value is not None] for each in questions.values()]
    means = [math.fsum(each) / len(each) for each in scored if each]
    numbers = asdict(level.estimate(means, seed)).items()
    known = {name: None if math.isnan(number) else number for name, number in numbers}
    return CategoryRow(
        judge=place.judge,
        model=place.model,
        task=place.task,
        category=category,
        method=method,
        metric=level.name,
        n_questions=len(means),
        n_unscored=sum(map(len, questions.values())) - sum(map(len, scored)),
        **known,
    )


def as_csv(rows: Sequence[CategoryRow]) -> str:
    """Every row with all its fields; text that a spreadsheet would take for a formula is quoted."""
    return csv_text([row.model_dump() for row in rows], list(CategoryRow.model_fields))
