"""Method against method, paired by question, within one model, one judge and one metric."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from greaves.leaderboards.estimate import paired, statistics
from greaves.leaderboards.estimate.metric import Metric
from greaves.leaderboards.estimate.paired import Parts
from greaves.leaderboards.estimate.statistics import Estimate
from greaves.leaderboards.read.means import Means, aligned


@dataclass(frozen=True)
class Contrast:
    """The difference of two methods, first minus second, in the metric's own unit.

    Attributes:
        value: mean paired difference; NaN if the two share no scored question.
        p: two-sided, of the sign-flip test.
        p_holm: p adjusted over the family, all pairs of methods in this column.
        detectable: smallest difference found with 80 % power; NaN below two questions.
        n_questions: scored questions that both share.
    """

    first: str
    second: str
    value: float
    p: float
    p_holm: float
    detectable: float
    n_questions: int


def contrasts(metric: Metric, methods: Mapping[str, Parts], *, seed: int) -> list[Contrast]:
    """All pairs of methods of one family, tested and corrected together (Holm).

    Args:
        methods: name -> parts, the same parts in the same order for every method.
    """
    pairs = list(itertools.combinations(methods, 2))
    if not pairs:
        return []
    first, second = np.array(list(itertools.combinations(range(len(methods)), 2))).T
    found = paired.contributions(list(methods.values()), first, second)
    terms = found.terms
    p_values = paired.sign_flip_p(terms, seed=seed, by_method=found.by_method)
    shared = sum(np.count_nonzero(~np.isnan(group), axis=1) for group in found.groups)
    n = np.asarray(shared).tolist()
    sums = (metric.unit * math.fsum(row) for row in terms.tolist())
    values = [value if own else math.nan for value, own in zip(sums, n, strict=True)]
    least = metric.unit * paired.detectable(paired.standard_error(found.groups))
    columns = (values, p_values, paired.holm(p_values), least.tolist(), n)
    return [Contrast(*pair, *numbers) for pair, *numbers in zip(pairs, *columns, strict=True)]


def told(
    metric: Metric, pair: Contrast, first: Parts, second: Parts, *, seed: int
) -> dict[str, Any]:
    """A contrast as it is written: `difference` with `low` and `high`, `p`, `p_holm`, `detectable`
    (None below two questions), `n_questions`."""
    estimate = interval(metric, first, second, seed=seed)
    return {
        **{"difference": estimate.value, "low": estimate.low, "high": estimate.high},
        **{"p": pair.p, "p_holm": pair.p_holm, "n_questions": pair.n_questions},
        "detectable": None if math.isnan(pair.detectable) else pair.detectable,
    }


def interval(metric: Metric, first: Parts, second: Parts, *, seed: int) -> Estimate:
    """The paired difference with its 95 % interval, in the metric's own unit."""
    pairs = zip(first, second, strict=True)
    apart = [Means.of(one.means).minus(Means.of(other.means)) for one, other in pairs]
    if len(apart) == 1:
        return metric.difference(apart[0].present, seed)
    *harmful, benign = apart
    _, gains = aligned(harmful)
    return statistics.average_nsi(-gains, benign.present, seed=seed).times(metric.unit)
