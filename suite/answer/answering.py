"""What a speaker has not answered yet, asked and kept as it comes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from greaves.align.defence import Defence
from greaves.answer.asking import Said, Sample, Speaker, ask
from greaves.base.progress import Steps
from greaves.base.records import Cost, Response
from greaves.base.run_folder import AskedQuestion, CellFolder
from greaves.base.usage import Usage
from greaves.models.contract import LALM, Generated
from greaves.models.out_of_memory import BatchSize


@dataclass(frozen=True)
class Answered:
    """How many responses were asked for now, and how many were there from before."""

    asked: int = 0
    found: int = 0

    def __add__(self, other: Answered) -> Answered:
        return Answered(self.asked + other.asked, self.found + other.found)


def write_questions(place: CellFolder, samples: Sequence[Sample]) -> None:
    """Write down what a cell asks, with the keys that its responses will have."""
    groups = itertools.groupby(samples, lambda sample: (sample.question.task, sample.question.id))
    by_question = (list(own) for _, own in groups)
    place.write_questions(
        AskedQuestion(question=own[0].question, keys=tuple(sample.key for sample in own))
        for own in by_question
    )


def answer(
    place: CellFolder,
    speaker: Speaker,
    defence: Defence,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    steps: Steps,
    stage: str,
    may_write: Callable[[], None] = lambda: None,
) -> Answered:
    """Ask for the responses that a cell still lacks, and append them as they come.

    Args:
        place: the cell, its questions written (see `write_questions`).
        speaker: the model, nothing attached.
        defence: attached only if something is asked.
        samples: what to ask now, with keys; the cell may have others.
        batch_size: questions at a time; halved where the memory is not enough.
        steps: where progress is shown.
        stage: what it is called there.
        may_write: called before responses are appended; raises where the cell is another's now.

    Raises:
        GreavesError: the model cannot answer; what it has answered is kept.
    """
    ledger = place.responses()
    known = {item.key for item in ledger.records}
    missing = [sample for sample in samples if sample.key not in known]
    found = done = len(samples) - len(missing)
    steps.update(stage, done, len(samples))

    def keep(said: list[Said]) -> None:
        nonlocal done
        may_write()
        ledger.append(_response(speaker, *one) for one in said)
        done += len(said)
        steps.update(stage, done, len(samples))

    if missing:
        size = BatchSize(batch_size, lambda line: steps.say(f"{stage}: {line}"))
        with usage_noted(place, speaker.model), defence.attached(speaker.model) as asked:
            ask(asked, missing, size, keep)
    return Answered(len(missing), found)


def _response(speaker: Speaker, sample: Sample, generated: Generated, cost: Cost) -> Response:
    return Response.of(
        sample.question,
        generated.text,
        key=sample.key,
        model=speaker.model.name,
        method=speaker.method,
        seed=speaker.seed,
        sample=sample.number,
        sample_seed=sample.seed,
        truncated=generated.truncated,
        cost=cost,
    )


@contextmanager
def usage_noted(place: CellFolder, model: LALM) -> Iterator[None]:
    """Adds what the model costs inside to the cell's usage, however it ends."""
    before = model.usage() or Usage()
    try:
        yield
    finally:
        after = model.usage()
        place.add_usage(model.name, after - before if after else None)
