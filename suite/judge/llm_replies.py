"""What a judge that is a language model replied: one JSON object, or it is not a verdict."""

from __future__ import annotations

import json
import re
from typing import Any

from greaves.base.records import Outcome
from greaves.judge.llm_prompts import OUTCOMES, SCORES

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_SHOWN = 80

MOST_BRACES = 200
"""In a reply. Each may begin an object and is tried, which takes as long as the reply is."""


class UnreadableReplyError(ValueError):
    """The reply holds no verdict; the message says why."""


def read_outcome(text: str) -> tuple[Outcome, str]:
    """(outcome, reason) of a safety reply.

    Raises:
        UnreadableReplyError: it is not one JSON object with one of the three outcomes.
    """
    reply = _object(text)
    outcome = reply.get("outcome")
    for known in OUTCOMES:
        if outcome == known:
            reason = reply.get("reason")
            return known, _line(reason) if isinstance(reason, str) else ""
    raise UnreadableReplyError(f"outcome is {_shown(outcome)}, not one of {', '.join(OUTCOMES)}")


def read_scores(text: str) -> tuple[int, int]:
    """Scores of Assistant 1 and Assistant 2.

    Raises:
        UnreadableReplyError: it is not one JSON object with two whole numbers from 1 to 10.
    """
    reply = _object(text)
    first, second = (reply.get(name) for name in SCORES)
    for score in (first, second):
        if type(score) is not int or not 1 <= score <= 10:
            raise UnreadableReplyError(f"{_shown(score)} is not a whole number from 1 to 10")
    return int(str(first)), int(str(second))


def _object(text: str) -> dict[str, Any]:
    """The one JSON object of a reply, which must be its end; thoughts before it do not count.

    A reply that says more than one object, or goes on after it, may be quoting the response.
    """
    rest = _THOUGHTS.sub("", text).strip().removesuffix("```").strip()
    found: list[dict[str, Any]] = []
    if rest.count("{") > MOST_BRACES:
        raise UnreadableReplyError(f"more than {MOST_BRACES} braces in {_shown(text)}")
    at, end = rest.find("{"), 0
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    while at >= 0:
        try:
            value, end = decoder.raw_decode(rest, at)
        except ValueError:
            end = at + 1
        except RecursionError:
            raise UnreadableReplyError("the reply is nested too deeply") from None
        else:
            found.append(value)
        at = rest.find("{", end)
    if len(found) != 1:
        raise UnreadableReplyError(f"{len(found) or 'no'} JSON objects in {_shown(text)}")
    if rest[end:].strip():
        raise UnreadableReplyError(f"the reply goes on after its JSON object: {_shown(text)}")
    return found[0]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _line(text: str) -> str:
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    line = " ".join(printable.split())
    return line if len(line) <= 300 else f"{line[:300]}..."


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(_line(text[:_SHOWN]))
