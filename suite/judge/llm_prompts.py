"""The prompts of the judge `llm`: versioned text files, filled with quoted texts."""

from __future__ import annotations

import hashlib
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
