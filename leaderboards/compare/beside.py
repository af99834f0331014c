"""A run beside the published tables of the RRS paper: `greaves leaderboard RUN --published`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from greaves.base.errors import GreavesError
from greaves.leaderboards.board.row import Row, task_keys
from greaves.leaderboards.compare.papers import (
    Column,
    Figure,
    PublishedTable,
    aiah_table,
    rrs_tables,
    sarsteer_figures,
)
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.estimate.metrics.hs import HS_TASK
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.show import wide

PAPER, OURS = "paper", "this run"
SAID = (
    "paper: as printed (RRS, 2025, Tables 2 to 4; judge unknown). ~[low, high]: approximate 95 % "
    "interval from counts (350 questions x 5 responses, assumed to correlate at .5 within a "
    f"question); {wide.LIKE_BEST}: within noise of the best by these, which err on the wide side."
)
WARNING = "Judge, clips and questions of a run differ from the paper's; compare shapes, not digits."


class Kept(NamedTuple):
    """An RRS cell of the run, for Table 4.

    Attributes:
        top_percent: share of contributions kept; None for all above 0.
    """

    model: str
    method: str
    top_percent: float | None


@dataclass(frozen=True)
class Line:
    """One line: a figure of the paper's or a row of ours in each column, or nothing."""

    model: str
    name: str
    by: str
    cells: Mapping[Column, Figure | Row]


@dataclass(frozen=True)
class Joined:
    """One published table with ours beside it."""

    name: str
    title: str
    columns: Sequence[Column]
    lines: Sequence[Line]


def beside(rows: Sequence[Row], kept: Iterable[Kept], *, names: Sequence[str] = ()) -> list[Joined]:
    """Set a run beside the published tables.

    A line of ours follows the paper's line of the same model and method; a model is the same if its
    name begins with the paper's ("qwen2-audio-7b-instruct" with "qwen2-audio"). The rest follows.

    Args:
        rows: the run's, of one judge a column.
        kept: the run's RRS cells.
        names: which of the tables 2, 3, 4 and aiah; all if empty.

    Raises:
        GreavesError: an unknown table, or two judges in one column.
    """
    tables = {table.name: table for table in (*rrs_tables(), aiah_table())}
    for name in names:
        if name not in tables:
            raise GreavesError(
                f"there is no published table {name!r}",
                where="--table",
                do=f"tables: {', '.join(tables)}",
            )
    found = _ours(rows)
    return [_joined(tables[name], found, list(kept)) for name in names or tables]


def sarsteer() -> str:
    """SARSteer's figures as one line; they stand in no table, since judge and data are others."""
    told = [f"{name} {printed(figure)}" for name, figure in sarsteer_figures().items()]
    return f"SARSteer (ICML 2026; other judge and data), ASR: {', '.join(told)}."


def title(column: Column) -> str:
    """As it heads a column, e.g. "ASR audio-text"."""
    name = metric_of(column.metric).title
    return f"{name} {column.mode}" if column.mode else name


def printed(cell: Figure | Row | None) -> str:
    """Number and interval as they are printed; the paper's numbers keep their two decimals."""
    if cell is None:
        return wide.NOTHING
    if isinstance(cell, Row):
        mark = wide.LIKE_BEST if wide.is_like_best(cell) else ""
        return f"{wide.number(cell)}{mark} {wide.interval(cell)}".strip()
    mark = wide.LIKE_BEST if cell.within_noise else ""
    span = "" if cell.low is None else f" ~[{cell.low:z.1f}, {cell.high:z.1f}]"
    return f"{cell.value:z.2f}{mark}{span}"


def is_best(cell: Figure | Row | None) -> bool:
    """Whether the cell leads its column, among the paper's or among ours."""
    return wide.is_best(cell) if isinstance(cell, Row) else cell is not None and cell.best


def as_plain(tables: Sequence[Joined]) -> list[dict[str, Any]]:
    """The tables as plain data: one object a line, one a cell."""
    return [
        {
            "table": table.name,
            "title": table.title,
            "lines": [
                {
                    "model": line.model,
                    "name": line.name,
                    "by": line.by,
                    "cells": {title(column): _plain(cell) for column, cell in line.cells.items()},
                }
                for line in table.lines
            ],
        }
        for table in tables
    ]


def _plain(cell: Figure | Row) -> dict[str, Any]:
    if isinstance(cell, Figure):
        return {**cell._asdict(), "approximate": True}
    return {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "best": wide.is_best(cell),
        "within_noise": wide.is_like_best(cell),
        "approximate": False,
    }


_Ours = Mapping[tuple[str, str], Mapping[Column, Row]]


def _ours(rows: Sequence[Row]) -> _Ours:
    """(model, method) -> column -> the run's row on the task that enters NSI, before any stress."""
    rows = [row for row in rows if not metric_of(row.metric).stressed]
    harmful, benign = nsi_tasks(task_keys(rows))
    entering = {*harmful.values(), benign, HS_TASK, None}
    found: dict[tuple[str, str], dict[Column, Row]] = {}
    for row in rows:
        if row.task in entering:
            by_mode = metric_of(row.metric).by_mode
            column = Column(row.metric, row.mode if by_mode else None)
            taken = found.setdefault((row.model, row.method), {}).setdefault(column, row)
            if taken.judge != row.judge:
                raise GreavesError(
                    f"two judges in one column ({taken.judge}, {row.judge})",
                    where="--published",
                    do="choose one with --judge",
                )
    return found


def _joined(table: PublishedTable, ours: _Ours, kept: Sequence[Kept]) -> Joined:
    if table.name == "4":
        names = {(one.model, one.method): _share(one.top_percent) for one in kept}
    else:
        names = {place: place[1] for place in ours}
    left = {place: name for place, name in names.items() if place in ours}
    lines: list[Line] = []
    for model, published in table.lines.items():
        for name, cells in published.items():
            lines.append(Line(model, name, PAPER, cells))
            here = [place for place, own in left.items() if own == name and _same(place[0], model)]
            lines += [_line(table, place, left.pop(place), ours) for place in here]
        here = [place for place in left if _same(place[0], model)]
        lines += [_line(table, place, left.pop(place), ours) for place in here]
    lines += [_line(table, place, name, ours) for place, name in left.items()]
    return Joined(table.name, table.title, table.columns, lines)


def _line(table: PublishedTable, place: tuple[str, str], name: str, ours: _Ours) -> Line:
    cells = {column: ours[place][column] for column in table.columns if column in ours[place]}
    shown = name if name == place[1] else f"{name} ({place[1]})"
    return Line(place[0], shown, OURS, cells)


def _share(top_percent: float | None) -> str:
    return "all > 0" if top_percent is None else f"{top_percent:g}"


def _same(ours: str, published: str) -> bool:
    name = ours.rpartition("/")[2].lower()
    return name == published or name.startswith(f"{published}-")
