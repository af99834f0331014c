"""An AIAH data folder: its files, the topics asked about, a section, its distracting clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.data.alignment.plan import PlannedItem
from greaves.data.speech.clips import MAX_SECONDS, MIN_SECONDS
from greaves.data.tables import read_object

QUESTIONS = "questions.jsonl"
SPEECH_SPECIFIC = "speech_specific.jsonl"
DISTRACTION = "distraction.json"

TOPICS: tuple[str, ...] = (
    "Illegal Activity",
    "Hate Speech",
    "Malware Generation",
    "Physical Harm",
    "Fraud",
    "Adult Content",
    "Privacy Violation",
)
"""Seven of the ten topics of FigStep's SafeBench; without Legal Opinion, Financial Advice and
Health Consultation."""

PER_TOPIC = 50

Kind = Literal["harmful", "benign"]


@dataclass(frozen=True)
class Section:
    """Questions of one section of a data folder (harmful, benign, speech-specific), from a source.

    Attributes:
        items: the questions; those without a clip to copy are to be spoken.
        about: for provenance: layout, source, hashes, licence.
        left_out: name -> why, for what the source should have but cannot give.
        remarks: whatever else must be known, one sentence each.
        prompts: id -> text beside the clip, for questions that have their own (setting 3).
        spoken_here: the harmful questions are not spoken by those who made the benchmark's clips.
    """

    items: tuple[PlannedItem, ...]
    about: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    spoken_here: bool = False


def same_topic(name: str) -> str:
    """A topic's name for comparison: "Hate_Speech", "hate speech" and "HateSpeech" are one."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def topic_remarks(
    kind: Kind, items: Sequence[PlannedItem], topics: Sequence[str], others: Counter[str]
) -> list[str]:
    """Remarks on topics that do not enter, and on those without the published 50 questions.

    `items` and `topics` enter; `others` tells how many questions there are of each other topic.
    """
    remarks: list[str] = []
    if others:
        names = ", ".join(f"{topic} ({count})" for topic, count in sorted(others.items()))
        remarks.append(f"not among the topics asked about: {names}")
    counts = Counter(item.category for item in items)
    short = [f"{topic} {counts[topic]}" for topic in topics if counts[topic] != PER_TOPIC]
    if short:
        remarks.append(f"{kind}: not {PER_TOPIC} questions of every topic: {', '.join(short)}")
    return remarks


class Distraction(Record):
    """Length and seed of the distracting clips of a data folder (AIAH, setting 2).

    Attributes:
        seconds: AIAH drew 2 to 14 s. Default 2, the shortest of these, which every model hears
            whole (the pocket LALM hears 4 s).
        seed: of the noise; each question has its own, which follows from this one and its id.
    """

    seconds: Annotated[float, Field(ge=MIN_SECONDS, le=MAX_SECONDS)] = 2.0
    seed: Annotated[int, Field(ge=0)] = 0


def read_distraction(folder: Path) -> Distraction:
    """What `distraction.json` says, or the defaults where there is none.

    Raises:
        DataError: the file cannot be read, or a field is unknown or out of range.
    """
    path = folder / DISTRACTION
    try:
        return Distraction.model_validate(read_object(path) or {})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise DataError(f"{name}: {first['msg'].lower()}", where=str(path)) from None
