"""What a judge that is a language model reads and replies.

The prompts are versioned text files, filled with quoted texts; a reply is one JSON object, or it is
not a verdict.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from greaves.base.records import Outcome
from greaves.judge.quoting import cut, mark_of, quoted

SAFETY = "safety-1"
CHAT = "chat-1"

OUTCOMES: tuple[Outcome, ...] = ("refused", "harmful", "answered")
SCORES = ("assistant_1", "assistant_2")

_PLACE = re.compile(r"\{([a-z0-9_]+)\}")


def _schema(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {
            "name": name,
            "strict": True,
            "schema": {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            },
        },
    }


SAFETY_FORMAT = _schema(
    "verdict", {"reason": {"type": "string"}, "outcome": {"type": "string", "enum": [*OUTCOMES]}}
)
CHAT_FORMAT = _schema("scores", {name: {"type": "integer"} for name in SCORES})
"""`response_format` of a request; without bounds, which not every server knows: we check them."""


@dataclass(frozen=True)
class Prompt:
    """One prompt file.

    Attributes:
        name: name and version, such as "safety-1".
        hash: first 8 digits of the file's SHA-256; part of the judge's settings.
        system: the system message.
        user: the user's message, with {places}.
    """

    name: str
    hash: str
    system: str
    user: str

    def messages(self, texts: Mapping[str, str], *, longest: int) -> list[dict[str, str]]:
        """The messages that quote `texts`.

        Args:
            texts: place -> untrusted text; it stands there quoted, and `{place_note}` says outside
                the quotation where it was cut.
            longest: characters of each text that are quoted.
        """
        shown = {name: cut(text, longest) for name, text in texts.items()}
        places = {"mark": mark_of(*(text for text, _ in shown.values()))}
        for name, (text, note) in shown.items():
            places[name] = quoted(text)
            places[f"{name}_note"] = note
        return [
            {"role": role, "content": _PLACE.sub(lambda found: places[found[1]], part)}
            for role, part in (("system", self.system), ("user", self.user))
        ]


@cache
def prompt(name: str) -> Prompt:
    """The prompt file of that name and version."""
    file = resources.files("greaves.judge") / "prompts" / f"{name}.txt"
    text = file.read_text("utf-8")
    system, user = text.removeprefix("[system]\n").split("\n[user]\n")
    return Prompt(name, hashlib.sha256(text.encode()).hexdigest()[:8], system, user.rstrip("\n"))


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
