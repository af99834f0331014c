"""ASR and ORR of a state: from the run's own verdicts, or asked and judged for the figure.

What is asked here is kept like a cell of the run, under `<run>/figures/representations/cells/`, so
that nothing is asked twice, and a killed figure carries on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from greaves.answer.answering import answer, write_questions
from greaves.answer.asking import Speaker, samples_of
from greaves.base.progress import Steps
from greaves.base.records import Question, Verdict
from greaves.base.run_folder import CellFolder
from greaves.judge.contract import Judge
from greaves.judge.judging import judge_responses, make_judge
from greaves.leaderboards.estimate.metrics.asr import Asr
from greaves.leaderboards.estimate.metrics.orr import Orr
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.figures.inside_run import InsideRun
from greaves.leaderboards.figures.states import State
from greaves.leaderboards.read.slices import sort_verdicts
from greaves.models.contract import LALM

LEDGERS = Path("figures") / "representations"
"""Inside the run folder."""


def rates(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    """Metric ("asr" or "orr") -> rate, over verdicts on one state; nothing where none is scored.

    Returns:
        Of each `value`, `low` and `high` (percent, 95 % interval), questions with a scored
        response (`n_questions`), `n_responses`, and those that the judge could not score
        (`n_unscored`).
    """
    found = {}
    for one in sort_verdicts(verdicts):
        for metric in (Asr(), Orr()):
            means = one.per_question().present
            if len(means) and metric.asks(one.key):
                counts = zip(("n_responses", "n_unscored"), one.counts(), strict=True)
                estimate = asdict(metric.estimate(means, DEFAULT_SEED))
                found[metric.name] = {**estimate, "n_questions": len(means), **dict(counts)}
    return found


def verdicts_of(
    run: InsideRun, state: State, model: LALM, questions: Sequence[Question], steps: Steps
) -> list[Verdict]:
    """Verdicts on `questions`, of the judge of their benchmark: found, or asked for now.

    Args:
        state: whose; its defence is attached to `model` where it must be asked.
        model: the run's model, nothing attached.
        questions: of one or more tasks of the run.
    """
    tasks = {question.task for question in questions}
    judges = {task: _judge(run, task).identity for task in tasks}
    place = state.cell or _ask(run, state, model, questions, steps)
    return [
        verdict for verdict in place.current_verdicts() if judges.get(verdict.task) == verdict.judge
    ]


def ledger_of(run: InsideRun, state: State) -> CellFolder:
    """Where the answers of an epoch that the run did not ask are kept."""
    name = run.spec.shown
    place = run.path / LEDGERS / "cells" / name / state.method
    return CellFolder(place / f"seed-{state.seed}" / f"epoch-{state.epoch}")


def _ask(
    run: InsideRun, state: State, model: LALM, questions: Sequence[Question], steps: Steps
) -> CellFolder:
    place = ledger_of(run, state)
    speaker = Speaker(model, state.method, state.seed, state.defence.hash)
    tasks = {
        task: [question for question in questions if question.task == task]
        for task in dict.fromkeys(question.task for question in questions)
    }
    samples = [
        sample
        for task, own in tasks.items()
        for sample in samples_of(own, run.benchmark(task).sampling, speaker)
    ]
    write_questions(place, samples)
    stage, size = f"{state.method}, {state.name}: responses", run.recipe.batch_size
    answer(place, speaker, state.defence, samples, batch_size=size, steps=steps, stage=stage)
    for task, own in tasks.items():
        judge_responses(place, _judge(run, task), own)
    return place


def _judge(run: InsideRun, task: str) -> Judge:
    return make_judge(run.benchmark(task).judge)
