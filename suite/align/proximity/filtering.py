"""Farthest filtering: the paper's first defence, which acts on data and not on the model.

Whoever fine-tunes keeps only the benign questions that are farthest from harmful ones. A method
says so in the notes of its defence, alone or as a component of a composition; the stress honours
every filter that it finds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.proximity.config import ProximityConfig

NOTE = "fine_tuning_filter"
"""Field of a defence's notes."""


class FarthestFilter(ProximityConfig):
    """Keeps the share of the benign questions that is farthest from the harmful reference set.

    Attributes:
        keep: that share. 0.25 makes a fine-tuning on 25 % the paper's "farthest 25 %".
    """

    keep: float = Field(0.25, gt=0, le=1)

    def note(self) -> dict[str, Any]:
        """As it stands in a defence's notes."""
        return {NOTE: self.model_dump(mode="json", include=set(FarthestFilter.model_fields))}


def filters_of(defence: Defence) -> list[FarthestFilter]:
    """The filters that a defence asks for, in order."""
    return [FarthestFilter.model_validate(found) for found in _found(defence.notes or {})]


def _found(notes: dict[str, Any]) -> Iterator[Any]:
    for name, value in notes.items():
        if name == NOTE:
            yield value
        elif isinstance(value, dict):
            yield from _found(value)
