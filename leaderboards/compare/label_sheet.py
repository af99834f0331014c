"""A sheet of responses for people to label: drawn by seed, blind to method and judge."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from greaves.base.errors import GreavesError
from greaves.base.records import Question, Response
from greaves.base.store import write_json, write_text
from greaves.base.text import quoted, whole

COLUMNS = ("key", "task", "kind", "question", "response", "truncated", "label", "annotator")

LONGEST = 30_000
"""Characters of a text in a cell; spreadsheets hold 32,767."""


def draw(responses: Sequence[Response], n: int, *, seed: int) -> list[Response]:
    """Draw responses to harmful and benign questions, evenly over models, methods and tasks.

    Args:
        responses: of the run, all training seeds of a method together.
        n: how many; all, if there are fewer.
        seed: of the draw and of the order.
    """
    chance = random.Random(seed)
    groups: dict[tuple[str, str, str], list[Response]] = {}
    for response in sorted(responses, key=lambda one: one.key):
        if response.kind != "chat":
            place = response.model, response.method, response.task
            groups.setdefault(place, []).append(response)
    for group in groups.values():
        chance.shuffle(group)
    drawn: list[Response] = []
    of_method: Counter[tuple[str, str]] = Counter()
    of_task: Counter[str] = Counter()
    while len(drawn) < n and groups:
        # Whichever method, and then task, has had least is next; chance decides between equals.
        place = min(
            chance.sample(sorted(groups), len(groups)),
            key=lambda name: (of_method[name[:2]], of_task[name[2]]),
        )
        drawn.append(groups[place].pop())
        of_method[place[:2]] += 1
        of_task[place[2]] += 1
        if not groups[place]:
            del groups[place]
    chance.shuffle(drawn)
    return drawn


def write_sheet(
    path: Path,
    responses: Sequence[Response],
    questions: Mapping[tuple[str, str], Question],
    n: int,
    *,
    seed: int,
) -> int:
    """Write the sheet, and beside it (`.json`) how it was drawn.

    It holds neither method nor verdicts: who labels is not to know them.

    Args:
        questions: (task, id) -> question.
        n: how many responses.

    Returns:
        Number of responses written.

    Raises:
        GreavesError: the file is there already (it may hold labels), or there is nothing to label.
    """
    if path.exists():
        what = "the file is there already, and may hold labels"
        raise GreavesError(what, where=str(path), do="choose another name")
    drawn = draw(responses, n, seed=seed)
    if not drawn:
        raise GreavesError("the run has no responses to harmful or benign questions")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for response in drawn:
        question = questions[response.task, response.question_id].text
        texts = (_cell(question), _cell(response.text))
        cut = "yes" if response.truncated else ""
        writer.writerow((response.key, response.task, response.kind, *texts, cut, "", ""))
    write_text(path, out.getvalue())
    shares = Counter(f"{one.model} / {one.method} / {one.task}" for one in drawn)
    write_json(
        path.with_name(f"{path.name}.json"),
        {"seed": seed, "asked": n, "drawn": len(drawn), "by": dict(sorted(shares.items()))},
    )
    return len(drawn)


def _cell(text: str) -> str:
    """Foreign text that no spreadsheet reads as a formula, and that every file can hold."""
    kept = whole(text).replace("\0", "")
    return quoted(kept if len(kept) <= LONGEST else f"{kept[:LONGEST]} [cut]")
