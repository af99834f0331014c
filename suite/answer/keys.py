"""What makes a response the same response: its key.

A key changes whenever anything changes that could change the text, so a resumed run never asks
twice and a changed run never reuses a stale line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from greaves.base.conversation import Conversation, Sampling, conversation_of
from greaves.base.records import Question, content_hash
from greaves.data.speech.clips import clip_hash
from greaves.models.contract import LALM


@dataclass(frozen=True)
class Speaker:
    """Who answers: a model under a defence.

    Attributes:
        model: the LALM.
        method: name of the method in the recipe.
        seed: training seed of the defence.
        defence_hash: hash of the saved artefact; that of an empty defence for vanilla.
    """

    model: LALM
    method: str
    seed: int
    defence_hash: str

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "fingerprint": self.model.fingerprint,
            "method": self.method,
            "seed": self.seed,
            "defence": self.defence_hash,
        }

    def key(self, payload: Mapping[str, Any]) -> str:
        """SHA-256 (hex) of the speaker and of what else could change an answer, as plain values."""
        return content_hash({**self._facts, **payload})

    @cached_property
    def _rendered(self) -> Callable[[Conversation], str]:
        return cache(self.model.render)

    def response_key(self, question: Question, sampling: Sampling, sample: int, seed: int) -> str:
        """SHA-256 (hex) of speaker, task version, question, rendered prompt, clip and sampling.

        Args:
            question: what is asked.
            sampling: how the response is drawn.
            sample: index of the sample.
            seed: the sample's own seed (see `sample_seed`).
        """
        return self.key(
            {
                "task": question.task,
                "task_version": question.task_version,
                "question": question.id,
                "prompt": self._rendered(conversation_of(question)),
                "clip": clip_hash(question.clip) if question.clip else None,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_new_tokens": sampling.max_new_tokens,
                "sample": sample,
                "sample_seed": seed,
            }
        )
