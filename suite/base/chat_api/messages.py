"""What is asked of a chat server, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion to ask for. What is None is not sent, and the server's default holds.

    Attributes:
        messages: as OpenAI's chat completions take them.
        max_tokens: a reply that reaches it is marked truncated.
        temperature: 0 is greedy decoding.
        top_p: nucleus.
        seed: for servers that sample by seed.
        response_format: such as a JSON schema.
    """

    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChatReply:
    """A chat completion.

    Attributes:
        text: what the model said; "" if it said nothing.
        truncated: it ran into `max_tokens`.
        prompt_tokens: as the server counts them; 0 if it does not.
        response_tokens: likewise.
        withheld: a filter of the provider's stopped the answer, or the model refused in the field
            that OpenAI has for it; `text` is then that refusal, or what came before the filter.
        audio_tokens: how many of the prompt's tokens are audio; they have a price of their own.
    """

    text: str
    truncated: bool = False
    prompt_tokens: int = 0
    response_tokens: int = 0
    withheld: bool = False
    audio_tokens: int = 0


@dataclass(frozen=True)
class ChatFailure:
    """No reply was to be had.

    Attributes:
        reason: one line; it holds no key, no header and no URL.
    """

    reason: str
