"""Where a method stands in its column: its rank, how sure that is, and how far it is from the best.

A family is one column of one model: all pairs of methods are tested and corrected together (Holm),
so that at most 1 column in 20 says anywhere that two equal methods differ. From the same tests
follows the rank interval: a method can be no better than one place behind those that are
distinguishably better, and no worse than as many places from the end as are distinguishably worse
(Mohamad, Goeman and van Zwet 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from greaves.base.records import Mode, Record
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.estimate.contrasts import Contrast, contrasts, told
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.estimate.paired import Parts

LEVEL = 0.05
"""Two methods are distinguishable if the adjusted p is below this."""

_PLACE = ("judge", "model", "metric", "task", "mode", "method")
_SAME = 1e-9


class AgainstBest(Record):
    """One method against the best of its column, paired by question.

    Attributes:
        difference: method minus best, in the metric's unit.
        low: lower end of the 95 % interval of the difference.
        high: upper end.
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
    against: dict[str, dict[str, Contrast]] = {}
    for one in pairs:
        against.setdefault(one.first, {})[one.second] = one
        against.setdefault(one.second, {})[one.first] = one
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
