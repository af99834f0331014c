"""`review.csv`: the rewrites for a person to look at; two of its columns are read back.

`accept`: anything but "no" keeps the pair. `benign`: may be corrected by hand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from greaves.base.errors import DataError
from greaves.base.store import write_text
from greaves.base.text import quoted, unquoted
from greaves.data.alignment.rewriting import rewrite_fault

REVIEW = "review.csv"

COLUMNS = ("id", "accept", "status", "words_changed", "attempts", "category", "harmful", "benign")


@dataclass(frozen=True)
class Reviewed:
    """What a person said of one pair."""

    accept: bool
    benign: str


class _Item(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def text(self) -> str: ...


class _Rewritten(Protocol):
    @property
    def harmful(self) -> _Item: ...
    @property
    def benign(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def changed(self) -> int | None: ...


def write_review(path: Path, rows: Sequence[_Rewritten]) -> None:
    """Write every pair, the failed and rejected ones included."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            [
                row.harmful.id,
                "no" if row.status == "rejected" else "yes",
                row.status,
                "" if row.changed is None else row.changed,
                row.attempts,
                quoted(row.harmful.category),
                quoted(row.harmful.text),
                quoted(row.benign),
            ]
        )
    write_text(path, file.getvalue())


def read_review(path: Path, harmful: dict[str, str]) -> dict[str, Reviewed]:
    """What a person left in the file; {} if there is none.

    Args:
        path: the file.
        harmful: id -> harmful question, of the plan.

    Raises:
        DataError: it is no such table, names an unknown id, or holds a benign question that is no
            rewrite of the harmful one.
    """
    if not path.is_file():
        return {}
    found: dict[str, Reviewed] = {}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", where=str(path), do="save it as CSV") from None
    for number, row in enumerate(rows, start=2):
        where = f"{path}:{number}"
        name = row.get("id")
        if name not in harmful or row.get("accept") is None or row.get("benign") is None:
            raise DataError(
                "not a row of this review (id, accept, benign)",
                where=where,
                do="restore it, or delete the file to have it written anew",
            )
        benign = unquoted(row["benign"]).strip()
        accept = row["accept"].strip().lower() not in ("no", "n", "false", "0")
        fault = rewrite_fault(harmful[name], benign) if benign and accept else ""
        if fault:
            raise DataError(
                f"the benign question is no rewrite: {fault}",
                where=where,
                do="correct it, or write no under accept",
            )
        found[name] = Reviewed(accept, benign)
    return found
