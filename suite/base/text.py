"""Text that others wrote (data files, models, submissions) where somebody reads it."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a spreadsheet read a cell as a formula."""


def hint(name: str, known: Sequence[str], *, all_of: str = "known") -> str:
    """What to do about a name that is not known: the nearest one, or all."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{all_of}: {', '.join(known)}"


def printable(text: str) -> str:
    """The text on one line, its control characters (such as terminal escapes) replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def whole(text: str) -> str:
    """The text with halves of surrogate pairs joined, or replaced: no file could hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def quoted(text: str) -> str:
    """Text for a cell of a spreadsheet: an apostrophe before what would be read as a formula.

    Text that begins with an apostrophe gets one more, so that `unquoted` gives back every text.
    """
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text


def unquoted(cell: str) -> str:
    """The text of a cell that `quoted` wrote."""
    return cell.removeprefix("'")


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header line: text `quoted`, lists as JSON, None as nothing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()

    def cell(value: object) -> object:
        if isinstance(value, list | dict):
            return json.dumps(value)
        return quoted(printable(value)) if isinstance(value, str) else value

    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()
