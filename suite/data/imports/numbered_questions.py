"""Questions in words, and clips, by topic and number: `Malware_Generation_12.wav`.

So the clips of the hub copy of AIAH are called (`garak-llm/audio_achilles_heel`), and those of
SARSteer's `figstep_audio` and `figstep_audio_safe` (`question/*.wav` and `audio_files.txt`). That
the authors' folder, which is given out on request, calls them so too is likely and not known: its
inner folders do not matter here, and another way of naming is refused, not guessed at.

The hub copy's column `audio` is a struct of `bytes` and `path`; that is how garak and PyRIT read
it, which know of no column with the questions in words. Its bytes are written as they are.

FigStep's `SafeBench.csv` has the columns `dataset, category_id, task_id, category_name, question,
instruction`; a question's number is its `task_id`, which counts within its topic. A list of clips
(SARSteer's `audio_files.txt`, or its JSON splits) names a file, `Fraud_12.wav`, and its question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.base.store import write_bytes
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.workshop import SUFFIXES
from greaves.data.imports.aiah_layout import Kind, Section, same_topic, topic_remarks
from greaves.data.tables import (
    Rows,
    file_hash,
    label_field,
    parquet_rows,
    read_list,
    read_table,
    read_text,
)
from greaves.data.task import field, inside

HUB = "hub:"
"""What the name of a dataset on the hub begins with, to tell it from a folder."""

COLUMN = "audio"


def hub_folder(source: str, into: Path) -> tuple[Path, dict[str, Any]]:
    """Folder of a hub copy, fetched if it is named `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`.

    What is in `into` already is not fetched again.

    Returns:
        The folder, and what provenance says of it.

    Raises:
        DataError: the hub is out of reach, or has no such dataset.
    """
    if not source.startswith(HUB):
        return Path(source), {"source": Path(source).resolve().name}
    from huggingface_hub import HfApi, snapshot_download

    name, _, revision = source.removeprefix(HUB).partition("@")
    try:
        commit = HfApi().dataset_info(name, revision=revision or None).sha
        snapshot_download(name, repo_type="dataset", revision=commit, local_dir=into)
    except Exception as error:  # network, authorisation, name, revision: all the user's to check
        what = f"the dataset cannot be fetched ({type(error).__name__})"
        do = "check the name, or fetch it elsewhere and give the folder"
        raise DataError(what, where=source, do=do) from None
    return into, {"source": name, "revision": commit}


def clips_of(folder: Path, into: Path) -> Path:
    """Folder with the clips as files: `folder`, or `into` if they lie in Parquet files.

    Raises:
        DataError: a file is not Parquet, or has no column `audio` of bytes and names.
    """
    tables = sorted(folder.rglob("*.parquet"))
    for number, table in enumerate(tables):
        empty = True
        for row in parquet_rows(table):
            empty = False
            if COLUMN not in row:
                what = f"column {COLUMN!r} is missing"
                raise DataError(what, where=str(table), do=f"there are: {', '.join(row)}")
            # A folder of its own each, so that two clips of one name are noticed.
            _write_clip(row[COLUMN], table, into / f"{number:03d}")
        if empty:
            raise DataError("there are no rows", where=str(table))
    return into if tables else folder


def _write_clip(sound: Any, table: Path, into: Path) -> None:
    data, path = (sound.get("bytes"), sound.get("path")) if isinstance(sound, dict) else (0, 0)
    if not isinstance(path, str) or not isinstance(data, bytes | None):
        raise DataError(f"column {COLUMN!r} does not hold bytes and path", where=str(table))
    name = Path(path).name  # never a folder of the dataset's choosing
    if not name:
        raise DataError(f"{path[:80]!r} cannot be the name of a clip", where=str(table))
    target = into / name
    if target.exists() and target.read_bytes() != (data or b""):
        target = into / "again" / name  # two clips of one name: `find_clips` says so
    write_bytes(target, data or b"")


LIST = "audio_files.txt"


NamedClips = dict[tuple[str, int], tuple["Place", Path]]
"""Place's key -> what a clip's name says, and the clip."""


def find_clips(folder: Path) -> tuple[NamedClips, list[str]]:
    """Clips of a folder and its sub-folders, and names of sound files that are called otherwise.

    Raises:
        DataError: there is no such folder, it has no clip, two have one name, or one is a link that
            leaves the folder (the hub's own cache, which is made of links, excepted).
    """
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder))
    snapshot = next(
        (one for one in (folder, *folder.parents) if one.parent.name == "snapshots"), None
    )
    root = snapshot.parent.parent if snapshot else folder
    found: NamedClips = {}
    others: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        place = place_of(path.stem)
        name = path.relative_to(folder).as_posix()
        if place is None:
            others.append(name)
            continue
        if place.key in found:
            what = f"two clips are called {place.name}: one of them is {name}"
            do = "name the folder of the right ones with --clips"
            raise DataError(what, where=str(folder), do=do)
        found[place.key] = place, inside(root, str(path.relative_to(root)), str(folder))
    if not found:
        what = f"no clip is called by topic and number, such as Fraud_12.wav ({len(others)} others)"
        raise DataError(what, where=str(folder))
    return found, others


def numbered_section(
    kind: Kind,
    clips: NamedClips | None,
    texts: Texts,
    topics: Sequence[str],
    about: dict[str, Any],
    remarks: Sequence[str],
    *,
    spoken_here: bool,
) -> Section:
    """Questions of some topics with their clips, or all to be spoken where `clips` is None.

    A clip without a question, and a question without a clip, is left out by name.

    Args:
        kind: of all of them; benign ones get ids that begin with "safe-".
        clips, texts: what was found, and what the clips say.
        topics: those that enter, in this order; names of others become a remark.
        about, remarks, spoken_here: see `Section`.
    """
    words = {place.key: text for place, text in texts.questions}
    places = {place.key: place for place, _ in texts.questions}
    places |= {key: place for key, (place, _) in (clips or {}).items()}
    order = {same_topic(topic): (number, topic) for number, topic in enumerate(topics)}
    wanted = sorted((key for key in places if key[0] in order), key=lambda k: (order[k[0]][0], k))
    items: list[PlannedItem] = []
    left_out: dict[str, str] = {}
    for key in wanted:
        topic = order[key[0]][1]
        name = ("" if kind == "harmful" else "safe-") + Place(topic, key[1]).name
        if clips is not None and key not in clips:
            left_out[name] = "there is no clip of it"
        elif key not in words:
            left_out[name] = "its question is not in the list of questions"
        else:
            clip = str(clips[key][1]) if clips is not None else ""
            items.append(
                PlannedItem(id=name, kind=kind, category=topic, text=words[key], clip_from=clip)
            )
    others = Counter(place.topic for key, place in places.items() if key[0] not in order)
    said = (*remarks, *topic_remarks(kind, items, topics, others))
    return Section(tuple(items), about, left_out, said, spoken_here=spoken_here)


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
            do = f"SafeBench has {', '.join(SAFEBENCH_COLUMNS)}"
            raise DataError(f"column {missing[0]!r} is missing", where=str(path), do=do)
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
