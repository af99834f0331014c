"""A run beside the published tables of the RRS paper: `greaves leaderboard RUN --published`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console

from greaves.base.errors import GreavesError
from greaves.leaderboards.board.row import Row, task_keys
from greaves.leaderboards.compare import papers
from greaves.leaderboards.compare.papers import Column, Figure, PublishedTable
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.estimate.metrics.hs import HS_TASK
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.show import render, terminal, wide

_NAMES = ("Model", "Method", "By")
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
        names: which of the tables 2, 3, 4 and aiah; all if empty.

    Raises:
        GreavesError: an unknown table, or two judges in one column.
    """
    tables = {table.name: table for table in (*papers.rrs_tables(), papers.aiah_table())}
    for name in names:
        if name not in tables:
            what = f"there is no published table {name!r}"
            raise GreavesError(what, where="--table", do=f"tables: {', '.join(tables)}")
    found = _ours(rows)
    return [_joined(tables[name], found, list(kept)) for name in names or tables]


def sarsteer() -> str:
    """SARSteer's figures as one line; they stand in no table, since judge and data are others."""
    cells = {name: cell(figure) for name, figure in papers.sarsteer_figures().items()}
    told = [f"{name} {one.number} {one.interval}".strip() for name, one in cells.items()]
    return f"SARSteer (ICML 2026; other judge and data), ASR: {', '.join(told)}."


def title(column: Column) -> str:
    """As it heads a column, e.g. "ASR audio-text"."""
    name = metric_of(column.metric).title
    return f"{name} {column.mode}" if column.mode else name


def cell(found: Figure | Row | None) -> wide.Cell:
    """What is printed of a cell; the paper's numbers keep their two decimals."""
    if not isinstance(found, Figure):
        return wide.cell(found)
    mark = wide.LIKE_BEST if found.within_noise else ""
    span = "" if found.low is None else f"~[{found.low:z.1f}, {found.high:z.1f}]"
    return wide.Cell(f"{found.value:z.2f}", mark, span, found.best)


def markdown(tables: Sequence[Joined], *, label: str = "") -> str:
    """A Markdown page, one table after the other.

    Args:
        label: what must be said of the run, e.g. "pocket".
    """
    parts = ["# Beside the published results", *map(render.escaped, _said(label))]
    for table in tables:
        columns, lines = _grid(table)
        parts += [f"## {_heading(table)}", render.table(_NAMES, columns, lines)]
    return "\n\n".join(parts) + "\n"


def show(tables: Sequence[Joined], to: Console, *, label: str = "") -> None:
    """Print the tables, number above interval."""
    for table in tables:
        columns, lines = _grid(table)
        cells = (
            [terminal.shown(each) if isinstance(each, wide.Cell) else each for each in line]
            for line in lines
        )
        to.print(terminal.grid(_NAMES, columns, cells, title=_heading(table)))
    terminal.say(to, _said(label))


def _grid(table: Joined) -> tuple[list[str], list[list[str | wide.Cell]]]:
    """Titles of the columns, and the lines: model, method and origin, then the cells."""
    lines: list[list[str | wide.Cell]] = [
        [line.model, line.name, line.by, *(cell(line.cells.get(one)) for one in table.columns)]
        for line in table.lines
    ]
    return [title(column) for column in table.columns], lines


def _heading(table: Joined) -> str:
    return f"Table {table.name}: {table.title}" if table.name.isdigit() else table.title


def _said(label: str) -> list[str]:
    return [SAID, sarsteer(), WARNING, *([f"This run is labelled: {label}."] if label else [])]


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
                    "cells": {title(column): _plain(one) for column, one in line.cells.items()},
                }
                for line in table.lines
            ],
        }
        for table in tables
    ]


def _plain(found: Figure | Row) -> dict[str, Any]:
    if isinstance(found, Figure):
        return {**found._asdict(), "approximate": True}
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    said = wide.cell(found)
    return {**numbers, "best": said.best, "within_noise": bool(said.mark), "approximate": False}


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
                what = f"two judges in one column ({taken.judge}, {row.judge})"
                raise GreavesError(what, where="--published", do="choose one with --judge")
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
