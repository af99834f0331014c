"""The leaderboard as rows: one metric of one method on one model, with its 95 % interval.

A row also tells where a method stands in its column: its rank, how sure that is, and how far it is
from the best.

A family is one column of one model: all pairs of methods are tested and corrected together (Holm),
so that at most 1 column in 20 says anywhere that two equal methods differ. From the same tests
follows the rank interval: a method can be no better than one place behind those that are
distinguishably better, and no worse than as many places from the end as are distinguishably worse
(Mohamad, Goeman and van Zwet 2019).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

from greaves.base.records import Mode, Record, Verdict
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.estimate.contrasts import Contrast, contrasts, told
from greaves.leaderboards.estimate.metric import (
    After,
    Answered,
    Case,
    Measured,
    Metric,
    metric_of,
    metrics,
)
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.estimate.paired import Parts
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import VANILLA, Slice, by_model, sort_verdicts, split

LEVEL = 0.05
"""Two methods are distinguishable if the adjusted p is below this."""

_PLACE = ("judge", "model", "metric", "task", "mode", "method")
_SAME = 1e-9
_THREADS = 4


class AgainstBest(Record):
    """One method against the best of its column, paired by question.

    Attributes:
        difference: method minus best, in the metric's unit.
        low, high: ends of its 95 % interval.
        p: two-sided, sign-flip test.
        p_holm: p adjusted over all pairs of methods of this model and column.
        detectable: smallest difference that this pair of runs would find with 80 % power.
        n_questions: questions that both answered.
    """

    judge: str
    model: str
    metric: str
    task: str | None
    mode: Mode | None
    best: str
    method: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float | None
    n_questions: int


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

    ASR for every harmful task, ORR for every benign one, HS for every chat one, metrics of other
    packages where they ask; then, for every method but vanilla, NSI per mode and Avg. NSI against
    the vanilla rows of the same model and judge. Which tasks enter NSI is told by `nsi_tasks`. NSI
    is paired on the questions that both answered (`greaves.leaderboards.board.notes.gaps` tells
    where some are left out), and Avg. NSI is given only where the method covers every mode that
    vanilla covers. Verdicts of different judges are never mixed. Several training seeds of a method
    are pooled question by question.

    A cell under a stress (`rrs~benign-finetuning`) is not a method of its own: what it answered
    becomes further metrics of the method (`asr_after` and so on), and NSI after is against vanilla
    as it was before any stress.

    Args:
        verdicts: in any order; the rows do not depend on it.

    Returns:
        Rows by judge, model, method (vanilla first), and metric.

    Raises:
        GreavesError: verdicts that cannot stand in one table (see `sort_verdicts`).
    """
    return board_of(sort_verdicts(verdicts), label=label, seed=seed).rows


def board_of(slices: Sequence[Slice], *, label: str = "", seed: int = DEFAULT_SEED) -> Board:
    """`leaderboard` of sorted verdicts, and every method against the best of its column."""
    tasks = {
        judge: nsi_tasks(one.key for one in slices if one.judge == judge)
        for judge in dict.fromkeys(one.judge for one in slices)
    }
    groups, known = by_model(slices), metrics()

    def of_group(name: tuple[str, str]) -> Board:
        return _of_model(groups[name], tasks[name[0]], known, label, seed)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        parts = list(threads.map(of_group, groups))
    return Board([row for part in parts for row in part.rows], [t for p in parts for t in p.tests])


_Found: TypeAlias = tuple[Metric, Measured]


def _of_model(
    group: Sequence[Slice],
    tasks: tuple[Mapping[Mode, str], str | None],
    known: Sequence[Metric],
    label: str,
    seed: int,
) -> Board:
    """The board of one model and judge."""
    before, after = (answered(part, tasks) for part in split(group))
    plain = [one for one in known if not one.stressed]
    stressed = [*(After(one) for one in plain), *(one for one in known if one.stressed)]
    vanilla = before.get(VANILLA)
    found: list[_Found] = []
    for method in dict.fromkeys([*before, *after]):
        if method in before:
            rival = vanilla if method != VANILLA else None
            found += _measured(plain, Case(before[method], seed, rival))
        if method in after:
            found += _measured(stressed, Case(after[method], seed, vanilla, before.get(method)))
    return _ranked([Row.of(metric, one, label) for metric, one in found], found, seed)


