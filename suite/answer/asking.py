"""Asking a model: from questions to generated texts, batch by batch.

Every sample has a seed of its own, and texts are handed on as soon as a batch is done, so that a
killed run loses at most the batch in hand. A response's key changes whenever anything changes that
could change the text, so a resumed run never asks twice, and a changed run reuses no stale line.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

from greaves.base.conversation import Conversation, Sampling, conversation_of
from greaves.base.records import Cost, Question, content_hash
from greaves.base.seeds import sample_seed
from greaves.data.speech.clips import clip_hash
from greaves.models.contract import LALM, Generated, Unanswered
from greaves.models.out_of_memory import BatchSize


@dataclass(frozen=True)
class Speaker:
    """Who answers: a model under a defence.

    Attributes:
        model: the LALM.
        method: name of the method in the recipe.
        seed: training seed of the defence.
        defence_hash: hash of the saved artefact; that of an empty defence for vanilla.
    """

    model: LALM
    method: str
    seed: int
    defence_hash: str

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return {
            "model": self.model.name,
            "revision": self.model.revision,
            "fingerprint": self.model.fingerprint,
            "method": self.method,
            "seed": self.seed,
            "defence": self.defence_hash,
        }

    def key(self, payload: Mapping[str, Any]) -> str:
        """SHA-256 (hex) of the speaker and of what else could change an answer, as plain values."""
        return content_hash({**self._facts, **payload})

    @cached_property
    def _rendered(self) -> Callable[[Conversation], str]:
        return cache(self.model.render)

    def response_key(self, question: Question, sampling: Sampling, sample: int, seed: int) -> str:
        """SHA-256 (hex) of speaker, task version, question, rendered prompt, clip and sampling.

        Args:
            question: what is asked.
            sampling: how the response is drawn.
            sample: index of the sample.
            seed: the sample's own seed (see `sample_seed`).
        """
        return self.key(
            {
                "task": question.task,
                "task_version": question.task_version,
                "question": question.id,
                "prompt": self._rendered(conversation_of(question)),
                "clip": clip_hash(question.clip) if question.clip else None,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_new_tokens": sampling.max_new_tokens,
                "sample": sample,
                "sample_seed": seed,
            }
        )


GIVE_UP = 2
"""Batches in a row without a single answer, after which a server is taken for down. One question
that it always refuses must not keep the others from being asked."""


@dataclass(frozen=True)
class Sample:
    """One response that is wanted.

    Attributes:
        question: what is asked.
        sampling: how the response is drawn.
        number: index of the sample, from 0.
        seed: the sample's own (see `sample_seed`).
        key: of the response (see `Speaker.response_key`); "" where nothing is kept.
    """

    question: Question
    sampling: Sampling
    number: int
    seed: int
    key: str = ""


Said = tuple[Sample, Generated, Cost]
"""A sample, its text, and what that took."""


def samples_of(
    questions: Iterable[Question], sampling: Sampling, speaker: Speaker | None = None
) -> list[Sample]:
    """The samples of each question, in order; with keys if it is known who will answer.

    The speaker's model has nothing attached: the defence is in the key by its hash.
    """
    found = []
    for question in questions:
        for number in range(sampling.n):
            seed = sample_seed(sampling.seed, question.task, question.id, number)
            key = speaker.response_key(question, sampling, number, seed) if speaker else ""
            found.append(Sample(question, sampling, number, seed, key))
    return found


def ask(
    model: LALM,
    samples: Sequence[Sample],
    batch_size: BatchSize,
    keep: Callable[[list[Said]], None],
) -> None:
    """Ask for samples in their order.

    Args:
        model: under its defence.
        samples: those of one question stand together; it is prefilled once for all of them.
        batch_size: questions at a time; halved where the memory is not enough.
        keep: takes each batch as it comes.

    Raises:
        Unanswered: some samples could not be had; all others were asked for, unless the model
            seems to be down.
        ModelError: the memory is not enough for one question.
    """
    done = in_vain = 0
    unanswered: Unanswered | None = None
    while done < len(samples) and in_vain < GIVE_UP:
        first = samples[done].question
        name = f"{first.task}, question {first.id}"
        batch, said, error = batch_size.run(partial(_ask_from, model, samples, done), name)
        keep(said)
        done += len(batch)
        unanswered = unanswered or error
        in_vain = 0 if said else in_vain + 1
    if unanswered:
        raise unanswered


def _ask_from(
    model: LALM, samples: Sequence[Sample], start: int, questions: int
) -> tuple[list[Sample], list[Said], Unanswered | None]:
    """Ask for the batch that begins at `start`: the batch, what came, and why not all of it."""
    batch = _batch(samples, start, questions)
    groups = [list(own) for _, own in itertools.groupby(batch, _name)]
    began = time.monotonic()
    answers, unanswered = _respond(model, groups)
    seconds = time.monotonic() - began
    came = [
        (sample, generated)
        for own, texts in zip(groups, answers, strict=True)
        for sample, generated in zip(own, texts, strict=True)
        if generated is not None
    ]
    share = round(seconds / len(came), 6) if came else 0.0
    said = [(sample, generated, _cost(generated, share)) for sample, generated in came]
    return batch, said, unanswered


def _respond(
    model: LALM, groups: Sequence[Sequence[Sample]]
) -> tuple[Sequence[Sequence[Generated | None]], Unanswered | None]:
    """[questions][samples] what came; None for a sample that could not be had, and why."""
    try:
        answers = model.respond(
            [conversation_of(own[0].question) for own in groups],
            groups[0][0].sampling,
            [[sample.seed for sample in own] for own in groups],
        )
    except Unanswered as error:
        return error.answers, error
    return answers, None


def _cost(generated: Generated, seconds: float) -> Cost:
    return Cost(
        seconds=seconds,
        prompt_tokens=generated.prompt_tokens,
        new_tokens=generated.new_tokens,
        calls=generated.calls,
    )


def _batch(samples: Sequence[Sample], start: int, questions: int) -> list[Sample]:
    """The samples from `start` on, up to `questions` questions that are drawn alike."""
    batch: list[Sample] = []
    seen: set[tuple[str, str]] = set()
    for sample in itertools.islice(samples, start, None):
        full = len(seen) == questions and _name(sample) not in seen
        if batch and (full or _drawn(sample) != _drawn(batch[0])):
            break
        batch.append(sample)
        seen.add(_name(sample))
    return batch


def _name(sample: Sample) -> tuple[str, str]:
    return sample.question.task, sample.question.id


def _drawn(sample: Sample) -> tuple[float, float, int]:
    drawn = sample.sampling
    return drawn.temperature, drawn.top_p, drawn.max_new_tokens
