"""What is asked of a chat server, and what comes back: a ChatReply, or why it is not one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from greaves.base.text import whole


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
        again: it may go better next time.
        everyone: it is the same for every request, such as a wrong key.
        after: seconds that the server asks to wait.
    """

    reason: str
    again: bool = field(default=False, compare=False)
    everyone: bool = field(default=False, compare=False)
    after: float | None = field(default=None, compare=False)


LONGEST_REASON = 200
"""Characters of a server's own words that are repeated."""

FILTERED = frozenset({"content_filter", "content_policy_violation"})
"""Error codes of providers that judge the prompt before the model sees it."""


class MalformedReplyError(ValueError):
    """The reply is not a chat completion; the message says how."""


def read_reply(body: bytes) -> ChatReply:
    """Read a chat completion.

    Raises:
        MalformedReplyError: it is cut off, or is not JSON, or holds no completion.
    """
    try:
        content = _mapping(json.loads(body))
    except MalformedReplyError:
        raise
    except (ValueError, RecursionError):
        raise MalformedReplyError("it is not JSON, or is cut off") from None
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices:
        words = error_in(content)[1]
        raise MalformedReplyError(f"there are no choices in it{': ' if words else ''}{words}")
    choice = _mapping(choices[0])
    message = _mapping(choice.get("message"))
    text, refusal = message.get("content"), message.get("refusal")
    if text is not None and not isinstance(text, str):
        raise MalformedReplyError("its message is not a text")
    refused = isinstance(refusal, str) and bool(refusal)
    usage = _part(content, "usage")
    return ChatReply(
        text=whole(text or (str(refusal) if refused else "")),
        truncated=choice.get("finish_reason") == "length",
        prompt_tokens=_count(usage.get("prompt_tokens")),
        response_tokens=_count(usage.get("completion_tokens")),
        withheld=refused or choice.get("finish_reason") == "content_filter",
        audio_tokens=_count(_part(usage, "prompt_tokens_details").get("audio_tokens")),
    )


def error_in(content: Any) -> tuple[str, str]:
    """Code and message of an error body in OpenAI's form; empty where there is none."""
    error = content.get("error", content) if isinstance(content, dict) else content
    parts = error if isinstance(error, dict) else {"message": error}
    code, words = parts.get("code"), parts.get("message")
    return code if isinstance(code, str) else "", words if isinstance(words, str) else ""


def presentable(words: str, key: str | None) -> str:
    """A server's words for one line of ours: printable, short, and nothing of the key in them."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
    if key and any(key[start : start + 6] in line for start in range(max(1, len(key) - 5))):
        return ""
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReplyError("it is not in the form of a chat completion")
    return value


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
