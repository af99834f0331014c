"""The leaderboard as rows: one metric of one method on one model, with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import stdev
from typing import NamedTuple

from greaves.leaderboards import net, statistics
from greaves.leaderboards.contrasts import Parts, level_parts, net_parts
from greaves.leaderboards.metrics import LEVELS, PERCENT, Metric, unit
from greaves.leaderboards.row import Row
from greaves.leaderboards.slices import (
    VANILLA,
    Slice,
    by_model,
    nsi_tasks,
    sort_verdicts,
)
from greaves.leaderboards.standing import AgainstBest, stand
from greaves.leaderboards.statistics import DEFAULT_SEED, Estimate
from greaves.records import Mode, Verdict

__all__ = ["LEVELS", "PERCENT", "Board", "Metric", "Row", "board", "leaderboard"]


class Board(NamedTuple):
    """A whole leaderboard.

    Attributes:
        rows: every number (see `Row`).
        tests: every method against the best of its column.
    """

    rows: list[Row]
    tests: list[AgainstBest]


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
    return board(verdicts, label=label, seed=seed).rows


def board(verdicts: Iterable[Verdict], *, label: str = "", seed: int = DEFAULT_SEED) -> Board:
    """The rows, and every method against the best of its column.

    Arguments and errors are those of `leaderboard`.
    """
    slices = sort_verdicts(verdicts)
    whole = Board([], [])
    for (judge, _), group in by_model(slices).items():
        tasks = nsi_tasks(one.key for one in slices if one.judge == judge)
        methods = list(dict.fromkeys(one.method for one in group))
        sides = {name: net.side(_of(group, name), tasks) for name in methods}
        rows: list[Row] = []
        for method in methods:
            rows += [_level(one, label, seed) for one in _of(group, method)]
            if method != VANILLA and VANILLA in sides:
                rows += _net_rows(sides[VANILLA], sides[method], label, seed)
        ranked, tests = _ranked(rows, group, sides, seed)
        whole.rows.extend(ranked)
        whole.tests.extend(tests)
    return whole


def _ranked(
    rows: Sequence[Row], group: Sequence[Slice], sides: Mapping[str, net.Side], seed: int
) -> tuple[list[Row], list[AgainstBest]]:
    """Rank every column of one model; the rows keep their order."""
    slices = {(one.method, one.key.task): one for one in group}
    families: dict[tuple[Metric, str | None], list[Row]] = {}
    for row in rows:
        families.setdefault((row.metric, row.task), []).append(row)

    def parts(row: Row) -> Parts:
        if row.metric in LEVELS.values():
            return level_parts(slices[row.method, str(row.task)])
        return net_parts(
            sides[row.method], [row.mode] if row.mode else list(sides[VANILLA].harmful)
        )

    ranked: dict[tuple[str, Metric, str | None], Row] = {}
    tests: list[AgainstBest] = []
    for family in families.values():
        placed, found = stand(family, {row.method: parts(row) for row in family}, seed=seed)
        ranked |= {(row.method, row.metric, row.task): row for row in placed}
        tests += found
    return [ranked[row.method, row.metric, row.task] for row in rows], tests


def _of(group: list[Slice], method: str) -> list[Slice]:
    return [one for one in group if one.method == method]


def _level(one: Slice, label: str, seed: int) -> Row:
    """The ASR, ORR or HS row of one slice."""
    metric = LEVELS[one.key.kind]
    estimator, factor = statistics.score if metric == "hs" else statistics.rate, unit(metric)
    means = list(one.per_question().values())
    per_seed = {each: list(one.per_question(each).values()) for each in one.seeds}
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
        cases=one.cases(),
        label=label,
    ).model_copy(update=_any(one, seed) if metric == "asr" else {})


def _any(one: Slice, seed: int) -> dict[str, float | None]:
    """ASR-any of a slice, as fields of its row."""
    found = statistics.any_rate(list(one.responses().values()), seed=seed).times(PERCENT)
    ends = {"any_value": found.value, "any_low": found.low, "any_high": found.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()}


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
