"""Two runs, one against the other: what changed, how sure that is, which questions flipped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import multimode

from greaves.base.errors import GreavesError
from greaves.base.records import Outcome, Record, Verdict
from greaves.leaderboards.board.table import answered
from greaves.leaderboards.estimate.contrasts import contrasts, told
from greaves.leaderboards.estimate.metric import Metric, metrics
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.estimate.paired import Parts, holm
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import Slice, sort_verdicts

Cell = tuple[str, str]
"""Model and method; training seeds are pooled question by question."""

SPLIT = "split"
"""Majority of a question whose two most frequent outcomes are equally frequent."""


class Flip(Record):
    """A question whose majority outcome changed."""

    question_id: str
    before: str
    after: str


class Change(Record):
    """One metric of one cell in two runs, B minus A, paired by question.

    Attributes:
        cell_a, cell_b: model and method in run A and in run B, as "model/method".
        metric: "avg_nsi" is the change of Avg. NSI; a vanilla model common to both cancels out.
        value_a, value_b: the metric on the questions that both share; None for Avg. NSI.
        difference: B minus A, in the metric's unit; low and high are its 95 % interval.
        p: two-sided, sign-flip test.
        p_holm: p adjusted over all changes of the comparison.
        detectable: smallest difference found with 80 % power.
        n_questions: questions that both runs have scored responses to.
        flips: questions whose majority outcome changed; none for chat and for Avg. NSI.
    """

    judge: str
    cell_a: str
    cell_b: str
    metric: str
    task: str | None
    value_a: float | None
    value_b: float | None
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float | None
    n_questions: int
    flips: list[Flip]


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common, and notes on what could not be compared."""

    changes: list[Change]
    notes: list[str]


def compare(
    first: Sequence[Verdict], second: Sequence[Verdict], *, seed: int = DEFAULT_SEED
) -> Comparison:
    """Compare cells of the same name, or, where each run has one cell, those two.

    Args:
        first, second: verdicts of run A and of run B.

    Raises:
        GreavesError: the runs share no cell, no judge, or no task of the same version.
    """
    judges = _shared("judge", *({verdict.judge for verdict in run} for run in (first, second)))
    cells = _cells(first, second)
    versions = [{(v.judge, v.task): v.task_version for v in run} for run in (first, second)]
    changes: list[Change] = []
    notes: list[str] = []
    for judge in judges:
        common = sorted(task for by, task in versions[0].keys() & versions[1] if by == judge)
        same = [task for task in common if versions[0][judge, task] == versions[1][judge, task]]
        notes += [
            f"{task}: version {versions[0][judge, task]} in A, {versions[1][judge, task]} in B; "
            "not compared"
            for task in common
            if task not in same
        ]
        for pair in cells:
            wanted = [{(judge, *cell, task) for task in same} for cell in pair]
            sides = [
                [v for v in run if (v.judge, v.model, v.method, v.task) in own]
                for run, own in zip((first, second), wanted, strict=True)
            ]
            changes += _changes(sides[0], sides[1], seed)
    if not changes:
        what = "; ".join(notes) or "no task has questions that both runs have scored responses to"
        raise GreavesError(what, where="greaves compare", do="run both with the same tasks")
    adjusted = holm([change.p for change in changes])
    together = zip(changes, adjusted, strict=True)
    return Comparison([one.model_copy(update={"p_holm": p}) for one, p in together], notes)


def _shared(what: str, first: set[str], second: set[str]) -> list[str]:
    """What both runs have. Raises GreavesError if that is nothing."""
    if not first & second:
        a, b = (", ".join(sorted(names)) or "none" for names in (first, second))
        do = "only verdicts of the same judge can be compared" if what == "judge" else ""
        said = f"the runs share no {what}: A has {a}; B has {b}"
        raise GreavesError(said, where="greaves compare", do=do)
    return sorted(first & second)


def _cells(first: Sequence[Verdict], second: Sequence[Verdict]) -> list[tuple[Cell, Cell]]:
    ours, theirs = ({(v.model, v.method) for v in run} for run in (first, second))
    if len(ours) == len(theirs) == 1:
        return [(next(iter(ours)), next(iter(theirs)))]
    names = [{f"{model}/{method}" for model, method in cells} for cells in (ours, theirs)]
    _shared("cell", *names)
    return [(cell, cell) for cell in sorted(ours & theirs)]


def _changes(first: Sequence[Verdict], second: Sequence[Verdict], seed: int) -> list[Change]:
    """Every metric of one cell under one judge, p not yet adjusted."""
    slices = [sort_verdicts(run) for run in (first, second)]
    tasks = nsi_tasks(one.key for side in slices for one in side)
    sides = [answered(side, tasks).values() for side in slices]
    found = [
        (metric, both, parts)
        for one, other in zip(*sides, strict=False)  # one method each, or none by this judge
        for metric in metrics()
        for both, parts in metric.compared(one, other)
    ]
    found.sort(key=lambda item: (len(item[2][0]) > 1, item[1][0].order, item[0].order))
    changes = []
    for metric, both, parts in found:
        flips = _flips(first, second, both[0].key.task) if metric.flips else []
        changes += _change(metric, both, parts, seed, flips)
    return changes


def _change(
    metric: Metric, both: Sequence[Slice], parts: Sequence[Parts], seed: int, flips: list[Flip]
) -> list[Change]:
    """The change, or nothing where the runs share no scored question."""
    (pair,) = contrasts(metric, {"b": parts[1], "a": parts[0]}, seed=seed)
    if not pair.n_questions:
        return []
    one, other = both
    alone = len(parts[0]) == 1
    change = Change(
        judge=one.judge,
        cell_a=f"{one.model}/{one.method}",
        cell_b=f"{other.model}/{other.method}",
        metric=metric.name,
        task=one.key.task if alone else None,
        value_a=_value(metric, parts[0], parts[1]) if alone else None,
        value_b=_value(metric, parts[1], parts[0]) if alone else None,
        **told(metric, pair, parts[1], parts[0], seed=seed),
        flips=flips,
    )
    return [change]


def _value(metric: Metric, parts: Parts, other: Parts) -> float:
    """A level on the questions that the other run has, too."""
    (own,), (theirs,) = parts, other
    shared = [own.means[question] for question in own.means if question in theirs.means]
    return metric.unit * math.fsum(shared) / len(shared)


def _flips(first: Sequence[Verdict], second: Sequence[Verdict], task: str) -> list[Flip]:
    before, after = (_majorities(v for v in run if v.task == task) for run in (first, second))
    return [
        Flip(question_id=question, before=before[question], after=after[question])
        for question in sorted(before.keys() & after.keys())
        if before[question] != after[question]
    ]


def _majorities(verdicts: Iterable[Verdict]) -> Mapping[str, str]:
    """Question id -> its most frequent outcome; unscored responses are left out."""
    outcomes: dict[str, list[Outcome]] = {}
    for verdict in verdicts:
        if verdict.outcome != "unscored":
            outcomes.setdefault(verdict.question_id, []).append(verdict.outcome)
    leading = {question: multimode(found) for question, found in outcomes.items()}
    return {name: most[0] if len(most) == 1 else SPLIT for name, most in leading.items()}
