"""One part of a data folder as a source gives it: questions, and what must be said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from greaves.data.alignment.plan import PlannedItem


@dataclass(frozen=True)
class Part:
    """Questions of one source.

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
