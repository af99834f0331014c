"""Questions in words, by topic and number: FigStep's SafeBench, and lists of clips.

FigStep's `SafeBench.csv` has the columns `dataset, category_id, task_id, category_name, question,
instruction`; a question's number is its `task_id`, which counts within its topic. A list of clips
(SARSteer's `audio_files.txt`, or its JSON splits) names a file, `Fraud_12.wav`, and its question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from greaves.base.errors import DataError
from greaves.data.imports.aiah_layout import same_topic
from greaves.data.tables import Rows, file_hash, label_field, read_list, read_table, read_text
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
    """Questions of some files.

    Attributes:
        questions: in the files' order, each with where it stands.
        files: name -> SHA-256 of the file.
    """

    questions: tuple[tuple[Place, str], ...]
    files: dict[str, str]


def place_of(stem: str) -> Place | None:
    """Topic and number in the name of a clip without its suffix; None for any other name."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    return Place(re.sub(r"[_ -]", " ", match["topic"]), int(match["number"]))


def read_texts(*paths: Path) -> Texts:
    """Questions from SafeBench (CSV or Parquet), `audio_files.txt`, or JSON lists of clips.

    Raises:
        DataError: a file cannot be read, has other columns or fields, or names a place twice.
    """
    questions: list[tuple[Place, str]] = []
    for path in paths:
        found = _read(path)
        if not found:
            raise DataError("there are no questions", where=str(path))
        seen: set[tuple[str, int]] = set()
        for place, _ in found:
            if place.key in seen:
                raise DataError(f"{place.name} occurs twice", where=str(path))
            seen.add(place.key)
        questions += found
    return Texts(tuple(questions), {path.name: file_hash(path) for path in paths})


def _read(path: Path) -> list[tuple[Place, str]]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".parquet"):
        return _safebench(read_table(path), path)
    if suffix == ".json":
        return [
            _listed(field(row, "audio_file", where), field(row, "question", where), where)
            for where, row in read_list(path)
        ]
    if suffix != ".txt":
        raise DataError(
            "questions are read from SafeBench's .csv or .parquet, or from a list of clips (.txt "
            "or .json)",
            where=str(path),
        )
    found: list[tuple[Place, str]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        name, _, question = line.strip().partition(" ")
        if name:
            # The list writes blanks as hyphens, so real ones are lost.
            found.append(_listed(name, question.replace("-", " "), f"{path}:{number}"))
    return found


def _safebench(rows: Rows, path: Path) -> list[tuple[Place, str]]:
    found: list[tuple[Place, str]] = []
    for where, row in rows:
        missing = [name for name in SAFEBENCH_COLUMNS if name not in row]
        if missing:
            raise DataError(
                f"column {missing[0]!r} is missing",
                where=str(path),
                do=f"SafeBench has {', '.join(SAFEBENCH_COLUMNS)}",
            )
        number = label_field(row, "task_id", where)
        if not re.fullmatch(r"[0-9]{1,6}", number):
            raise DataError(f"task_id {number[:20]!r} is not a number", where=where)
        topic = " ".join(field(row, "category_name", where).split())
        if not re.fullmatch(r"[A-Za-z]+(?: [A-Za-z]+)*", topic):
            raise DataError(f"category_name {topic[:40]!r} is not a topic", where=where)
        question = " ".join(field(row, "question", where).split())
        found.append((Place(topic, int(number)), question))
    return found


def _listed(name: str, question: str, where: str) -> tuple[Place, str]:
    place = place_of(Path(name).stem)
    if place is None:
        raise DataError(f"{name[:80]!r} is not named like Fraud_12.wav", where=where)
    text = " ".join(question.split())
    if not text:
        raise DataError(f"{name} has no question", where=where)
    return place, text
