"""Putting questions to a speaker through lm-eval, and lm-eval's own command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from lm_eval.evaluator import evaluate

from greaves.answer.keys import Speaker
from greaves.answer.lm_eval.model import GreavesLM
from greaves.answer.lm_eval.tasks import GreavesTask
from greaves.base.errors import GreavesError
from greaves.base.records import Response
from greaves.data.task import Asked


def respond(
    speaker: Speaker,
    asked: Sequence[Asked],
    *,
    known: Mapping[str, str],
    on_responses: Callable[[list[Response]], None],
    batch_size: int,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Put the questions of some tasks to a speaker, through lm-eval.

    Args:
        speaker: a model with its defence attached.
        asked: what to ask.
        known: texts by key from an earlier run.
        on_responses: called with each finished batch.
        batch_size: conversations at a time; halved where the memory is not enough.
        say: takes a line where it was halved.
    """
    lm = GreavesLM(
        speaker=speaker,
        known=known,
        on_responses=on_responses,
        batch_size=batch_size,
        say=say,
    )
    tasks = {
        item.task.name: GreavesTask(
            {"task": item.task.name}, questions=item.questions, sampling=item.sampling
        )
        for item in asked
    }
    evaluate(
        lm,
        task_dict={"tasks": tasks, "groups": {}, "group_map": {}},
        bootstrap_iters=0,
        log_samples=False,
    )


def command_line(arguments: list[str]) -> None:
    """lm-eval's own command line, with `--model greaves` known to it."""
    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm_eval", *arguments]
    try:
        with _logging_as_before():
            cli_evaluate()
    except ValueError as error:  # how lm-eval tells its users of an unknown task or model
        raise GreavesError(f"lm-eval: {error}") from error


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Take back what lm-eval and modules of its tasks do to logging for the whole process."""
    loggers = [logging.getLogger(), logging.getLogger("lm_eval")]
    before = [(one.level, one.handlers[:], one.propagate) for one in loggers]
    try:
        yield
    finally:
        for one, (level, handlers, propagate) in zip(loggers, before, strict=True):
            one.setLevel(level)
            one.handlers[:] = handlers
            one.propagate = propagate
