"""The leaderboard as rows: one metric of one method on one model, with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from greaves.leaderboards import net, statistics
from greaves.leaderboards.slices import (
    VANILLA,
    Slice,
    by_model,
    nsi_tasks,
    sort_verdicts,
)
from greaves.leaderboards.statistics import DEFAULT_SEED, Estimate
from greaves.records import Kind, Mode, Verdict

Metric = Literal["asr", "orr", "nsi", "avg_nsi", "hs"]

PERCENT = 100.0
LEVELS: Mapping[Kind, Metric] = {"harmful": "asr", "benign": "orr", "chat": "hs"}


class Row(BaseModel):
    """One number of the leaderboard.

    Attributes:
        task: task the metric was measured on; for NSI the harmful one; None for Avg. NSI.
        mode: mode of that task; None for Avg. NSI.
        value: asr, orr in percent; nsi, avg_nsi in percentage points; hs on 0-10. None: no data.
        low: lower end of the 95 % interval over questions.
        high: upper end.
        n_questions: questions the value rests on (for NSI paired with vanilla, harmful and benign;
            for Avg. NSI a question that several modes ask counts once).
        n_responses: responses of this method to the task (for NSI: to the tasks that enter it),
            unscored ones included.
        n_unscored: responses without a usable verdict; they are missing, never 0 and never safe.
        seeds: training seeds that the value pools.
        per_seed: value per training seed; seeds without data are left out.
        label: what must be said of the whole run, e.g. "pocket".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    method: str
    task: str | None
    mode: Mode | None
    metric: Metric
    value: float | None
    low: float | None
    high: float | None
    n_questions: int
    n_responses: int
    n_unscored: int
    judge: str
    seeds: list[int]
    per_seed: dict[str, float]
    label: str = ""

    @field_validator("value", "low", "high")
    @classmethod
    def _no_nan(cls, number: float | None) -> float | None:
        return None if number is None or math.isnan(number) else number


def leaderboard(
    verdicts: Iterable[Verdict], *, label: str = "", seed: int = DEFAULT_SEED
) -> list[Row]:
    """Verdicts in, rows out.

    ASR for every harmful task, ORR for every benign one, HS for every chat one; then, for every
    method but vanilla, NSI per mode and Avg. NSI against the vanilla rows of the same model and
    judge. Which tasks enter NSI is told by `nsi_tasks`. NSI is paired on the questions that both
    answered (`greaves.leaderboards.notes.gaps` tells where that left some out), and Avg. NSI is
    given only where the method covers every mode that vanilla covers. Verdicts of different judges
    are never mixed. Several training seeds of a method are pooled question by question.

    Args:
        verdicts: in any order; the rows do not depend on it.
        label: copied to every row.
        seed: of the bootstrap.

    Returns:
        Rows by judge, model, method (vanilla first), and metric.

    Raises:
        GreavesError: verdicts that cannot stand in one table (see `sort_verdicts`).
    """
    slices = sort_verdicts(verdicts)
    rows: list[Row] = []
    for (judge, _), group in by_model(slices).items():
        tasks = nsi_tasks(one.key for one in slices if one.judge == judge)
        methods = list(dict.fromkeys(one.method for one in group))
        sides = {name: net.side(_of(group, name), tasks) for name in methods}
        for method in methods:
            rows += [_level(one, label, seed) for one in _of(group, method)]
            if method != VANILLA and VANILLA in sides:
                rows += _net_rows(sides[VANILLA], sides[method], label, seed)
    return rows


def _of(group: list[Slice], method: str) -> list[Slice]:
    return [one for one in group if one.method == method]


def _level(one: Slice, label: str, seed: int) -> Row:
    """The ASR, ORR or HS row of one slice."""
    metric = LEVELS[one.key.kind]
    estimator, unit = (statistics.score, 1.0) if metric == "hs" else (statistics.rate, PERCENT)
    means = list(one.per_question().values())
    per_seed = {each: list(one.per_question(each).values()) for each in one.seeds}
    return _row(
        [one],
        metric,
        estimator(means, seed=seed).times(unit),
        n_questions=len(means),
        per_seed={
            each: unit * math.fsum(values) / len(values)
            for each, values in per_seed.items()
            if values
        },
        label=label,
    )


def _net_rows(vanilla: net.Side, method: net.Side, label: str, seed: int) -> list[Row]:
    """NSI of every mode that both sides cover, then Avg. NSI if that is all of vanilla's modes."""
    modes = net.shared_modes(vanilla, method)
    wanted: list[tuple[Metric, list[Mode]]] = [("nsi", [mode]) for mode in modes]
    if modes and modes == list(vanilla.harmful):
        wanted.append(("avg_nsi", modes))
    return [_net_row(vanilla, method, metric, over, label, seed) for metric, over in wanted]


def _net_row(
    vanilla: net.Side, method: net.Side, metric: Metric, modes: list[Mode], label: str, seed: int
) -> Row:
    entering = method.entering(modes)
    pooled = net.differences(vanilla, method, modes)
    seeds = sorted({each for one in entering for each in one.seeds})
    per_seed = {each: net.differences(vanilla, method, modes, each) for each in seeds}
    return _row(
        entering,
        metric,
        pooled.estimate(seed).times(PERCENT),
        n_questions=pooled.n_questions,
        per_seed={
            each: PERCENT * paired.value for each, paired in per_seed.items() if paired.complete
        },
        label=label,
    )


def _row(
    slices: Sequence[Slice],
    metric: Metric,
    estimate: Estimate,
    *,
    n_questions: int,
    per_seed: Mapping[int, float],
    label: str,
) -> Row:
    """A row on one method's `slices`; the first gives its coordinates."""
    first = slices[0]
    counts = [one.counts() for one in slices]
    return Row(
        model=first.model,
        method=first.method,
        task=None if metric == "avg_nsi" else first.key.task,
        mode=None if metric == "avg_nsi" else first.key.mode,
        metric=metric,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n_questions=n_questions,
        n_responses=sum(responses for responses, _ in counts),
        n_unscored=sum(unscored for _, unscored in counts),
        judge=first.judge,
        seeds=sorted({each for one in slices for each in one.seeds}),
        per_seed={str(each): value for each, value in per_seed.items()},
        label=label,
    )
