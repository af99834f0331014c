"""Folders of clips that are called by topic and number: `Malware_Generation_12.wav`.

So the clips of the hub copy of AIAH are called (`garak-llm/audio_achilles_heel`), and those of
SARSteer's `figstep_audio` and `figstep_audio_safe` (`question/*.wav` and `audio_files.txt`). That
the authors' folder, which is given out on request, calls them so too is likely and not known: its
inner folders do not matter here, and another way of naming is refused, not guessed at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.speaking import SUFFIXES
from greaves.data.imports.aiah_layout import PER_TOPIC, same_topic
from greaves.data.imports.part import Part
from greaves.data.imports.question_texts import Place, Texts, place_of
from greaves.data.task import inside

LIST = "audio_files.txt"


@dataclass(frozen=True)
class NamedClip:
    """A clip and what its name says."""

    place: Place
    path: Path


def find_clips(folder: Path) -> tuple[list[NamedClip], list[str]]:
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
    found: dict[tuple[str, int], NamedClip] = {}
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
            raise DataError(
                f"two clips are called {place.name}: one of them is {name}",
                where=str(folder),
                do="name the folder of the right ones with --clips",
            )
        found[place.key] = NamedClip(place, inside(root, str(path.relative_to(root)), str(folder)))
    if not found:
        raise DataError(
            f"no clip is called by topic and number, such as Fraud_12.wav ({len(others)} others)",
            where=str(folder),
        )
    return list(found.values()), others


def named_part(
    kind: Literal["harmful", "benign"],
    clips: Sequence[NamedClip],
    texts: Texts,
    topics: Sequence[str],
    about: dict[str, Any],
    *,
    remarks: Sequence[str] = (),
    spoken_here: bool = False,
) -> Part:
    """Clips and their questions, of some topics.

    A clip without a question, and a question without a clip, is left out by name.

    Args:
        kind: of all of them; benign ones get ids that begin with "safe-".
        clips: what was found.
        texts: what they say.
        topics: those that enter, in this order; names of others become a remark.
        about: see `Part`.
        remarks: see `Part`.
        spoken_here: see `Part`.
    """
    by_key = {clip.place.key: clip for clip in clips}
    words = texts.by_key()
    places = {place.key: place for place, _ in texts.questions}
    places |= {key: clip.place for key, clip in by_key.items()}
    order = {same_topic(topic): (number, topic) for number, topic in enumerate(topics)}
    wanted = sorted((key for key in places if key[0] in order), key=lambda k: (order[k[0]][0], k))
    items: list[PlannedItem] = []
    left_out: dict[str, str] = {}
    for key in wanted:
        topic = order[key[0]][1]
        name = ("" if kind == "harmful" else "safe-") + Place(topic, key[1]).name
        if key not in by_key:
            left_out[name] = "there is no clip of it"
        elif key not in words:
            left_out[name] = "its question is not in the list of questions"
        else:
            items.append(
                PlannedItem(
                    id=name,
                    kind=kind,
                    category=topic,
                    text=words[key],
                    clip_from=str(by_key[key].path),
                )
            )
    others = Counter(place.topic for key, place in places.items() if key[0] not in order)
    return Part(
        items=tuple(items),
        about=about,
        left_out=left_out,
        remarks=(*remarks, *other_topics(others), *uneven(kind, items, topics)),
        spoken_here=spoken_here,
    )


def other_topics(others: Counter[str]) -> list[str]:
    """A remark on topics that do not enter."""
    if not others:
        return []
    names = ", ".join(f"{topic} ({count})" for topic, count in sorted(others.items()))
    return [f"not among the topics asked about: {names}"]


def uneven(kind: str, items: Sequence[PlannedItem], topics: Sequence[str]) -> list[str]:
    """A remark on topics that do not have the published 50 questions."""
    counts = Counter(item.category for item in items)
    short = [f"{topic} {counts[topic]}" for topic in topics if counts[topic] != PER_TOPIC]
    return (
        [f"{kind}: not {PER_TOPIC} questions of every topic: {', '.join(short)}"] if short else []
    )
