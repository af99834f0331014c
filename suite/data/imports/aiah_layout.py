"""Names of the files in an AIAH data folder, and the topics that AIAH asks about."""

from __future__ import annotations

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


def same_topic(name: str) -> str:
    """A topic's name for comparison: "Hate_Speech", "hate speech" and "HateSpeech" are one."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
