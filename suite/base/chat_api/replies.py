"""A server's reply as it comes over the wire -> a ChatReply, or why it is not one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from greaves.base.chat_api.messages import ChatReply
from greaves.base.text import whole

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
    content = _mapping(_parsed(body))
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
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    code, words = error.get("code"), error.get("message")
    return code if isinstance(code, str) else "", words if isinstance(words, str) else ""


def presentable(words: str, key: str | None) -> str:
    """A server's words for one line of ours: printable, short, and nothing of the key in them."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
    if key and any(key[start : start + 6] in line for start in range(max(1, len(key) - 5))):
        return ""
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedReplyError("it is not JSON, or is cut off") from None


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedReplyError("it is not in the form of a chat completion")
    return value


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
