"""Mirror's second half: every harmful question gets its benign rewrite, or is left out.

`review.csv` shows the rewrites to a person; two of its columns are read back. `accept`: anything
but "no" keeps the pair. `benign`: may be corrected by hand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.store import write_text
from greaves.base.text import quoted, unquoted, whole
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.rewriting import (
    Rewriter,
    cleaned,
    rewrite_fault,
    words_changed,
    words_of,
)
from greaves.data.alignment.workshop import Attempt, Workshop, each

REVIEW = "review.csv"

COLUMNS = ("id", "accept", "status", "words_changed", "attempts", "category", "harmful", "benign")


Reviewed = tuple[bool, str]
"""What a person said of one pair: whether to keep it, and the benign question."""


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
        own = row.harmful
        accept = "no" if row.status == "rejected" else "yes"
        changed = words_changed(own.text, row.benign) if row.benign else ""
        texts = map(quoted, (own.category, own.text, row.benign))
        writer.writerow([own.id, accept, row.status, changed, row.attempts, *texts])
    write_text(path, file.getvalue())


def read_review(path: Path, harmful: dict[str, str]) -> dict[str, Reviewed]:
    """What a person left in the file; {} if there is none. `harmful`: id -> question of the plan.

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
            do = "restore it, or delete the file to have it written anew"
            raise DataError("not a row of this review (id, accept, benign)", where=where, do=do)
        benign = unquoted(row["benign"]).strip()
        accept = row["accept"].strip().lower() not in ("no", "n", "false", "0")
        fault = rewrite_fault(harmful[name], benign) if benign and accept else ""
        if fault:
            what = f"the benign question is not a rewrite: {fault}"
            raise DataError(what, where=where, do="correct it, or write no under accept")
        found[name] = accept, benign
    return found


LONGEST_REPLY = 2_000
"""Characters of a reply that are kept; no rewrite is near as long."""


def rewrite_all(
    harmful: Sequence[PlannedItem], rewriter: Rewriter, name: str, work: Workshop, steps: Steps
) -> None:
    """Ask for every rewrite that is still to be had; replies from before are not asked for again.

    Each reply is kept in `work` as it comes, under the rewriter's name.
    """
    known = _attempts(work, name)
    all_harmful = {tuple(words_of(item.text)) for item in harmful}

    def ask(item: PlannedItem) -> None:
        tried = list(known.get(item.text, ()))
        while len(tried) < rewriter.attempts and not (tried and not tried[-1].fault):
            reply = cleaned(whole(rewriter.rewrite(item.text, len(tried))))
            fault = rewrite_fault(item.text, reply)
            if not fault and tuple(words_of(reply)) in all_harmful:
                fault = "another harmful question of the set"
            kept, number = reply[:LONGEST_REPLY], len(tried)
            tried.append(
                Attempt(harmful=item.text, rewriter=name, number=number, reply=kept, fault=fault)
            )
            work.keep(tried[-1])

    each("rewriting", harmful, ask, rewriter.parallel, steps)


def outcome(
    harmful: Sequence[PlannedItem], name: str, work: Workshop, reviewed: dict[str, Reviewed]
) -> list[Rewritten]:
    """What came of every question, a person's review included."""
    known = _attempts(work, name)
    return [_one(item, known.get(item.text, []), reviewed.get(item.id)) for item in harmful]


def _one(item: PlannedItem, tried: list[Attempt], review: Reviewed | None) -> Rewritten:
    last = tried[-1] if tried else None
    ours = last.reply if last and not last.fault else ""
    accept, corrected = review or (True, "")
    benign, status = ours, "ok"
    if corrected and corrected != ours:
        benign, status = corrected, "edited"
    if not benign:
        status = f"failed: {last.fault}" if last else "failed: not asked"
    if not accept:
        status = "rejected"
    return Rewritten(item, benign, len(tried), status)


def _attempts(work: Workshop, name: str) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in work.attempts.records:
        if attempt.rewriter == name:
            found.setdefault(attempt.harmful, []).append(attempt)
    return found
