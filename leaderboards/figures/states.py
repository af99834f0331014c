"""The states of a model that a figure compares: vanilla, part of the way, under the defence.

ASR and ORR of a state come from the run's own verdicts, or are asked and judged for the figure.
What is asked here is kept like a cell of the run, under `<run>/figures/representations/cells/`, so
that nothing is asked twice, and a killed figure carries on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from greaves.align.defence import Defence
from greaves.answer.answering import answer, write_questions
from greaves.answer.asking import Speaker, samples_of
from greaves.base.conversation import conversation_of
from greaves.base.errors import StoreError
from greaves.base.progress import Steps
from greaves.base.records import Question, Verdict
from greaves.base.run_folder import CellFolder
from greaves.judge.judging import judge_responses, make_judge
from greaves.leaderboards.estimate.metrics.asr import Asr
from greaves.leaderboards.estimate.metrics.orr import Orr
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.figures.inside_run import InsideRun, kept_epochs, saved_defence
from greaves.leaderboards.read.slices import VANILLA, sort_verdicts
from greaves.models.contract import LALM

Matrix = NDArray[np.float32]

LEDGERS = Path("figures") / "representations"
"""Inside the run folder."""


@dataclass(frozen=True)
class State:
    """A model under what a method made of it, whole or up to an epoch.

    Attributes:
        name: in panels: "vanilla", the method's name, or "epoch 3".
        method: its name in the recipe.
        seed: training seed.
        epoch: passes over the alignment data; 0 for vanilla, None where nothing was trained.
        defence: what is attached.
        cell: where the run has its verdicts; None for an epoch that the run did not ask.
    """

    name: str
    method: str
    seed: int
    epoch: int | None
    defence: Defence
    cell: CellFolder | None


def aligned(run: InsideRun, method: str, seed: int | None = None) -> State:
    """A model under a method's defence; vanilla is a method like any other.

    Raises:
        StoreError: the cell or its defence is missing.
    """
    cell = run.cell(method, seed)
    facts = cell.facts()
    epoch = 0 if method == VANILLA else _last_epoch(facts)
    return State(method, method, facts["seed"], epoch, Defence.load(saved_defence(cell)), cell)


def through_training(
    run: InsideRun, method: str, seed: int | None = None, epochs: Sequence[int] | None = None
) -> list[State]:
    """Vanilla, the epochs that the run kept, and the defence itself.

    A method without epochs has two states, vanilla and aligned.

    Args:
        seed: training seed; the method's first one if unset.
        epochs: which to return; all that were kept if unset.

    Raises:
        StoreError: an epoch was not kept; without `epochs`, no epoch in between was.
    """
    vanilla, whole = aligned(run, VANILLA), aligned(run, method, seed)
    if whole.epoch is None:
        return [vanilla, whole]
    assert whole.cell is not None
    kept = kept_epochs(saved_defence(whole.cell))
    between = [epoch for epoch in kept if 0 < epoch < whole.epoch]
    known = [0, *between, whole.epoch]
    wanted = sorted({*epochs}) if epochs else known
    if not epochs and not between:
        what = f"the run kept no epoch of method {method!r} but the last"
        do = "add `training: {keep_epochs: [1, 3]}` to the recipe and run it, or draw what there is"
        raise StoreError(what, where=str(run.path), do=f"{do}: --epochs 0,{whole.epoch}")
    for epoch in wanted:
        if epoch not in known:
            what = f"the run did not keep epoch {epoch} of method {method!r}"
            more = "to keep more, add `training: {keep_epochs: [...]}` to the recipe and run it"
            do = f"it kept {', '.join(map(str, known))}; {more}"
            raise StoreError(what, where=str(run.path), do=do)
    return [_at_epoch(epoch, vanilla, whole, kept) for epoch in wanted]


def hidden_states(
    model: LALM, questions: Sequence[Question], batch_size: int, layers: Sequence[int] | None = None
) -> Matrix:
    """Hidden states at the last prompt position, under whatever defence is attached.

    Args:
        layers: decoder layers from 1; the last one alone if unset.

    Returns:
        [questions, layers, hidden_size].
    """
    asked = [conversation_of(question) for question in questions]
    starts = range(0, len(questions), batch_size)
    batches = (asked[start : start + batch_size] for start in starts)
    parts = [model.representations(batch, layers).cpu() for batch in batches]
    found: Matrix = torch.cat(parts).numpy()
    return found


def _at_epoch(epoch: int, vanilla: State, whole: State, kept: dict[int, Path]) -> State:
    name = f"epoch {epoch}"
    if epoch == 0:
        return State(f"{name} (vanilla)", VANILLA, vanilla.seed, 0, vanilla.defence, vanilla.cell)
    if epoch == whole.epoch:
        return State(name, whole.method, whole.seed, epoch, whole.defence, whole.cell)
    return State(name, whole.method, whole.seed, epoch, Defence.load(kept[epoch]), None)


def _last_epoch(facts: dict[str, Any]) -> int | None:
    """Epochs of a method's config, or of the one part of a composition that has any."""
    config = facts.get("config") or {}
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    found = [part["epochs"] for part in parts if isinstance(part.get("epochs"), int)]
    return found[0] if len(found) == 1 else None


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
    judges = {task: make_judge(run.benchmark(task).judge).identity for task in tasks}
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
        judge_responses(place, make_judge(run.benchmark(task).judge), own)
    return place
