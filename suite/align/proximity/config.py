"""On which axis proximity is measured and under which encoders, who is taken, and who is kept.

Farthest filtering is the paper's first defence, which acts on data and not on the model: whoever
fine-tunes keeps only the benign questions that are farthest from harmful ones. A method says so in
the notes of its defence, alone or as a component of a composition; the stress honours every filter
that it finds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from greaves.align.defence import Defence
from greaves.align.method import MethodConfig

Axis = Literal["semantic", "acoustic", "mixed", "random"]

TF_IDF, OWN = "tf-idf", "own"
"""Encoders that need no download; every other name is a folder or a name on the hub."""

NOTE = "fine_tuning_filter"
"""Field of a defence's notes."""


class ProximityConfig(MethodConfig):
    """What proximity means.

    The encoders of the paper (arXiv 2604.16659) have to be downloaded, as
    `sentence-transformers/all-MiniLM-L6-v2`, `microsoft/wavlm-large` or `openai/whisper-large-v3`;
    the defaults are at hand everywhere. A revision may follow an "@": `owner/name@revision`.

    Attributes:
        axis: "semantic" compares what is said, "acoustic" how it sounds; "mixed" takes both
            distances, each scaled to 0..1 over the benign questions, and their mean (how the paper
            mixes them is unknown); "random" measures nothing.
        semantic_encoder: of the axis "semantic": "tf-idf" on the transcripts, "own" for the
            model's own audio encoder, mean-pooled, or a text encoder.
        acoustic_encoder: of the axis "acoustic": "own", or WavLM or Whisper.
    """

    axis: Axis = "semantic"
    semantic_encoder: str = Field(TF_IDF, pattern=r"\S")
    acoustic_encoder: str = Field(OWN, pattern=r"\S")


class SelectionConfig(ProximityConfig):
    """Which benign questions are taken.

    Attributes:
        side: "closest" to the harmful reference set (the paper's attack), or "farthest" (its first
            defence). Without effect where `axis` is "random", the paper's control.
        fraction: share of the benign questions that are taken (paper: .25, .5, .75).
    """

    side: Literal["closest", "farthest"] = "closest"
    fraction: float = Field(0.25, gt=0, le=1)


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
