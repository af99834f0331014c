"""Where the texts of a set come from; the pocket grammar as a source."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greaves.data.pocket import grammar
from greaves.data.pocket.grammar import Question


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
class Source:
    """Questions to choose from; the same seed always draws the same ones.

    Attributes:
        harmful: category -> its harmful questions.
        benign: the benign questions.
        about: what a manifest says of the source: name, revision, licence, hash.
        seed: of the choice.
    """

    harmful: Mapping[str, Sequence[SourceQuestion]]
    benign: Sequence[SourceQuestion]
    about: dict[str, Any]
    seed: int

    def draw_harmful(self, per_category: int) -> tuple[list[SourceQuestion], dict[str, int]]:
        """So many harmful questions of each category; category -> how many too few there were.

        A category's draw does not depend on the others.
        """
        drawn = {name: self._draw(name, pool, per_category) for name, pool in self.harmful.items()}
        missing = {name: per_category - len(found) for name, found in sorted(drawn.items())}
        questions = [question for _, found in sorted(drawn.items()) for question in found]
        return questions, {name: count for name, count in missing.items() if count}

    def draw_benign(self, count: int, apart_from: Collection[str] = ()) -> list[SourceQuestion]:
        """At most so many benign questions, none of whose texts is in `apart_from`."""
        pool = [question for question in self.benign if question.text not in apart_from]
        return self._draw("benign", pool, count)

    def _draw(self, name: str, pool: Sequence[SourceQuestion], count: int) -> list[SourceQuestion]:
        ordered = sorted(pool, key=lambda question: question.text)
        return random.Random(f"{self.seed}/{name}").sample(ordered, min(count, len(ordered)))


def pocket_source(seed: int) -> Source:
    """Questions about the training pairs of the pocket grammar, with its refusals and answers.

    Every question has a response. Only harmful questions whose rewrite is a training pair too are
    drawn, so that no set meets a validation or evaluation pair.
    """
    harmful: dict[str, list[SourceQuestion]] = {}
    for question, _ in grammar.mirror_questions(10_000, seed):
        own = _with_response(question, seed)
        harmful.setdefault(own.category, []).append(own)
    benign = [
        _with_response(Question(pair, number % len(grammar.FORMS)), seed)
        for number, pair in enumerate(grammar.split_pairs()["train"])
        if not pair.harmful
    ]
    about = {"name": "pocket grammar", "split": "train", "split_seed": grammar.SPLIT_SEED}
    return Source(harmful, benign, {**about, "licence": "CC0-1.0"}, seed)


def _with_response(question: Question, seed: int) -> SourceQuestion:
    respond = grammar.refusal if question.pair.harmful else grammar.answer
    response = respond(question.pair, random.Random(f"{seed}/{question.text}"))
    return SourceQuestion(question.text, question.pair.category, response)


def speakable(text: str) -> bool:
    """Whether a text has a letter to speak, and no control characters."""
    kinds = {unicodedata.category(letter) for letter in text}
    return bool(kinds & {"Lu", "Ll", "Lo"}) and not kinds & {"Cc", "Cs"}
