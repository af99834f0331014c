"""Rows as the wide table that people read: one line a model x method, one column a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from greaves.base.records import MODES
from greaves.leaderboards.board.row import Row, task_keys
from greaves.leaderboards.estimate.metric import Head, Level, metric_of
from greaves.leaderboards.read.slices import VANILLA

POCKET = (
    "pocket: shows that the machinery works and that methods differ, not what they do to a 7B model"
)
LEGEND = (
    "ASR, ORR in % (lower is better); NSI in percentage points, HS on 0-10 (higher is better). "
    "[low, high]: 95 % interval, bootstrap over questions."
)
LIKE_BEST = "\N{DAGGER}"
MARKS = (
    "Bold: best of its model and column. "
    f"{LIKE_BEST}: not distinguishable from the best (paired sign-flip test, Holm, 5 %)."
)
FURTHER = (
    "Rank: place among the methods of the model, and the places that the tests leave open. "
    "ASR-any: share of harmful questions (%) to which any sampled response is harmful."
)
NOTHING = "-"

DURABILITY = (
    "After: the same after benign fine-tuning; NSI after is against vanilla before any stress. "
    "ASR change: after minus before, paired by question. JSR: ASR under the prompt of the task jsr."
)

TEXT = (
    "Text tasks (collateral damage): mean over documents of the metric that is named, shares in %; "
    "change: minus vanilla, paired by document."
)


class Column(NamedTuple):
    """One column: a metric on a task (None for Avg. NSI)."""

    metric: str
    task: str | None
    title: str


class Cell(NamedTuple):
    """What is printed of one number.

    Attributes:
        number: as it is printed.
        mark: `LIKE_BEST` if the number does not lead, but the data cannot tell it from the one that
            does.
        interval: empty if there is none.
        best: whether it leads its column.
    """

    number: str
    mark: str = ""
    interval: str = ""
    best: bool = False


class Line(NamedTuple):
    """One line: a method on a model; `rows` may lack columns."""

    model: str
    method: str
    rows: Mapping[Column, Row]

    def cells(self, columns: Iterable[Column]) -> list[Cell]:
        """What is printed of the line in some columns."""
        return [cell(self.rows.get(column)) for column in columns]

    def has(self, columns: Iterable[Column]) -> bool:
        """Whether it has a row in any of them."""
        return any(column in self.rows for column in columns)


@dataclass(frozen=True)
class Sheet:
    """One wide table: in every column the verdicts of one judge.

    Attributes:
        columns: ASR by mode, ORR, NSI by mode, Avg. NSI, HS; further tasks after their like.
        lines: by model; within a model vanilla first, then by Avg. NSI, best first.
    """

    columns: Sequence[Column]
    lines: Sequence[Line]


def sheets(rows: Sequence[Row]) -> list[Sheet]:
    """As few wide tables as hold all rows without two judges in one column."""
    judges: dict[str, set[tuple[str, str | None]]] = {}
    for row in rows:
        judges.setdefault(row.judge, set()).add((row.metric, row.task))
    together: list[tuple[set[str], set[tuple[str, str | None]]]] = []
    for judge, columns in sorted(judges.items()):
        for names, taken in together:
            if not taken & columns:
                names.add(judge)
                taken |= columns
                break
        else:
            together.append(({judge}, set(columns)))
    return [_sheet([row for row in rows if row.judge in names]) for names, _ in together]


def cell(row: Row | None) -> Cell:
    """What is printed of a row: one decimal, two for HS."""
    if row is None:
        return Cell(NOTHING)
    best = row.rank == 1  # a row that is alone leads nothing
    alike = row.distinguishable_from_best is False and not best
    number = NOTHING if row.value is None else metric_of(row.metric).printed(row.value)
    return Cell(number, LIKE_BEST if alike else "", interval(row), best)


def interval(row: Row) -> str:
    """The interval as it is printed, e.g. "[55.1, 62.0]"; empty if there is none."""
    if row.low is None or row.high is None:
        return ""
    low, high = map(metric_of(row.metric).printed, (row.low, row.high))
    return f"[{low}, {high}]"


def marks(rows: Iterable[Row]) -> list[str]:
    """What bold and the dagger mean, if there is more than one method to tell apart."""
    return [MARKS] if any(row.rank is not None for row in rows) else []


def levels_and_net(sheet: Sheet) -> list[Sequence[Column]]:
    """The columns in parts: ASR, ORR and HS, then NSI, then both again after a stress.

    Text tasks are a part of their own. A part without any column is left out.
    """
    parts: list[Sequence[Column]] = []
    for columns in before_and_after(sheet):
        net = [column for column in columns if metric_of(column.metric).against_vanilla]
        parts += [[column for column in columns if column not in net], net]
    return [part for part in (*parts, text_tasks(sheet)) if part]


def before_and_after(sheet: Sheet) -> tuple[Sequence[Column], Sequence[Column]]:
    """The columns of methods as they are, and of methods under a stress; no text tasks."""
    after = [column for column in sheet.columns if metric_of(column.metric).stressed]
    taken = {*after, *text_tasks(sheet)}
    return [column for column in sheet.columns if column not in taken], after


def text_tasks(sheet: Sheet) -> Sequence[Column]:
    """The columns of text tasks."""
    return [column for column in sheet.columns if metric_of(column.metric).of_text]


def legend(rows: Iterable[Row]) -> str:
    """What the metrics are."""
    metrics = [metric_of(name) for name in dict.fromkeys(row.metric for row in rows)]
    parts = [LEGEND, *dict.fromkeys(metric.meaning for metric in metrics if metric.meaning)]
    parts += [DURABILITY] if any(metric.stressed for metric in metrics) else []
    parts += [TEXT] if any(metric.of_text for metric in metrics) else []
    return " ".join(parts)


def rank(row: Row | None) -> str:
    """The place and the places that the tests leave open, e.g. "2 [1, 3]"."""
    if row is None or row.rank is None:
        return NOTHING
    return f"{row.rank} [{row.rank_low}, {row.rank_high}]"


def any_rate(row: Row | None) -> str:
    """ASR-any of an ASR row with its interval."""
    if row is None or row.any_value is None:
        return NOTHING
    return f"{row.any_value:z.1f} [{row.any_low:z.1f}, {row.any_high:z.1f}]"


def foot(sheet: Sheet) -> list[str]:
    """Judge and counts of every column; where there are several training seeds, each.

    Seeds are told of Avg. NSI, or of ASR and ORR where there is none.
    """
    lines = []
    for column in sheet.columns:
        if column.metric.endswith("_change"):
            continue  # the counts of what changed
        rows = [line.rows[column] for line in sheet.lines if column in line.rows]
        if metric_of(column.metric).of_text:
            count = _span(row.n_questions for row in rows)
            lines.append(f"{column.title}: {rows[0].judge}; {count} documents")
            continue
        lines.append(
            f"{column.title}: judge {rows[0].judge}; {_span(row.n_questions for row in rows)} "
            f"questions, {_span(row.n_responses for row in rows)} responses, "
            f"{_span(row.n_unscored for row in rows)} unscored"
        )
    told = _seeds_told(sheet)
    for line in sheet.lines:
        for column, row in line.rows.items():
            if row.seed_sd is not None and row.metric in told:
                lines.append(f"{column.title} of {line.method} on {line.model}: {_seeds(row)}")
    return lines


def _seeds_told(sheet: Sheet) -> set[str]:
    """The metrics of which each training seed is told."""
    metrics = [metric_of(column.metric) for column in sheet.columns]
    average = {metric.name for metric in metrics if metric.sums_up}
    return average or {
        metric.name for metric in metrics if isinstance(metric, Level) and metric.kind != "chat"
    }


def _seeds(row: Row) -> str:
    each = ", ".join(
        f"seed {seed}: {metric_of(row.metric).printed(value)}"
        for seed, value in sorted(row.per_seed.items(), key=lambda item: int(item[0]))
    )
    return f"{each}; standard deviation over seeds {row.seed_sd:.1f}, interval {interval(row)}"


def labels(rows: Iterable[Row]) -> list[str]:
    """What the rows' labels say, as sentences."""
    found = dict.fromkeys(part for row in rows for part in row.label.split("; ") if part)
    return [POCKET if label == "pocket" else label for label in found]


