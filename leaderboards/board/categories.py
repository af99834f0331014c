"""ASR, ORR and HS by category: harm categories, AIR-Bench's chat tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.base.records import Verdict
from greaves.base.text import csv_text, printable
from greaves.leaderboards.estimate.metric import Level, levels_of, metric_of
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import VANILLA, TaskKey


class CategoryRow(BaseModel):
    """One metric of one method on the questions of one category.

    Attributes:
        value, low, high: as in `greaves.leaderboards.board.row.Row`; the interval is by question.
        n_questions: questions with at least one scored response.
        n_unscored: responses without a usable verdict; they are left out, never 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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


def by_category(verdicts: Iterable[Verdict], *, seed: int = DEFAULT_SEED) -> list[CategoryRow]:
    """Rows by judge, model, task, category and method (vanilla first).

    Training seeds are pooled. Tasks with a single category, or none, have no rows.

    Args:
        verdicts: of a run.
        seed: of the bootstrap.
    """
    found: dict[tuple[_Column, str, bool, str], dict[str, list[float | None]]] = {}
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
    level: Level,
    place: _Column,
    category: str,
    method: str,
    questions: dict[str, list[float | None]],
    seed: int,
) -> CategoryRow:
    scored = [[value for value in each if value is not None] for each in questions.values()]
    means = [math.fsum(each) / len(each) for each in scored if each]
    estimate = level.estimate(means, seed)
    known = {
        name: None if math.isnan(number) else number
        for name, number in (
            ("value", estimate.value), ("low", estimate.low), ("high", estimate.high)
        )
    }  # fmt: skip
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


def show(rows: Sequence[CategoryRow], to: Console) -> None:
    """One table per judge, model, task and metric: a line per category, a column per method."""
    places = dict.fromkeys((row.judge, row.model, row.task, row.metric) for row in rows)
    for place in places:
        own = [row for row in rows if (row.judge, row.model, row.task, row.metric) == place]
        judge, model, task = map(printable, place[:3])
        title = metric_of(place[3]).title
        to.print(Text(f"{title} by category: {model}, {task}, judge {judge}"), soft_wrap=True)
        to.print(_table(own))


def _table(rows: Sequence[CategoryRow]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Category", overflow="fold")
    table.add_column("Questions", justify="right")
    methods = list(dict.fromkeys(row.method for row in rows))
    for method in methods:
        table.add_column(Text(printable(method)), justify="right", overflow="fold")
    for category in dict.fromkeys(row.category for row in rows):
        cells = {row.method: row for row in rows if row.category == category}
        count = max(row.n_questions for row in cells.values())
        numbers = [_number(cells.get(method)) for method in methods]
        table.add_row(Text(printable(category)), str(count), *map(Text, numbers))
    return table


def _number(row: CategoryRow | None) -> str:
    if row is None or row.value is None or row.low is None or row.high is None:
        return "-"
    value, low, high = map(metric_of(row.metric).printed, (row.value, row.low, row.high))
    left = f"\n{row.n_unscored} unscored" if row.n_unscored else ""
    return f"{value}\n[{low}, {high}]{left}"
