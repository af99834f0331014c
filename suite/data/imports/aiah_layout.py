"""An AIAH data folder: its files, the topics that AIAH asks about, and a section of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from greaves.data.alignment.plan import PlannedItem

QUESTIONS = "questions.jsonl"
SPEECH_SPECIFIC = "speech_specific.jsonl"

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

    Args:
        kind: of the questions.
        items: the questions that enter.
        topics: those that enter.
        others: how many questions there are of each other topic.
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
