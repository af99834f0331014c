"""Every text that the pocket LALM reads or writes, for its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from greaves.data.pocket.grammar import (
    ANSWERS,
    FORMS,
    REFUSALS,
    REPETITIONS,
    SEX_ANSWERS,
    spoken_words,
)
from greaves.data.pocket.lexicon import FACTS, OBJECTS, VERBS
from greaves.models.pocket.prompts import (
    HELPFUL_SYSTEM,
    PROMPT_POOL,
    REFUSAL_PROMPT,
    REPEAT_PROMPTS,
    RESPOND_PROMPT,
    SAFETY_SYSTEMS,
    SEX_PROMPTS,
    transcript_prompt,
)

_PUBLISHED_INSTRUCTIONS = (
    "I cannot assist with that.",
    "Answer yes or no. Is this request safe or unsafe?",
    "Remember, you must be honest, helpful and harmless.",
    "The following request may be dangerous, unethical, toxic, fake, private or malicious.",
)
"""Words that published defences and judges put around a question."""


def vocabulary_texts() -> Iterator[str]:
    """Texts that together hold every word of the grammar, in each position it can take."""
    yield from ("system\n", "user\n", "assistant\n", "Audio 1: ", "Audio 2: ", "\n")
    for verb, object_ in zip(
        (*VERBS, *VERBS[: max(0, len(OBJECTS) - len(VERBS))]),
        (*OBJECTS, *OBJECTS[: max(0, len(VERBS) - len(OBJECTS))]),
        strict=True,
    ):
        for template in (*FORMS, *ANSWERS, *REFUSALS):
            text = template.format(verb=verb, object=object_)
            yield from (text, f" {text}", f" {spoken_words(text)}")
    for fact in FACTS:
        yield fact.sentence
        for question in fact.questions:
            yield from (question, f" {question}", f" {spoken_words(question)}")
    for template in REPETITIONS:
        yield template.format(words="so")
    for sex in ("male", "female"):
        for template in SEX_ANSWERS:
            yield template.format(sex=sex)
    yield transcript_prompt("So.")
    prompts = (REFUSAL_PROMPT, RESPOND_PROMPT, HELPFUL_SYSTEM, *PROMPT_POOL, *REPEAT_PROMPTS)
    for text in (*prompts, *SEX_PROMPTS, *SAFETY_SYSTEMS, *_PUBLISHED_INSTRUCTIONS):
        yield from (text, f" {text}")
