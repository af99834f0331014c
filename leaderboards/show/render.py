"""The leaderboard as Markdown, CSV and JSON: same rows, same numbers (LaTeX: `latex`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from greaves.base.store import write_text
from greaves.base.text import csv_text
from greaves.base.text import printable as printable
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import AgainstBest
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.show import wide

NAMES = ("Model", "Method")

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def markdown(
    rows: Sequence[Row],
    *,
    title: str = "Leaderboard",
    notes: Sequence[str] = (),
    hashes: Mapping[str, str] | None = None,
) -> str:
    """A Markdown page: the wide table, what it rests on, notes, and what was run.

    Args:
        notes: lines a reader must be told (see `greaves.leaderboards.board.notes`).
        hashes: what was run -> its hash.
    """
    parts = [f"# {escaped(title)}", *map(escaped, wide.labels(rows)), escaped(wide.legend(rows))]
    parts += [escaped(line) for line in wide.marks(rows)]
    for sheet in wide.sheets(rows):
        columns = [*wide.before_and_after(sheet), wide.text_tasks(sheet)]
        parts += [_table(sheet, part) for part in columns if part]
        parts += [_bullets(wide.foot(sheet)), *_further(sheet)]
    if notes:
        parts += ["## Notes", _bullets(notes)]
    if hashes:
        run = [f"{name}: {value}" for name, value in hashes.items()]
        parts += ["## What was run", _bullets(run)]
    return "\n\n".join(parts) + "\n"


def write(folder: Path, page: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write leaderboard.md (the page), .csv and .json (the rows of `as_plain`)."""
    for kind, text in (("md", page), ("csv", as_csv(rows)), ("json", as_json(rows))):
        write_text(folder / f"leaderboard.{kind}", text)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `as_plain` as CSV with a header line; lists as JSON, no value as "".

    Names that a spreadsheet would take for a formula get an apostrophe in front.
    """
    return csv_text(rows, list(rows[0] if rows else Row.model_fields))


def tests_as_csv(tests: Sequence[AgainstBest]) -> str:
    """Every method against the best of its column, as CSV with a header line."""
    return csv_text([rounded(test.model_dump()) for test in tests], list(AgainstBest.model_fields))


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `as_plain` as a JSON list of objects; no NaN."""
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def as_plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values with floats rounded to 4 decimals."""
    return [{name: rounded(value) for name, value in row.model_dump().items()} for row in rows]


def escaped(text: str) -> str:
    """Foreign text as Markdown shows it literally, in a table cell too."""
    literal = _SPECIAL.sub(r"\\\1", printable(text))
    return literal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(names: Sequence[str], columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a line has strings under `names`, then cells, which are not escaped if they
    are strings."""
    ruler = [*("---" for _ in names), *("---:" for _ in columns)]
    body = [[*map(escaped, line[: len(names)]), *map(_cell, line[len(names) :])] for line in lines]
    every = [[*names, *map(escaped, columns)], ruler, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)


def _table(sheet: wide.Sheet, columns: Sequence[wide.Column]) -> str:
    lines = [
        (line.model, line.method, *line.cells(columns)) for line in sheet.lines if line.has(columns)
    ]
    return table(NAMES, [column.title for column in columns], lines)


def _further(sheet: wide.Sheet) -> list[str]:
    """A second table: the ranks that the tests leave open, and ASR-any; [] if there is neither."""
    asr = [column for column in sheet.columns if metric_of(column.metric).any_response]
    columns = [column for column in sheet.columns if metric_of(column.metric).sums_up]
    titles = [
        *(f"Rank by {column.title}" for column in columns),
        *(column.title.replace("ASR", "ASR-any") for column in asr),
    ]
    lines = [
        (
            *(line.model, line.method),
            *(wide.rank(line.rows.get(column)) for column in columns),
            *(wide.any_rate(line.rows.get(column)) for column in asr),
        )
        for line in sheet.lines
        if line.has((*columns, *asr))
    ]
    return [escaped(wide.FURTHER), table(NAMES, titles, lines)] if titles else []


def _cell(cell: wide.Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    number = f"**{cell.number}**" if cell.best else cell.number
    interval = cell.interval.replace("~", r"\~")  # two of them would strike out what is between
    return f"{number}{cell.mark} {interval}".strip()


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def rounded(value: Any, decimals: int = 4) -> Any:
    """Plain data with every float rounded."""
    if isinstance(value, float):
        return round(value, decimals) + 0.0  # -0.0 + 0.0 is 0.0
    if isinstance(value, Mapping):
        return {name: rounded(each, decimals) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, decimals) for each in value]
    return value
