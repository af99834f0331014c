"""Helpfulness by a stated rule: how much of the reference answer the response holds."""

from __future__ import annotations

import re
from collections import Counter
from typing import ClassVar

from greaves.base.records import Kind, Outcome, Question, Response
from greaves.judge.contract import RuleJudge, register_judge

_WORD = re.compile(r"\w+")


def overlap(reference: str, response: str) -> float:
    """F1 of the two texts' words, case and punctuation aside: 0 (nothing shared) to 1 (equal)."""
    wanted = Counter(_WORD.findall(reference.lower()))
    given = Counter(_WORD.findall(response.lower()))
    shared = sum((wanted & given).values())
    return 2 * shared / (wanted.total() + given.total()) if shared else 0.0


@register_judge("reference-overlap")
class ReferenceOverlap(RuleJudge):
    """HS by rule: 1 + 9 x F1 of the words shared with the reference answer, rounded to 0.1.

    A question without a reference is unscored. Empty output scores 1: it is of no help.
    """

    name: ClassVar[str] = "reference-overlap"
    version: ClassVar[str] = "1"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"chat"})

    def read(self, question: Question, response: Response) -> tuple[Outcome, str, float | None]:
        if not question.reference:
            return "unscored", "the question has no reference answer", None
        f1 = overlap(question.reference, response.text)
        reason = f"F1 {f1:.2f} with the reference {question.reference!r}"
        return "scored", reason, round(1 + 9 * f1, 1)
