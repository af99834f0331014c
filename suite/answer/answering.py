"""From questions to responses: what a speaker has not answered yet, asked and kept as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from greaves.align.defence import Defence
from greaves.answer.keys import Speaker
from greaves.base.conversation import Sampling
from greaves.base.progress import Steps
from greaves.base.records import Question, Response
from greaves.base.run_folder import AskedQuestion, CellFolder
from greaves.base.seeds import sample_seed
from greaves.base.usage import Usage
from greaves.data.task import Asked


@dataclass(frozen=True)
class Answered:
    """What one pass over a cell did: responses asked for now, and found from before."""

    asked: int
    found: int


def write_questions(place: CellFolder, speaker: Speaker, asked: Sequence[Asked]) -> None:
    """Write down what a cell asks, with the keys that its responses will have."""
    place.write_questions(
        AskedQuestion(question=question, keys=response_keys(speaker, item.sampling, question))
        for item in asked
        for question in item.questions
    )


def response_keys(speaker: Speaker, sampling: Sampling, question: Question) -> tuple[str, ...]:
    """Keys of the samples of one question."""
    return tuple(
        speaker.response_key(
            question, sampling, n, sample_seed(sampling.seed, question.task, question.id, n)
        )
        for n in range(sampling.n)
    )


def answer(
    place: CellFolder,
    speaker: Speaker,
    defence: Defence,
    asked: Sequence[Asked],
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
        asked: tasks to answer now; the cell may have others.
        batch_size: questions at a time; halved where the memory is not enough.
        steps: where progress is shown.
        stage: what it is called there.
        may_write: called before responses are appended; raises where the cell is another's now.

    Raises:
        GreavesError: the model cannot answer; what it has answered is kept.
    """
    names = {item.task.name for item in asked}
    wanted = {key for item in place.questions() if item.question.task in names for key in item.keys}
    ledger = place.responses()
    known = {item.key: item.text for item in ledger.records if item.key in wanted}
    found = done = len(known)
    steps.update(stage, done, len(wanted))
    if done == len(wanted):
        return Answered(0, found)

    def keep(responses: list[Response]) -> None:
        nonlocal done
        may_write()
        ledger.append(responses)
        done += len(responses)
        steps.update(stage, done, len(wanted))

    from greaves.answer.lm_eval import respond  # imports lm_eval: seconds

    model = speaker.model
    before = model.usage() or Usage()
    try:
        with defence.attached(model) as defended:
            respond(
                replace(speaker, defended=defended),
                asked,
                known=known,
                on_responses=keep,
                batch_size=batch_size,
                say=lambda line: steps.say(f"{stage}: {line}"),
            )
    finally:
        after = model.usage()
        place.add_usage(model.name, after - before if after else None)
    return Answered(len(wanted) - found, found)
