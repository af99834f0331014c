"""The leaderboard on a terminal: wide tables cut to the width, intervals on a second line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.show import wide
from greaves.leaderboards.show.render import printable
from greaves.leaderboards.show.wide import Column, Sheet

PLAIN_WIDTH = 120
_NAME, _WORD, _GAP = 22, 16, 2  # widest name, widest word of a title, space between columns
_SHOWN_NOTES = 10


def console() -> Console:
    """A console on stdout; plain text 120 columns wide where stdout is not a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=PLAIN_WIDTH, color_system=None)


def show(rows: Sequence[Row], to: Console, *, notes: Sequence[str] = ()) -> None:
    """Print the leaderboard; of many notes the first ten.

    Names come from recipes and plug-ins: they are printed as text, never as markup.
    """
    for sheet in wide.sheets(rows):
        for columns in _cut(sheet, to.width):
            to.print(_table(sheet, columns))
        _say(to, wide.foot(sheet))
    shown = list(notes[:_SHOWN_NOTES])
    if len(notes) > len(shown):
        shown.append(f"and {len(notes) - len(shown)} more notes in leaderboard.md")
    _say(to, [*shown, wide.legend(rows), *wide.marks(rows), *wide.labels(rows)])


def _cut(sheet: Sheet, width: int) -> Iterator[list[Column]]:
    """Columns that fit side by side: levels (ASR, ORR, HS) first, then NSI."""
    models, methods = ([line.model for line in sheet.lines], [line.method for line in sheet.lines])
    room = width - sum(min(max(map(len, names)), _NAME) + _GAP for names in (models, methods))
    for part in wide.levels_and_net(sheet):
        side: list[Column] = []
        for column in part:
            if side and sum(_width(sheet, one) + _GAP for one in [*side, column]) > room:
                yield side
                side = []
            side.append(column)
        if side:
            yield side


def _width(sheet: Sheet, column: Column) -> int:
    """Characters a column takes: its widest interval, or a longer word of its title."""
    intervals = [
        len(wide.interval(line.rows[column])) for line in sheet.lines if column in line.rows
    ]
    return max(*intervals, min(_WORD, max(map(len, column.title.split()))))


def _table(sheet: Sheet, columns: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("Model", "Method"):
        table.add_column(name, max_width=_NAME, overflow="fold")
    for column in columns:
        title, width = Text(printable(column.title)), _width(sheet, column)
        table.add_column(title, justify="right", width=width, overflow="fold")
    for line in sheet.lines:
        cells = [_cell(line.rows.get(column)) for column in columns]
        table.add_row(Text(printable(line.model)), Text(printable(line.method)), *cells)
    return table


def _cell(row: Row | None) -> Text:
    if row is None:
        return Text(wide.NOTHING)
    cell = Text(wide.number(row), style="bold" if wide.is_best(row) else "")
    cell.append(wide.LIKE_BEST if wide.is_like_best(row) else "")
    return cell.append(f"\n{wide.interval(row)}", style="not bold dim")


def _say(to: Console, lines: Sequence[str]) -> None:
    for line in lines:
        to.print(Text(printable(line)), soft_wrap=not to.is_terminal)
