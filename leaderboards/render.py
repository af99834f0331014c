"""The leaderboard as Markdown, CSV and JSON: same rows, same numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from greaves.leaderboards import wide
from greaves.leaderboards.table import Row

_DECIMALS = 4
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
        title: heading of the page.
        notes: lines a reader must be told (see `greaves.leaderboards.notes`).
        hashes: what was run -> its hash.
    """
    parts = [f"# {escaped(title)}", *map(escaped, wide.labels(rows)), escaped(wide.LEGEND)]
    for sheet in wide.sheets(rows):
        parts += [_table(sheet), _bullets(wide.foot(sheet))]
    if notes:
        parts += ["## Notes", _bullets(notes)]
    if hashes:
        run = [f"{name}: {value}" for name, value in hashes.items()]
        parts += ["## What was run", _bullets(run)]
    return "\n\n".join(parts) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header line; seeds and per-seed values as JSON, no value as ""."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(Row.model_fields), lineterminator="\n")
    writer.writeheader()
    for plain in as_plain(rows):
        nested = {name: json.dumps(plain[name]) for name in ("seeds", "per_seed")}
        writer.writerow(plain | nested)
    return out.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of objects; no NaN, floats rounded to 4 decimals."""
    return json.dumps(as_plain(rows), indent=1, allow_nan=False) + "\n"


def as_plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values with floats rounded to 4 decimals."""
    return [{name: _rounded(value) for name, value in row.model_dump().items()} for row in rows]


def printable(text: str) -> str:
    """Foreign text on one line, its control characters (such as terminal escapes) replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def escaped(text: str) -> str:
    """Foreign text as Markdown shows it literally, in a table cell too."""
    literal = _SPECIAL.sub(r"\\\1", printable(text))
    return literal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(sheet: wide.Sheet) -> str:
    head = ["Model", "Method", *(escaped(column.title) for column in sheet.columns)]
    body = [
        [
            escaped(line.model),
            escaped(line.method),
            *(_cell(line.rows.get(column)) for column in sheet.columns),
        ]
        for line in sheet.lines
    ]
    ruler = ["---", "---", *("---:" for _ in sheet.columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ruler, *body))


def _cell(row: Row | None) -> str:
    return wide.NOTHING if row is None else f"{wide.number(row)} {wide.interval(row)}".strip()


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS) + 0.0  # -0.0 + 0.0 is 0.0
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value
