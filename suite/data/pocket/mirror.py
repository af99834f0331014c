"""Mirror alignment data: harmful questions and benign rewrites of one to three changed words."""

from __future__ import annotations

import random
import re

from greaves.data.pocket.grammar import FORMS, Question, split_pairs
from greaves.data.pocket.lexicon import (
    BENIGN_OBJECTS,
    BENIGN_VERBS,
    HARMFUL_OBJECTS,
    HARMFUL_VERBS,
    OBJECTS,
    VERBS,
    Pair,
)

_FORMS = tuple(
    re.compile(re.escape(form).replace(r"\{verb\}", r"(\w+)").replace(r"\{object\}", r"(\w+)"))
    for form in FORMS
)


def read_question(text: str) -> Question | None:
    """The question of the grammar that a text is, or None if it is none."""
    for number, form in enumerate(_FORMS):
        found = form.fullmatch(text.strip())
        if found and found.group(1) in VERBS and found.group(2) in OBJECTS:
            return Question(Pair(found.group(1), found.group(2)), number)
    return None


def rewrite(question: Question) -> Question:
    """Changes the one word that makes a harmful question harmful; the form stays.

    Args:
        question: a harmful question of the grammar.

    Returns:
        The benign question with the verb's counterpart, or the object's after a neutral verb.

    Raises:
        ValueError: the question is benign already.
    """
    pair = question.pair
    if pair.verb in HARMFUL_VERBS:
        verb = BENIGN_VERBS[list(HARMFUL_VERBS).index(pair.verb)]
        return Question(Pair(verb, pair.object), question.form)
    if pair.object in HARMFUL_OBJECTS:
        object_ = BENIGN_OBJECTS[list(HARMFUL_OBJECTS).index(pair.object)]
        return Question(Pair(pair.verb, object_), question.form)
    raise ValueError(f"{question.text!r} is benign: only harmful questions are rewritten")


def changed_words(first: str, second: str) -> int:
    """Number of positions at which two questions of equal length differ, in words."""
    return sum(a != b for a, b in zip(first.split(), second.split(), strict=True))


def mirror_questions(count: int, seed: int) -> tuple[tuple[Question, Question], ...]:
    """Harmful questions of the training pairs with benign rewrites that are training pairs too.

    Args:
        count: number of question pairs wanted.
        seed: of the choice of questions and forms.

    Returns:
        At most `count` (harmful, benign) questions; no validation or evaluation pair occurs among
        them.
    """
    chooser = random.Random(seed)
    allowed = set(split_pairs()["train"])
    questions = [
        (harmful, rewrite(harmful))
        for pair in sorted(allowed, key=lambda pair: (pair.verb, pair.object))
        if pair.harmful
        for harmful in [Question(pair, chooser.randrange(8))]
    ]
    usable = [both for both in questions if both[1].pair in allowed]
    chooser.shuffle(usable)
    return tuple(usable[:count])
