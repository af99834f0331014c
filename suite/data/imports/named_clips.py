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
from typing import Any

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.speaking import SUFFIXES
from greaves.data.imports.aiah_layout import Kind, Section, same_topic, topic_remarks
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


def named_section(
    kind: Kind,
    clips: Sequence[NamedClip],
    texts: Texts,
    topics: Sequence[str],
    about: dict[str, Any],
    *,
    remarks: Sequence[str] = (),
    spoken_here: bool = False,
) -> Section:
    """Clips and their questions, of some topics.

    A clip without a question, and a question without a clip, is left out by name.

    Args:
        kind: of all of them; benign ones get ids that begin with "safe-".
        clips: what was found.
        texts: what they say.
        topics: those that enter, in this order; names of others become a remark.
        about, remarks, spoken_here: see `Section`.
    """
    by_key = {clip.place.key: clip for clip in clips}
    words = {place.key: text for place, text in texts.questions}
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
            clip = str(by_key[key].path)
            items.append(
                PlannedItem(id=name, kind=kind, category=topic, text=words[key], clip_from=clip)
            )
    others = Counter(place.topic for key, place in places.items() if key[0] not in order)
    return Section(
        items=tuple(items),
        about=about,
        left_out=left_out,
        remarks=(*remarks, *topic_remarks(kind, items, topics, others)),
        spoken_here=spoken_here,
    )
