"""What a model is asked, and how its responses are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from greaves.base.records import Question


@dataclass(frozen=True)
class Conversation:
    """One user turn that a model answers, as text, speech, or both.

    Attributes:
        text: the user's text beside the clip, or the whole turn; None for audio-only.
        clip: path of the clip; None for text-only.
        system: system prompt; None means none beside the model's own (its option `system`).
        reply: beginning of the assistant's own turn, which the model continues.
    """

    text: str | None = None
    clip: str | None = None
    system: str | None = None
    reply: str = ""

    def with_system(self, system: str) -> Conversation:
        """The same turn under a system prompt; an existing one is kept in front of it."""
        joined = f"{self.system}\n{system}" if self.system else system
        return replace(self, system=joined)

    def after_system(self, system: str) -> Conversation:
        """The same turn under a system prompt; an existing one is kept after it."""
        joined = f"{system}\n{self.system}" if self.system else system
        return replace(self, system=joined)

    def with_suffix(self, suffix: str) -> Conversation:
        """The same turn with `suffix` after the user's text; beside the clip where that is all."""
        return replace(self, text=f"{self.text} {suffix}" if self.text else suffix)


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        n: responses per question (AIAH: 5).
        temperature: 0 is greedy decoding. Default 1.0 (RRS code).
        top_p: nucleus; 1.0 keeps all tokens. Default 1.0 (RRS code).
        max_new_tokens: a response that reaches it is marked truncated.
        seed: base of every sample's own seed.
    """

    n: int = 5
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    seed: int = 0


def conversation_of(question: Question) -> Conversation:
    """The user turn that puts `question` to a model."""
    return Conversation(text=question.prompt, clip=question.clip)
