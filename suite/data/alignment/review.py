"""`review.csv`: the rewrites for a person to look at; two of its columns are read back.

`accept`: anything but "no" keeps the pair. `benign`: may be corrected by hand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greaves.base.errors import DataError
from greaves.base.store import write_text
from greaves.base.text import FORMULA
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.rewriting import rewrite_fault, words_changed

REVIEW = "review.csv"

COLUMNS = ("id", "accept", "status", "words_changed", "attempts", "category", "harmful", "benign")

_FORMULA = (*FORMULA, "'")
"""A cell that begins so gets a "'" in front, also one with a "'" of its own, which comes back."""


@dataclass(frozen=True)
class Reviewed:
    """What a person said of one pair."""

    accept: bool
    benign: str


@dataclass(frozen=True)
class Rewritten:
    """A harmful question and what came of its rewriting.

    Attributes:
        harmful: the question.
        benign: the rewrite; "" where there is none.
        attempts: replies that were looked at.
        status: "ok", "edited" (by a person), "rejected" (by a person) or "failed: ...".
    """

    harmful: PlannedItem
    benign: str
    attempts: int
    status: str

    @property
    def usable(self) -> bool:
        """Whether it goes into the set."""
        return self.status in ("ok", "edited")

    def halves(self) -> tuple[PlannedItem, PlannedItem]:
        """The pair: the benign question has the id of its harmful one but for the kind."""
        name = self.harmful.id.replace("-harmful-", "-benign-")
        benign = {"id": name, "kind": "benign", "text": self.benign}
        return self.harmful, self.harmful.model_copy(update=benign)


def write_review(path: Path, rows: Sequence[Rewritten]) -> None:
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
                words_changed(row.harmful.text, row.benign) if row.benign else "",
                row.attempts,
                _plain(row.harmful.category),
                _plain(row.harmful.text),
                _plain(row.benign),
            ]
        )
    write_text(path, file.getvalue())


def read_review(path: Path, harmful: dict[str, str]) -> dict[str, Reviewed]:
    """What a person left in the file; {} if there is none.

    Args:
        path: the file.
        harmful: id -> harmful question, of the plan.

    Raises:
        DataError: it is not such a table, names an unknown id, or holds a benign question that is
            not a rewrite of the harmful one.
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
        benign = _unplain(row["benign"])
        accept = row["accept"].strip().lower() not in ("no", "n", "false", "0")
        fault = rewrite_fault(harmful[name], benign) if benign and accept else ""
        if fault:
            raise DataError(
                f"the benign question is not a rewrite: {fault}",
                where=where,
                do="correct it, or write no under accept",
            )
        found[name] = Reviewed(accept, benign)
    return found


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _unplain(text: str) -> str:
    return (text[1:] if text.startswith("'") else text).strip()
