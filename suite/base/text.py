"""Text that others wrote (data files, models, submissions) where somebody reads it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes a cell for a formula by."""


def printable(text: str) -> str:
    """The text on one line, its control characters (such as terminal escapes) replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def whole(text: str) -> str:
    """The text with halves of surrogate pairs joined, or replaced: no file could hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def csv_cell(value: object) -> object:
    """A value for a CSV file; text is printable, and no spreadsheet takes it for a formula."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header line: text as `csv_cell`, lists as JSON, None as nothing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {
            name: json.dumps(value) if isinstance(value, list | dict) else csv_cell(value)
            for name, value in row.items()
        }
        writer.writerow(plain)
    return out.getvalue()