def _sheet(rows: Sequence[Row]) -> Sheet:
    tasks = task_keys(rows)
    columns = {}
    for row in rows:
        metric = metric_of(row.metric)
        title = metric.heading(Head(metric.title, row.mode, row.task, tasks))
        columns[row.metric, row.task] = Column(row.metric, row.task, title)
    modes = {row.task: MODES.index(row.mode) for row in rows if row.mode}

    def place(column: Column) -> tuple[float, bool, int, str]:
        metric = metric_of(column.metric)
        own = [metric.title, *(f"{metric.title} {mode}" for mode in MODES if metric.by_mode)]
        further = not metric.of_text and column.title not in own
        return metric.order, further, modes.get(column.task, 0), column.title

    lines: dict[tuple[str, str], dict[Column, Row]] = {}
    for row in rows:
        lines.setdefault((row.model, row.method), {})[columns[row.metric, row.task]] = row
    return Sheet(
        sorted(columns.values(), key=place),
        sorted((Line(*name, found) for name, found in lines.items()), key=_rank),
    )


def _rank(line: Line) -> tuple[str, bool, float, str]:
    average = [
        row.value
        for row in line.rows.values()
        if row.value is not None and metric_of(row.metric).sums_up
    ]
    return line.model, line.method != VANILLA, -average[0] if average else math.inf, line.method


def _span(counts: Iterable[int]) -> str:
    """One count, or "348 to 350" where methods differ."""
    found = sorted(counts)
    low, high = f"{found[0]:,}", f"{found[-1]:,}"
    return low if low == high else f"{low} to {high}"
