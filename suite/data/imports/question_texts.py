"""Questions in words, by topic and number: FigStep's SafeBench, and lists of clips.

FigStep's `SafeBench.csv` has the columns `dataset, category_id, task_id, category_name, question,
instruction`; a question's number is its `task_id`, which counts within its topic. A list of clips
(SARSteer's `audio_files.txt`, or its JSON splits) names a file, `Fraud_12.wav`, and its question.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.imports.aiah_layout import same_topic
from greaves.data.task import field

SAFEBENCH_COLUMNS = (
    *("dataset", "category_id", "task_id", "category_name"),
    *("question", "instruction"),
)

_NAME = re.compile(r"(?P<topic>[A-Za-z]+(?:[_ -][A-Za-z]+)*)[_ -](?P<number>[0-9]{1,6})")


@dataclass(frozen=True)
class Place:
    """Where a question stands: its topic and its number within the topic, from 1."""

    topic: str
    number: int

    @property
    def key(self) -> tuple[str, int]:
        """The same for all spellings of the topic."""
        return same_topic(self.topic), self.number

    @property
    def name(self) -> str:
        """As the clips are called, e.g. "Malware_Generation_12"."""
        return f"{self.topic.replace(' ', '_')}_{self.number}"


@dataclass(frozen=True)
class Texts:
    """The questions of one file.

    Attributes:
        questions: in the file's order, each with where it stands.
        sha256: of the file.
    """

    questions: tuple[tuple[Place, str], ...]
    sha256: str

    def by_key(self) -> dict[tuple[str, int], str]:
        """Key of the place -> question."""
        return {place.key: text for place, text in self.questions}


def place_of(stem: str) -> Place | None:
    """Topic and number in the name of a clip without its suffix; None for any other name."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    topic = re.sub(r"[_ -]", " ", match["topic"])
    return Place(topic, int(match["number"]))


def read_texts(path: Path) -> Texts:
    """Questions from SafeBench's CSV, from `audio_files.txt`, or from a JSON list of clips.

    Raises:
        DataError: the file cannot be read, has other columns or fields, or names a place twice.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None
    readers = {".csv": _safebench, ".txt": _lines, ".json": _json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            "questions are read from SafeBench's .csv, or from a list of clips (.txt or .json)",
            where=str(path),
        )
    found = reader(text, path)
    if not found:
        raise DataError("there are no questions", where=str(path))
    seen: dict[tuple[str, int], str] = {}
    for place, _ in found:
        if place.key in seen:
            raise DataError(f"{place.name} occurs twice", where=str(path))
        seen[place.key] = place.name
    return Texts(tuple(found), hashlib.sha256(data).hexdigest())


def _safebench(text: str, path: Path) -> list[tuple[Place, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found: list[tuple[Place, str]] = []
    try:
        missing = [name for name in SAFEBENCH_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"column {missing[0]!r} is missing",
                where=str(path),
                do=f"SafeBench has {', '.join(SAFEBENCH_COLUMNS)}",
            )
        for row in reader:
            where = f"{path}:{reader.line_num}"
            number = field(row, "task_id", where)
            if not re.fullmatch(r"[0-9]{1,6}", number):
                raise DataError(f"task_id {number[:20]!r} is no number", where=where)
            topic = " ".join(field(row, "category_name", where).split())
            if not re.fullmatch(r"[A-Za-z]+(?: [A-Za-z]+)*", topic):
                raise DataError(f"category_name {topic[:40]!r} is no topic", where=where)
            question = " ".join(field(row, "question", where).split())
            found.append((Place(topic, int(number)), question))
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", where=f"{path}:{reader.line_num}") from None
    return found


def _lines(text: str, path: Path) -> list[tuple[Place, str]]:
    """`Fraud_12.wav How-can-I-...?`: the list writes blanks as hyphens, so real ones are lost."""
    found: list[tuple[Place, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, _, question = line.strip().partition(" ")
        found.append(_listed(name, question.replace("-", " "), f"{path}:{number}"))
    return found


def _json(text: str, path: Path) -> list[tuple[Place, str]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})", where=str(path)) from None
    if not isinstance(rows, list):
        raise DataError("not a JSON list", where=str(path))
    found: list[tuple[Place, str]] = []
    for number, row in enumerate(rows):
        where = f"{path}: item {number}"
        if not isinstance(row, dict):
            raise DataError("not a JSON object", where=where)
        found.append(_listed(field(row, "audio_file", where), _question(row, where), where))
    return found


def _question(row: dict[str, Any], where: str) -> str:
    return field(row, "question", where)


def _listed(name: str, question: str, where: str) -> tuple[Place, str]:
    place = place_of(Path(name).stem)
    if place is None:
        raise DataError(f"{name[:80]!r} is not named like Fraud_12.wav", where=where)
    text = " ".join(question.split())
    if not text:
        raise DataError(f"{name} has no question", where=where)
    return place, text
