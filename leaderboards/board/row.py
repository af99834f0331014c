"""One row of a leaderboard: one metric of one method on one model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from statistics import stdev
from typing import Self

from pydantic import field_validator

from greaves.base.records import Mode, Record
from greaves.leaderboards.estimate.metric import Level, Measured, Metric, metric_of
from greaves.leaderboards.read.slices import TaskKey


class Row(Record):
    """One number of the leaderboard.

    Attributes:
        task: task the metric was measured on; for NSI the harmful one; None for Avg. NSI.
        mode: mode of that task; None for Avg. NSI.
        metric: name of the metric (see `greaves.leaderboards.estimate.metric`).
        value: in the metric's unit (percent, percentage points, score); None: no data.
        low, high: ends of the 95 % interval over questions.
        n_questions: questions the value rests on (for NSI paired with vanilla, harmful and benign;
            for Avg. NSI a question that several modes ask counts once).
        n_responses: responses of this method to the task (for NSI: to the tasks that enter it),
            unscored ones included.
        n_unscored: responses without a usable verdict; they are missing, never 0 and never safe.
        seeds: training seeds that the value pools.
        per_seed: value per training seed; seeds without data are left out.
        label: what must be said of the whole run, e.g. "pocket".
        any_value: for ASR, the share of questions (%) to which any sampled response is harmful.
        any_low, any_high: ends of its 95 % interval.
        worst_case: value if every unscored response (for NSI: of vanilla, too) had counted against
            the method.
        best_case: value if every one had counted for it.
        seed_sd: standard deviation over training seeds; None with fewer than two.
        rank: place in its column (model, judge, metric, task), 1 is best; None if alone.
        rank_low, rank_high: best and worst place that the tests leave open.
        p_best: adjusted p of the difference from the best; None for the best itself.
        distinguishable_from_best: whether p_best is below .05; False for the best itself.
    """

    model: str
    method: str
    task: str | None
    mode: Mode | None
    metric: str
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
    any_value: float | None = None
    any_low: float | None = None
    any_high: float | None = None
    worst_case: float | None = None
    best_case: float | None = None
    seed_sd: float | None = None
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    p_best: float | None = None
    distinguishable_from_best: bool | None = None

    @field_validator("value", "low", "high", "any_value", "any_low", "any_high")
    @classmethod
    def _no_nan(cls, number: float | None) -> float | None:
        return None if number is None or math.isnan(number) else number

    @classmethod
    def of(cls, metric: Metric, found: Measured, label: str) -> Self:
        """The row of what a metric came to."""
        first = found.slices[0]
        counts = [one.counts() for one in found.slices]
        worst, best = found.cases or (None, None)
        further = found.any_response
        return cls(
            model=first.model,
            method=first.method,
            task=None if found.over_modes else first.key.task,
            mode=None if found.over_modes else first.key.mode,
            metric=metric.name,
            **asdict(found.estimate),
            n_questions=found.n_questions,
            n_responses=sum(responses for responses, _ in counts),
            n_unscored=sum(unscored for _, unscored in counts),
            judge=first.judge,
            seeds=sorted({each for one in found.slices for each in one.seeds}),
            per_seed={str(each): value for each, value in found.per_seed.items()},
            label=label,
            any_value=further.value if further else None,
            any_low=further.low if further else None,
            any_high=further.high if further else None,
            worst_case=worst,
            best_case=best,
            seed_sd=stdev(found.per_seed.values()) if len(found.per_seed) > 1 else None,
        )


def task_keys(rows: Iterable[Row]) -> set[TaskKey]:
    """The tasks of rows whose metric tells the kind of their questions."""
    found = set()
    for row in rows:
        metric = metric_of(row.metric)
        level = getattr(metric, "base", metric)
        if isinstance(level, Level) and row.mode and row.task:
            found.add(TaskKey(level.kind, row.mode, row.task))
    return found
