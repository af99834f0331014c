"""One row at a time: what a metric of one method comes to, with its interval and its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev

from greaves.base.records import Mode
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.estimate import net, statistics
from greaves.leaderboards.estimate.contrasts import interval, level_parts
from greaves.leaderboards.estimate.metrics import LEVELS, PERCENT, Metric, cases, unit
from greaves.leaderboards.estimate.statistics import Estimate
from greaves.leaderboards.read.slices import Slice


def change_row(before: Slice, after: Slice, label: str, seed: int) -> Row:
    """ASR after minus ASR before, paired by question."""
    estimate = interval("asr", level_parts(after), level_parts(before), seed=seed)
    shared = before.per_question().minus(after.per_question())
    responses, unscored = after.counts()
    return Row(
        model=after.model,
        method=after.method,
        task=after.key.task,
        mode=after.key.mode,
        metric="asr_change",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n_questions=len(shared),
        n_responses=responses,
        n_unscored=unscored,
        judge=after.judge,
        seeds=after.seeds,
        per_seed={},
        label=label,
    )


def level_row(one: Slice, label: str, seed: int) -> Row:
    """The ASR, ORR or HS row of one slice."""
    metric = LEVELS[one.key.kind]
    estimator, factor = statistics.score if metric == "hs" else statistics.rate, unit(metric)
    means = one.per_question().present
    per_seed = {each: one.per_question(each).present.tolist() for each in one.seeds}
    return _row(
        [one],
        metric,
        estimator(means, seed=seed).times(factor),
        n_questions=len(means),
        per_seed={
            each: factor * math.fsum(values) / len(values)
            for each, values in per_seed.items()
            if values
        },
        cases=cases(one),
        label=label,
    ).model_copy(update=_any(one, seed) if metric == "asr" else {})


def _any(one: Slice, seed: int) -> dict[str, float | None]:
    """ASR-any of a slice, as fields of its row."""
    found = statistics.any_rate(one.responses(), seed=seed).times(PERCENT)
    ends = {"any_value": found.value, "any_low": found.low, "any_high": found.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()}


def net_rows(vanilla: net.Side, method: net.Side, label: str, seed: int) -> list[Row]:
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
        cases=net.cases(vanilla, method, modes),
        label=label,
    )


def _row(
    slices: Sequence[Slice],
    metric: Metric,
    estimate: Estimate,
    *,
    n_questions: int,
    per_seed: Mapping[int, float],
    cases: tuple[float, float],
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
        worst_case=unit(metric) * cases[0],
        best_case=unit(metric) * cases[1],
        seed_sd=stdev(per_seed.values()) if len(per_seed) > 1 else None,
    )
