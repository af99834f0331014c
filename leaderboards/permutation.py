"""Paired tests: sign flips, Holm's correction, and the smallest difference a run can detect.

All take *contributions*: a difference of two methods is a sum over questions, each of which adds
its own term (its paired difference over the number of questions). Under the hypothesis that the two
methods do not differ, exchanging them on any question only flips the sign of its term.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from greaves.leaderboards.statistics import CONFIDENCE, DEFAULT_SEED

EXACT = 15
"""Up to this many questions that differ, all sign patterns are counted; above, they are drawn."""

N_FLIPS = 9999
POWER = 0.80

_BATCH = 1000
_SAME = 1e-9

Matrix = NDArray[np.float64]


def sign_flip_p(contributions: Matrix, *, seed: int = DEFAULT_SEED) -> list[float]:
    """Two-sided p-values: how often flipped signs give a sum at least as far from 0.

    A question whose term is 0 changes nothing and costs nothing. Drawn p-values count the observed
    pattern too (Phipson and Smyth 2010), so that none is 0.

    Args:
        contributions: [comparisons, questions]; 0 where a comparison lacks the question. Drawn sign
            patterns are shared by all comparisons.
        seed: of the drawn sign patterns.
    """
    observed = np.abs(contributions.sum(axis=1)) - _SAME
    few = np.count_nonzero(contributions, axis=1) <= EXACT
    p = np.ones(len(contributions))
    for row in np.flatnonzero(few):
        terms = contributions[row][contributions[row] != 0]
        p[row] = np.mean(np.abs(_all_signs(terms.size) @ terms) >= observed[row])
    many = np.flatnonzero(~few)
    if many.size:
        draw, reached, terms = np.random.default_rng(seed), np.ones(many.size), contributions[many]
        for start in range(0, N_FLIPS, _BATCH):
            shape = (min(_BATCH, N_FLIPS - start), contributions.shape[1])
            signs = 2.0 * draw.integers(0, 2, size=shape, dtype=np.int8) - 1.0
            reached += np.sum(np.abs(signs @ terms.T) >= observed[many], axis=0)
        p[many] = reached / (N_FLIPS + 1)
    return [float(one) for one in p]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted over their family (Holm 1979), in the order given."""
    adjusted, running = [1.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def detectable(standard_error: float) -> float:
    """The smallest true difference that a two-sided test at 5 % finds with 80 % power.

    (z_.975 + z_.80) times the standard error of the paired difference; not corrected for testing
    several pairs.
    """
    return float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER)) * standard_error


def _all_signs(n: int) -> Matrix:
    """[2^n, n], every pattern of +1 and -1."""
    patterns = np.arange(2**n)[:, None] >> np.arange(n)
    return np.asarray(1.0 - 2.0 * (patterns & 1))


def standard_error(groups: Sequence[Sequence[float]]) -> float:
    """Standard error of a sum of contributions, from their spread within each group of questions.

    Args:
        groups: contributions of the harmful questions, of the benign ones, ...; NaN if a group has
            fewer than two questions.
    """
    if not groups or min(map(len, groups)) < 2:
        return math.nan
    return math.sqrt(sum(len(group) * float(np.var(group, ddof=1)) for group in groups))
