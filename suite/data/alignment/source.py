"""Where the texts of a set come from: the contract, and the pocket grammar."""

from __future__ import annotations

import random
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from greaves.data.pocket.grammar import (
    FORMS,
    SPLIT_SEED,
    Question,
    answer,
    mirror_questions,
    refusal,
    split_pairs,
)


@dataclass(frozen=True)
class SourceQuestion:
    """A question as a source has it.

    Attributes:
        text: in words.
        category: harm category; "benign" for a benign question.
        response: a safe response to it; "" where the source has none.
    """

    text: str
    category: str
    response: str = ""


@dataclass(frozen=True)
class Drawn:
    """Harmful questions drawn from a source.

    Attributes:
        questions: those drawn, category by category.
        missing: how many too few there were, by category.
    """

    questions: tuple[SourceQuestion, ...]
    missing: dict[str, int]


class Source(ABC):
    """Questions to choose from; the same seed always draws the same ones."""

    @abstractmethod
    def harmful_pools(self, seed: int, answered: bool) -> dict[str, list[SourceQuestion]]:
        """Category -> its harmful questions; only those with a safe response if `answered`."""

    @abstractmethod
    def benign_pool(self, seed: int, answered: bool) -> list[SourceQuestion]:
        """The benign questions, as `harmful_pools` gives the harmful ones."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a manifest says of the source: name, revision, licence, hash."""

    def harmful(self, per_category: int, seed: int, answered: bool) -> Drawn:
        """So many harmful questions of each category.

        Args:
            per_category: wanted of each.
            seed: of the choice; a category's draw does not depend on the others.
            answered: only questions with a safe response.
        """
        chosen: list[SourceQuestion] = []
        missing: dict[str, int] = {}
        for category, questions in sorted(self.harmful_pools(seed, answered).items()):
            pool = sorted(questions, key=lambda question: question.text)
            count = min(per_category, len(pool))
            chosen += random.Random(f"{seed}/{category}").sample(pool, count)
            if count < per_category:
                missing[category] = per_category - count
        return Drawn(tuple(chosen), missing)

    def benign(
        self, count: int, seed: int, answered: bool, apart_from: Collection[str]
    ) -> tuple[SourceQuestion, ...]:
        """At most so many benign questions, none of whose texts is in `apart_from`."""
        pool = [q for q in self.benign_pool(seed, answered) if q.text not in apart_from]
        pool.sort(key=lambda question: question.text)
        return tuple(random.Random(f"{seed}/benign").sample(pool, min(count, len(pool))))


class PocketSource(Source):
    """Questions about the training pairs of the pocket grammar, with its refusals and answers.

    Every question has a response. Only harmful questions whose rewrite is a training pair too are
    drawn, so that no set meets a validation or evaluation pair.
    """

    def harmful_pools(self, seed: int, answered: bool) -> dict[str, list[SourceQuestion]]:
        pools: dict[str, list[SourceQuestion]] = {}
        for question, _ in mirror_questions(10_000, seed):
            own = _with_response(question, seed)
            pools.setdefault(own.category, []).append(own)
        return pools

    def benign_pool(self, seed: int, answered: bool) -> list[SourceQuestion]:
        return [
            _with_response(Question(pair, number % len(FORMS)), seed)
            for number, pair in enumerate(split_pairs()["train"])
            if not pair.harmful
        ]

    def describe(self) -> dict[str, Any]:
        return {
            "name": "pocket grammar",
            "split": "train",
            "split_seed": SPLIT_SEED,
            "licence": "CC0-1.0",
        }


def _with_response(question: Question, seed: int) -> SourceQuestion:
    respond = refusal if question.pair.harmful else answer
    response = respond(question.pair, random.Random(f"{seed}/{question.text}"))
    return SourceQuestion(question.text, question.pair.category, response)


def speakable(text: str) -> bool:
    """Whether a text has a letter to speak, and no control characters."""
    kinds = {unicodedata.category(letter) for letter in text}
    return bool(kinds & {"Lu", "Ll", "Lo"}) and not kinds & {"Cc", "Cs"}
