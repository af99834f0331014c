"""The published tables with a run beside them, as Markdown and on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.leaderboards.compare.beside import (
    SAID,
    WARNING,
    Joined,
    Line,
    is_best,
    printed,
    sarsteer,
    title,
)
from greaves.leaderboards.show.render import escaped, printable


def markdown(tables: Sequence[Joined], *, label: str = "") -> str:
    """A Markdown page, one table after the other.

    Args:
        label: what must be said of the run, e.g. "pocket".
    """
    parts = ["# Beside the published results", *map(escaped, _said(label))]
    for table in tables:
        head = ["Model", "Method", "By", *map(title, table.columns)]
        ruler = ["---", "---", "---", *("---:" for _ in table.columns)]
        body = [[*map(escaped, _names(line)), *_cells(table, line)] for line in table.lines]
        lines = [f"| {' | '.join(cells)} |" for cells in (head, ruler, *body)]
        parts += [f"## {_heading(table)}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def show(tables: Sequence[Joined], to: Console, *, label: str = "") -> None:
    """Print the tables, number above interval."""
    for table in tables:
        view = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
        view.title = _heading(table)
        for name in ("Model", "Method", "By"):
            view.add_column(name, overflow="fold")
        for column in table.columns:
            view.add_column(title(column), justify="right")
        for line in table.lines:
            cells = [line.cells.get(column) for column in table.columns]
            view.add_row(
                *(Text(printable(name)) for name in _names(line)),
                *(
                    Text(printed(cell).replace(" ", "\n", 1), style="bold" if is_best(cell) else "")
                    for cell in cells
                ),
            )
        to.print(view)
    for said in _said(label):
        to.print(Text(printable(said)), soft_wrap=not to.is_terminal)


def _heading(table: Joined) -> str:
    return f"Table {table.name}: {table.title}" if table.name.isdigit() else table.title


def _names(line: Line) -> list[str]:
    return [line.model, line.name, line.by]


def _cells(table: Joined, line: Line) -> Iterator[str]:
    for column in table.columns:
        cell = line.cells.get(column)
        number, space, interval = escaped(printed(cell)).partition(" ")
        yield f"{f'**{number}**' if is_best(cell) else number}{space}{interval}"


def _said(label: str) -> list[str]:
    return [SAID, sarsteer(), WARNING, *([f"This run is labelled: {label}."] if label else [])]
