"""A part that acts on clips: a low-pass filter, which servers and local models hear alike.

Run it: python examples/clip_transform.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy.signal import butter, sosfiltfilt

from greaves.align.defence import Defence
from greaves.align.part import Part
from greaves.base.conversation import Conversation, Sampling
from greaves.base.records import content_hash
from greaves.data.folders import EMBEDDED
from greaves.models.contract import MODELS
from greaves.models.points import Point, Wave


@dataclass(frozen=True)
class LowPass(Part):
    """Takes what is above `cutoff` Hz out of every clip (Butterworth, no phase shift)."""

    kind = "example-low-pass"
    points = frozenset[Point]({"clip"})
    cutoff: float = 1000.0

    def clip(self, wave: Wave, rate: int, seed: int) -> Wave:
        filtered = sosfiltfilt(butter(4, self.cutoff, fs=rate, output="sos"), wave)
        return np.asarray(filtered, np.float32)

    def content_hash(self) -> str:
        return content_hash({"low-pass": self.cutoff})

    def save(self, folder: Path) -> None:
        (folder / "filter.json").write_text(json.dumps({"cutoff": self.cutoff}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(float(json.loads((folder / "filter.json").read_text())["cutoff"]))


if __name__ == "__main__":
    model = MODELS.get("pocket")()
    clip = next(iter(sorted((EMBEDDED / "aiah" / "clips").glob("*.ogg"))))
    turn = Conversation("Answer the question in the audio.", str(clip))
    greedy = Sampling(temperature=0, max_new_tokens=24)
    print("as it is:", model.respond([turn], greedy, [[0]])[0][0].text)
    with Defence((LowPass(),)).attached(model) as defended:
        print("low-passed:", defended.respond([turn], greedy, [[0]])[0][0].text)
