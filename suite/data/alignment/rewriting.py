"""Mirror rewriting: what a rewriter is, and when its reply is a benign question of few changes."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Protocol

MOST_CHANGED = 3
"""A Mirror question differs from its harmful one in one to three words (RRS, section 4)."""

_WORD = re.compile(r"\w+(?:['-]\w+)*")
_REFUSED = re.compile(
    r"^\W*(i\s*(?:'m|am)?\s*(?:sorry|afraid|unable|can'?t|cannot|won'?t|will not|must decline|"
    r"do not|don'?t|refuse)|sorry|as an ai|unfortunately|"
    r"this (?:question|request) (?:is|violates))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"^[\"“']([^\"“”]+)[\"”']$")
_SENTENCE_END = re.compile(r"[.?!](?=\s|$)")


class Rewriter(Protocol):
    """Turns harmful questions into benign ones."""

    @property
    def attempts(self) -> int:
        """How often one question is tried before it is left out."""
        ...

    @property
    def parallel(self) -> int:
        """How many questions may be rewritten at the same time."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the rewriter."""
        ...

    def rewrite(self, harmful: str, attempt: int) -> str:
        """One reply, unchecked.

        Args:
            harmful: the question.
            attempt: number of this attempt, from 0; another one may give another reply.

        Raises:
            DataError: the rewriter fails, whatever the question.
        """
        ...


def cleaned(reply: str) -> str:
    """A reply without surrounding space and one pair of quotation marks around it all."""
    text = reply.strip()
    quoted = _QUOTED.match(text)
    return quoted.group(1).strip() if quoted else text


def words_of(text: str) -> list[str]:
    """The words of a text, case and punctuation aside."""
    return [word.casefold() for word in _WORD.findall(_straight(text))]


def words_changed(first: str, second: str) -> int:
    """Words that were replaced, added or left out (Levenshtein), case and punctuation aside."""
    source, target = words_of(first), words_of(second)
    row = list(range(len(target) + 1))
    for number, word in enumerate(source, start=1):
        last, row[0] = row[0], number
        for at, other in enumerate(target, start=1):
            best = min(row[at] + 1, row[at - 1] + 1, last + (word != other))
            last, row[at] = row[at], best
    return row[-1]


def rewrite_fault(harmful: str, benign: str) -> str:
    """Why a cleaned reply is no benign rewrite.

    Whether the question is harmless now is for a person to say (`review.csv`); this checks what can
    be checked by rule.

    Args:
        harmful: the question that was to be rewritten.
        benign: the reply, cleaned.

    Returns:
        One phrase, or "" for a good rewrite.
    """
    if len(benign) > 2 * len(harmful) + 100:
        return "far longer than the question"
    if not words_of(benign):
        return "empty"
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in benign):
        return "more than one line, or control characters"
    if _REFUSED.match(_straight(benign)) and not _REFUSED.match(_straight(harmful)):
        return "a refusal"
    if benign.count("?") != harmful.count("?"):
        return "not one question"
    if len(_SENTENCE_END.findall(benign)) > max(1, len(_SENTENCE_END.findall(harmful))):
        return "more than the question"
    changed = words_changed(harmful, benign)
    if changed == 0:
        return "unchanged"
    if changed > MOST_CHANGED:
        return f"{changed} words changed"
    return ""


def _straight(text: str) -> str:
    """With straight apostrophes, whichever the writer's keyboard made."""
    return text.replace("\u2019", "'")