def answered(
    slices: Iterable[Slice], tasks: tuple[Mapping[Mode, str], str | None]
) -> dict[str, Answered]:
    """Method -> what it answered; slices of one model and judge, in order."""
    by_method: dict[str, dict[str, Slice]] = {}
    for one in slices:
        by_method.setdefault(one.method, {})[one.key.task] = one
    return {method: Answered(own, tasks) for method, own in by_method.items()}


def _measured(metrics: Sequence[Metric], case: Case) -> list[_Found]:
    """All metrics of one method: by task and metric, then what rests on several tasks."""
    found = [(metric, one) for metric in metrics for one in metric.measure(case)]

    def place(item: _Found) -> tuple[object, ...]:
        metric, one = item
        alone = len(one.slices) == 1
        return (not alone, one.slices[0].order if alone else (), metric.order)

    return sorted(found, key=place)


def _ranked(rows: Sequence[Row], found: Sequence[_Found], seed: int) -> Board:
    """Rank every column of one model; the rows keep their order."""
    families: dict[tuple[str, str | None], list[int]] = {}
    for place, (row, (_, one)) in enumerate(zip(rows, found, strict=True)):
        if one.parts:
            families.setdefault((row.metric, row.task), []).append(place)
    ranked, tests = list(rows), []
    for places in families.values():
        parts = {rows[place].method: found[place][1].parts for place in places}
        placed, against = stand([rows[place] for place in places], parts, seed=seed)
        tests += against
        for place, row in zip(places, placed, strict=True):
            ranked[place] = row
    return Board(ranked, tests)


def stand(
    rows: Sequence[Row], parts: Mapping[str, Parts], *, seed: int
) -> tuple[list[Row], list[AgainstBest]]:
    """Rank the rows of one family.

    Args:
        rows: one a method; of one model, judge, metric and task.
        parts: method -> what its value is the sum of.

    Returns:
        The rows with rank, rank interval and distance from the best, and the tests against it.
        Rows without a value, and a row alone, come back as they are.
    """
    metric = metric_of(rows[0].metric)
    values = {row.method: metric.advantage(row.value) for row in rows if row.value is not None}
    if len(values) < 2:
        return list(rows), []
    best = max(values, key=lambda name: values[name])
    pairs = contrasts(metric, {name: parts[name] for name in values}, seed=seed)
    against: dict[str, dict[str, Contrast]] = {name: {} for name in values}
    for one in pairs:
        against[one.first][one.second] = against[one.second][one.first] = one
    ranked = [
        row.model_copy(update=_place(row.method, best, values, against[row.method]))
        if row.method in values
        else row
        for row in rows
    ]
    tests = [
        AgainstBest(
            **{name: getattr(row, name) for name in _PLACE},
            best=best,
            **told(metric, pair, parts[row.method], parts[best], seed=seed),
        )
        for row in rows
        if (pair := against[best].get(row.method)) and pair.n_questions
    ]
    return ranked, tests


def detectable_differences(tests: Iterable[AgainstBest]) -> list[str]:
    """One line a model and judge: the differences that this run could have found."""
    spans: dict[tuple[str, str], dict[str, list[float]]] = {}
    for test in tests:
        if test.detectable is not None:
            columns = spans.setdefault((test.model, test.judge), {})
            columns.setdefault(metric_of(test.metric).title, []).append(test.detectable)
    return [
        f"{model}, {judge}: smallest paired difference found with 80 % power (one test at 5 %): "
        + ", ".join(f"{column} {_span(found)}" for column, found in columns.items())
        for (model, judge), columns in spans.items()
    ]


def _place(
    method: str, best: str, values: Mapping[str, float], against: Mapping[str, Contrast]
) -> dict[str, object]:
    p_of = {name: pair.p_holm for name, pair in against.items()}
    differing = [name for name, p in p_of.items() if p < LEVEL]
    better = sum(values[name] > values[method] for name in differing)
    worse = sum(values[name] < values[method] for name in differing)
    own = values[method] + _SAME
    return {
        "rank": 1 + sum(value > own for value in values.values()),
        "rank_low": 1 + better,
        "rank_high": len(values) - worse,
        "p_best": p_of.get(best),
        "distinguishable_from_best": best in differing,
    }


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"
