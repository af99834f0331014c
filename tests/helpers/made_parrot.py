"""A model that repeats what it is asked, and keeps a record of how it was asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError
from greaves.models.contract import LALM, Generated


class Parrot(LALM):
    """Says "<text>/<seed>"; clips longer than a second are beyond it.

    Attributes:
        batches: [batch] the conversations that came together, and their seeds.
        heard: clips that lay there while it answered.
        gate: it waits for it before it answers.
    """

    name, revision, fingerprint = "parrot", "1", "feathers"

    def __init__(self) -> None:
        self.batches: list[list[tuple[Conversation, tuple[int, ...]]]] = []
        self.heard: list[Path] = []
        self.gate = threading.Event()
        self.gate.set()

    def render(self, conversation: Conversation) -> str:
        return str(conversation.text)

    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Generated]]:
        pairs = zip(conversations, seeds, strict=True)
        self.batches.append([(turn, tuple(own)) for turn, own in pairs])
        self.gate.wait(10)
        for turn in conversations:
            if turn.text == "explode":
                raise RuntimeError("out of\nfeathers")
            if turn.clip is not None:
                clip = Path(turn.clip)
                self.heard.append(clip)
                if clip.stat().st_size > 40_000:
                    raise DataError("the clip lasts too long", where=turn.clip, do="cut it")
        return [
            [Generated(f"{turn.text}/{seed}", sampling.max_new_tokens == 1) for seed in own]
            for turn, own in zip(conversations, seeds, strict=True)
        ]
