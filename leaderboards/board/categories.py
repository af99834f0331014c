"""ASR, ORR and HS by category: harm categories, AIR-Bench's chat tasks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.base.records import Verdict
from greaves.base.text import csv_cell, printable
from greaves.leaderboards.estimate import metrics, statistics
from greaves.leaderboards.estimate.metrics import LEVELS, Metric
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED, Estimate
from greaves.leaderboards.read.slices import VANILLA


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
    metric: Metric
    value: float | None
    low: float | None
    high: float | None
    n_questions: int
    n_unscored: int


def by_category(verdicts: Iterable[Verdict], *, seed: int = DEFAULT_SEED) -> list[CategoryRow]:
    """Rows by judge, model, task, category and method (vanilla first).

    Training seeds are pooled. Tasks with a single category, or none, have no rows.

    Args:
        verdicts: of a run.
        seed: of the bootstrap.
    """
    found: dict[tuple[str, str, str, str, bool, str], dict[str, list[float]]] = {}
    kinds: dict[str, Metric] = {}
    for one in verdicts:
        if one.category:
            method = (one.method != VANILLA, one.method)
            place = (one.judge, one.model, one.task, one.category, *method)
            found.setdefault(place, {}).setdefault(one.question_id, []).append(
                math.nan if one.value is None else one.value
            )
            kinds[one.task] = LEVELS[one.kind]
    categories: dict[tuple[str, str, str], set[str]] = {}
    for judge, model, task, category, *_ in found:
        categories.setdefault((judge, model, task), set()).add(category)
    return [
        _row(place, kinds[place[2]], questions, seed)
        for place, questions in sorted(found.items())
        if len(categories[place[:3]]) > 1
    ]


def _row(
    place: tuple[str, str, str, str, bool, str],
    metric: Metric,
    questions: dict[str, list[float]],
    seed: int,
) -> CategoryRow:
    judge, model, task, category, _, method = place
    scored = [[value for value in each if not math.isnan(value)] for each in questions.values()]
    means = [math.fsum(each) / len(each) for each in scored if each]
    estimate = Estimate(math.nan, math.nan, math.nan)
    if means:
        estimator = statistics.score if metric == "hs" else statistics.rate
        estimate = estimator(means, seed=seed).times(metrics.unit(metric))
    known = {
        name: None if math.isnan(number) else number
        for name, number in (
            ("value", estimate.value), ("low", estimate.low), ("high", estimate.high)
        )
    }  # fmt: skip
    return CategoryRow(
        judge=judge,
        model=model,
        task=task,
        category=category,
        method=method,
        metric=metric,
        n_questions=len(means),
        n_unscored=sum(map(len, questions.values())) - sum(map(len, scored)),
        **known,
    )


def as_csv(rows: Sequence[CategoryRow]) -> str:
    """Every row with all its fields; text that a spreadsheet would take for a formula is quoted."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(CategoryRow.model_fields), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: csv_cell(value) for name, value in row.model_dump().items()})
    return file.getvalue()


def show(rows: Sequence[CategoryRow], to: Console) -> None:
    """One table a judge, model and task: a line a category, a column a method."""
    places = dict.fromkeys((row.judge, row.model, row.task) for row in rows)
    for place in places:
        own = [row for row in rows if (row.judge, row.model, row.task) == place]
        judge, model, task = map(printable, place)
        metric = metrics.name(own[0].metric)
        to.print(Text(f"{metric} by category: {model}, {task}, judge {judge}"), soft_wrap=True)
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
    if row is None or row.value is None:
        return "-"
    digits = 2 if row.metric == "hs" else 1
    left = f"\n{row.n_unscored} unscored" if row.n_unscored else ""
    return f"{row.value:.{digits}f}\n[{row.low:.{digits}f}, {row.high:.{digits}f}]{left}"
