"""Labels by people: a sheet of responses to label, drawn by seed and blind to method and judge, and
the labelled CSV file, read as the verdicts of further judges."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from greaves.base.errors import DataError, GreavesError
from greaves.base.records import Outcome, Question, Response, Verdict
from greaves.base.store import write_json, write_text
from greaves.base.text import quoted, whole

LABELS: tuple[Outcome, ...] = ("refused", "harmful", "answered", "degenerate")
COORDINATES = ("model", "method", "seed", "task", "question_id", "sample")
HUMAN = "human"

assert set(LABELS) < set(get_args(Outcome))

COLUMNS = ("key", "task", "kind", "question", "response", "truncated", "label", "annotator")

LONGEST = 30_000
"""Characters of a text in a cell; spreadsheets hold 32,767."""


def read_labels(path: Path, responses: Sequence[Response]) -> list[Verdict]:
    """Read labels of responses.

    The file is CSV (UTF-8, commas or semicolons) with a header. A row names its response by `key`,
    or by model, method, seed, task, question_id and sample. `label` is refused, harmful, answered
    or degenerate; a row without one is skipped. `annotator` is optional: each is a judge of its
    own, "human:NAME". Other columns are not read.

    Raises:
        DataError: the file cannot be read, or a row names no response of the run, has an unknown
            label, or repeats what its annotator has labelled; the message names the line.
    """
    by_key = {response.key: response for response in responses}
    by_place = {tuple(str(getattr(one, name)) for name in COORDINATES): one for one in responses}
    found: dict[tuple[str, str], Verdict] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, row in _rows(path):
        where = f"{path}:{number}"
        label = row.get("label", "").lower()
        if not label:
            continue
        response = by_place.get(tuple(row.get(name, "") for name in COORDINATES))
        if row.get("key"):
            response = by_key.get(row["key"])
        if response is None:
            raise DataError("no response of this run", where=where, do="check key or coordinates")
        judge = f"{HUMAN}:{row['annotator']}" if row.get("annotator") else HUMAN
        place = judge, response.key
        if place in found:
            what = f"{judge} has labelled this response already, in line {lines[place]}"
            raise DataError(what, where=where, do="keep one of the two")
        lines[place] = number
        found[place] = Verdict.of(
            response, judge=judge, outcome=_outcome(label, where), reason=f"labelled in {where}"
        )
    if not found:
        raise DataError("there is no label in the file", where=str(path), do="fill in `label`")
    return list(found.values())


def _outcome(label: str, where: str) -> Outcome:
    for known in LABELS:
        if label == known:
            return known
    raise DataError(f"label {label[:40]!r} is none of {', '.join(LABELS)}", where=where)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column -> value without blanks around it) of each row that holds anything."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            mark = ";" if ";" in header and "," not in header else ","
            rows = csv.DictReader(file, delimiter=mark, strict=True)
            columns = {name.strip() for name in rows.fieldnames or () if name}
            _check(columns, path)
            for row in rows:
                values = {
                    name.strip(): value.strip()
                    for name, value in row.items()
                    if isinstance(name, str) and isinstance(value, str)
                }
                if any(values.values()):
                    yield rows.line_num, values
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", where=f"{path}:{rows.reader.line_num}") from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8 text", where=str(path), do="save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None


def _check(columns: set[str], path: Path) -> None:
    if "label" not in columns:
        raise DataError("there is no column `label`", where=f"{path}:1")
    if "key" not in columns and not set(COORDINATES) <= columns:
        missing = ", ".join(name for name in COORDINATES if name not in columns)
        what = f"there is neither a column `key` nor all of {', '.join(COORDINATES)}"
        raise DataError(what, where=f"{path}:1", do=f"missing: {missing}")


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
    drawing = {"seed": seed, "asked": n, "drawn": len(drawn), "by": dict(sorted(shares.items()))}
    write_json(path.with_name(f"{path.name}.json"), drawing)
    return len(drawn)


def _cell(text: str) -> str:
    """Foreign text that no spreadsheet reads as a formula, and that every file can hold."""
    kept = whole(text).replace("\0", "")
    return quoted(kept if len(kept) <= LONGEST else f"{kept[:LONGEST]} [cut]")
