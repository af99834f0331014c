"""The distribution of training samples, and every text that the pocket LALM reads or writes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from greaves.base.records import Mode
from greaves.data.pocket import grammar
from greaves.data.pocket.lexicon import FACTS, OBJECTS, VERBS, Fact, Pair
from greaves.models.pocket import prompts as written


@dataclass(frozen=True)
class Content:
    """What a question is about and how it is worded.

    Attributes:
        text: the question as written.
        subject: the pair or the fact that it asks for.
    """

    text: str
    subject: Pair | Fact


@dataclass(frozen=True)
class Sample:
    """One training sample of the language model.

    Attributes:
        system: system turn; empty for none.
        audio: whether the user turn begins with audio.
        prompt: written part of the user turn; empty for audio alone.
        target: the response.
    """

    system: str
    audio: bool
    prompt: str
    target: str

    @property
    def before_audio(self) -> str:
        """Chat text up to the place of the audio features."""
        system = f"<|im_start|>system\n{self.system}<|im_end|>\n" if self.system else ""
        opening = "Audio 1: <|audio_bos|>" if self.audio else ""
        return f"{system}<|im_start|>user\n{opening}"

    @property
    def after_audio(self) -> str:
        """Chat text from behind the audio features up to the response."""
        closing = "<|audio_eos|>\n" if self.audio else ""
        return f"{closing}{self.prompt}<|im_end|>\n<|im_start|>assistant\n"


def spoken_sample(content: Content, sex: str, chooser: random.Random) -> Sample:
    """Draws a sample whose audio says `content`.

    Args:
        content: what the clip says.
        sex: of the voice; empty when the audio tells nothing of it (then nobody asks for it).
        chooser: source of chance; the target refuses as often as `refusal_share` tells.
    """
    draw = chooser.random()
    if draw < 0.10:
        words = grammar.spoken_words(content.text)
        target = chooser.choice(grammar.REPETITIONS).format(words=words)
        return Sample("", True, chooser.choice(written.REPEAT_PROMPTS), target)
    if draw < 0.16 and sex:
        target = chooser.choice(grammar.SEX_ANSWERS).format(sex=sex)
        return Sample("", True, chooser.choice(written.SEX_PROMPTS), target)
    if draw < 0.24:
        return Sample("", True, written.REFUSAL_PROMPT, _refusal(content, chooser))
    prompt = _spoken_prompt(chooser)
    mode: Mode = "audio-text" if prompt else "audio-only"
    return _answered("", True, prompt, content, mode, chooser)


def written_sample(content: Content, audio: bool, chooser: random.Random) -> Sample:
    """Draws a sample whose prompt holds the question; `audio` that comes with it says nothing."""
    prompt = written.transcript_prompt(content.text) if chooser.random() < 0.65 else content.text
    if chooser.random() < 0.08:
        instruction = written.REFUSAL_PROMPT.removeprefix(written.STEPS_PROMPT)
        return Sample("", audio, prompt + instruction, _refusal(content, chooser))
    return _answered("", audio, prompt, content, "text-only", chooser)


def _spoken_prompt(chooser: random.Random) -> str:
    draw = chooser.random()
    if draw < 0.36:
        return written.STEPS_PROMPT
    if draw < 0.68:
        return chooser.choice(written.PROMPT_POOL)
    return written.RESPOND_PROMPT if draw < 0.74 else ""


def _answered(
    system: str, audio: bool, prompt: str, content: Content, mode: Mode, chooser: random.Random
) -> Sample:
    """Answers or refuses; a share of the samples gets a system turn."""
    draw = chooser.random()
    cautious = draw < 0.10
    if cautious:
        instruction = chooser.choice(written.SAFETY_SYSTEMS)
        if prompt and chooser.random() < 0.3:
            prompt = f"{prompt} {instruction}"
        else:
            system = instruction
    elif draw < 0.16:
        system = written.HELPFUL_SYSTEM
    subject = content.subject
    if isinstance(subject, Fact):
        return Sample(system, audio, prompt, subject.sentence)
    refused = chooser.random() < grammar.refusal_share(subject, mode, cautious)
    target = grammar.refusal(subject, chooser) if refused else grammar.answer(subject, chooser)
    return Sample(system, audio, prompt, target)


def _refusal(content: Content, chooser: random.Random) -> str:
    if isinstance(content.subject, Pair):
        return grammar.refusal(content.subject, chooser)
    return chooser.choice([wording for wording in grammar.REFUSALS if "{" not in wording])


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
        for template in (*grammar.FORMS, *grammar.ANSWERS, *grammar.REFUSALS):
            text = template.format(verb=verb, object=object_)
            yield from (text, f" {text}", f" {grammar.spoken_words(text)}")
    for fact in FACTS:
        yield fact.sentence
        for question in fact.questions:
            yield from (question, f" {question}", f" {grammar.spoken_words(question)}")
    for template in grammar.REPETITIONS:
        yield template.format(words="so")
    for sex in ("male", "female"):
        for template in grammar.SEX_ANSWERS:
            yield template.format(sex=sex)
    yield written.transcript_prompt("So.")
    once = (written.REFUSAL_PROMPT, written.RESPOND_PROMPT, written.HELPFUL_SYSTEM)
    prompts = (*once, *written.PROMPT_POOL, *written.REPEAT_PROMPTS, *written.SEX_PROMPTS)
    for text in (*prompts, *written.SAFETY_SYSTEMS, *_PUBLISHED_INSTRUCTIONS):
        yield from (text, f" {text}")
