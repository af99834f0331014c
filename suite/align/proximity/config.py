"""On which axis proximity is measured, and under which encoders."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from greaves.align.method import MethodConfig

Axis = Literal["semantic", "acoustic", "mixed", "random"]

TF_IDF, OWN = "tf-idf", "own"
"""Encoders that need no download; every other name is a folder or a name on the hub."""


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
