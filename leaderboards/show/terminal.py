"""The leaderboard on a terminal: wide tables cut to the width, intervals on a second line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.leaderboards.board.categories import CategoryRow
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.show import wide
from greaves.leaderboards.show.render import NAMES, printable
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
        say(to, wide.foot(sheet))
    shown = list(notes[:_SHOWN_NOTES])
    if len(notes) > len(shown):
        shown.append(f"and {len(notes) - len(shown)} more notes in leaderboard.md")
    say(to, [*shown, wide.legend(rows), *wide.marks(rows), *wide.labels(rows)])


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


def grid(
    names: Iterable[str],
    columns: Iterable[str],
    lines: Iterable[Iterable[str | Text]],
    *,
    title: str = "",
    widths: Mapping[str, int] | None = None,
) -> Table:
    """A table with names at the left and numbers at the right; strings are text, never markup."""
    told = Text(printable(title)) if title else None
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=told, title_justify="left")
    for name in names:
        table.add_column(name, max_width=_NAME if widths else None, overflow="fold")
    for column in columns:
        width = widths[column] if widths else None
        table.add_column(Text(printable(column)), justify="right", width=width, overflow="fold")
    for line in lines:
        cells = (Text(printable(cell)) if isinstance(cell, str) else cell for cell in line)
        table.add_row(*cells)
    return table


def shown(cell: wide.Cell) -> Text:
    """A number above its interval; bold if it leads."""
    text = Text(cell.number, style="bold" if cell.best else "").append(cell.mark)
    return text.append(f"\n{cell.interval}", style="not bold dim") if cell.interval else text


def say(to: Console, lines: Iterable[str]) -> None:
    """Print lines that others may have written."""
    for line in lines:
        to.print(Text(printable(line)), soft_wrap=not to.is_terminal)


def _table(sheet: Sheet, columns: Sequence[Column]) -> Table:
    return grid(
        NAMES,
        [column.title for column in columns],
        ((line.model, line.method, *map(shown, line.cells(columns))) for line in sheet.lines),
        widths={column.title: _width(sheet, column) for column in columns},
    )


def show_categories(rows: Sequence[CategoryRow], to: Console) -> None:
    """One table per judge, model, task and metric: a line per category, a column per method."""
    for place in dict.fromkeys((row.judge, row.model, row.task, row.metric) for row in rows):
        own = [row for row in rows if (row.judge, row.model, row.task, row.metric) == place]
        judge, model, task = map(printable, place[:3])
        title = metric_of(place[3]).title
        to.print(Text(f"{title} by category: {model}, {task}, judge {judge}"), soft_wrap=True)
        methods = list(dict.fromkeys(row.method for row in own))
        lines: list[list[str | Text]] = []
        for category in dict.fromkeys(row.category for row in own):
            cells = {row.method: row for row in own if row.category == category}
            count = max(row.n_questions for row in cells.values())
            numbers = [_category(cells.get(method)) for method in methods]
            lines.append([category, str(count), *numbers])
        to.print(grid(["Category"], ["Questions", *methods], lines))


def _category(row: CategoryRow | None) -> Text:
    if row is None or row.value is None or row.low is None or row.high is None:
        return Text(wide.NOTHING)
    value, low, high = map(metric_of(row.metric).printed, (row.value, row.low, row.high))
    left = f"\n{row.n_unscored} unscored" if row.n_unscored else ""
    return Text(f"{value}\n[{low}, {high}]{left}")
