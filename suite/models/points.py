"""Points: where a part acts on a model, and what it changes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from greaves.base.conversation import Conversation

Point = Literal["clip", "features", "conversation", "layers", "adapters", "answer"]

OUTSIDE: frozenset[Point] = frozenset({"clip", "conversation", "answer"})
"""What every model offers, also behind a server."""

INSIDE: frozenset[Point] = frozenset({"features", "layers", "adapters"})
"""What a model offers whose weights are at hand."""

Wave = NDArray[np.float32]

RATE = 16_000
"""Hz. What parts get of a clip, and what Whisper-style audio towers hear."""

ClipChange = Callable[[Wave, int, int], Wave]
"""(samples [samples], rate in Hz, a seed that belongs to the clip) -> samples of any length."""

ConversationChange = Callable[[Conversation], Conversation]

AskAgain = Callable[[Conversation], str]
"""Asks the model once more; every call of one answer draws under a seed of its own."""

AnswerChange = Callable[[Conversation, str, AskAgain], str]
"""(turn as the user put it, draft, ask again) -> final text."""

TensorChange = Callable[[Tensor], Tensor]
"""Gives a tensor of the same shape; every row is changed independently of the others."""


@dataclass(frozen=True)
class Inside:
    """What a part changes inside a model.

    Attributes:
        adapter: folder of a LoRA adapter in peft's format; None for none.
        merged: add the adapter to the weights instead of running it beside them.
        features: changes what the audio tower gets of one clip, [1, ...] as the family shapes it.
        layers: decoder layer, counted from 1 -> change of its output at every position that is
            generated from (the last prompt position and all response tokens), [rows, hidden_size].
            The change is for good: what later tokens attend to is changed too.
    """

    adapter: Path | None = None
    merged: bool = False
    features: TensorChange | None = None
    layers: Mapping[int, TensorChange] = field(default_factory=dict)
