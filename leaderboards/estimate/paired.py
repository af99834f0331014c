"""Paired differences by question, and their tests.

All take *contributions*: a difference of two methods is a sum over questions, each of which adds
its own term (its paired difference over the number of questions). Under the hypothesis that the two
methods do not differ, exchanging them on any question only flips the sign of its term.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from greaves.leaderboards.estimate.statistics import CONFIDENCE, DEFAULT_SEED
from greaves.leaderboards.read.means import Means, aligned

EXACT = 15
"""Up to this many questions that differ, all sign patterns are counted; above, they are drawn."""

N_FLIPS = 9999
POWER = 0.80

_BATCH = 1000
_KEPT_QUESTIONS = 2000  # flips of more than that (20 MB) are drawn anew for every family
_SAME = 1e-9

Matrix = NDArray[np.float64]


class ByMethod(NamedTuple):
    """Contributions that are differences of two rows of a small matrix, which sums far sooner.

    Attributes:
        terms: [methods, questions].
        first, second: [comparisons], the rows whose difference a comparison is.
    """

    terms: Matrix
    first: NDArray[np.intp]
    second: NDArray[np.intp]


class Part(NamedTuple):
    """One addend of a metric: `weight` times the mean over questions of `means`.

    `group` tells questions apart that share an id but are not the same (harmful, benign). NSI is
    -ASR - ORR and a constant of the vanilla model, which no difference of two methods depends on.
    """

    weight: float
    group: str
    means: Mapping[str, float]


Parts = Sequence[Part]
"""A metric of one method as a sum over questions; the methods compared have the same parts."""


@dataclass(frozen=True)
class Contributions:
    """Contributions of the questions that any two methods share.

    Attributes:
        groups: one matrix a group of questions, [pairs, questions]; NaN where the two methods do
            not share the question, or share none at all in one of the parts.
        by_method: the same as differences of methods; None if methods lack different questions.
    """

    groups: Sequence[Matrix]
    by_method: ByMethod | None

    @property
    def terms(self) -> Matrix:
        """[pairs, questions] of all groups side by side; 0 where a pair lacks the question."""
        return np.nan_to_num(np.hstack(self.groups))


def contributions(
    methods: Sequence[Parts], first: NDArray[np.intp], second: NDArray[np.intp]
) -> Contributions:
    """Pair methods question by question.

    Args:
        methods: the same parts in the same order for every method.
        first: [pairs], place of one method in `methods`.
        second: [pairs], place of the other.
    """
    groups: list[Matrix] = []
    by_method: list[Matrix] | None = []
    shared = np.ones(len(first), dtype=bool)
    for group in sorted({part.group for part in methods[0]}):
        parts = [place for place, part in enumerate(methods[0]) if part.group == group]
        means = [Means.of(method[place].means) for place in parts for method in methods]
        ids, together = aligned(means)
        terms, found = np.zeros((len(first), len(ids))), np.zeros((len(first), len(ids)), bool)
        own = np.zeros((len(methods), len(ids)))
        by_part = together.reshape(len(parts), len(methods), len(ids))
        for place, values in zip(parts, by_part, strict=True):
            weight, there = methods[0][place].weight, ~np.isnan(values)
            both = there[first] & there[second]
            n = np.count_nonzero(both, axis=1)
            difference = np.where(both, values[first] - values[second], 0.0)
            terms += weight * difference / np.maximum(n, 1)[:, None]
            found |= both
            shared &= n > 0
            own += weight * np.nan_to_num(values) / max(1, int(np.count_nonzero(there[0])))
            by_method = by_method if (there == there[0]).all() else None
        kept = found.any(axis=0)
        groups.append(np.where(found, terms, np.nan)[:, kept])
        by_method = None if by_method is None else [*by_method, own[:, kept]]
    for terms in groups:
        terms[~shared] = np.nan
    asked = [~np.isnan(terms).all(axis=0) for terms in groups]
    rows = None
    if by_method is not None and shared.all():
        rows = ByMethod(np.hstack(by_method), first, second)
    return Contributions([terms[:, kept] for terms, kept in zip(groups, asked, strict=True)], rows)


def sign_flip_p(
    contributions: Matrix, *, seed: int = DEFAULT_SEED, by_method: ByMethod | None = None
) -> list[float]:
    """Two-sided p-values: how often flipped signs give a sum at least as far from 0.

    A question whose term is 0 changes nothing and costs nothing. Drawn p-values count the observed
    pattern too (Phipson and Smyth 2010), so that none is 0.

    Args:
        contributions: [comparisons, questions]; 0 where a comparison lacks the question. Drawn sign
            patterns are shared by all comparisons.
        by_method: the same contributions, if they are differences of methods.
    """
    observed = np.abs(contributions.sum(axis=1)) - _SAME
    few = np.count_nonzero(contributions, axis=1) <= EXACT
    p = np.ones(len(contributions))
    for row in np.flatnonzero(few):
        terms = contributions[row][contributions[row] != 0]
        p[row] = np.mean(np.abs(_all_signs(terms.size) @ terms) >= observed[row])
    many = np.flatnonzero(~few)
    if many.size:
        reached = np.ones(many.size)
        for signs in _flips(contributions.shape[1], seed):
            if by_method is None:
                sums = contributions[many] @ signs.T
            else:
                each = by_method.terms @ signs.T
                sums = each[by_method.first[many]] - each[by_method.second[many]]
            reached += np.count_nonzero(np.abs(sums) >= observed[many, None], axis=1)
        p[many] = reached / (N_FLIPS + 1)
    return [float(one) for one in p]


def _flips(questions: int, seed: int) -> Iterator[Matrix]:
    """[patterns, questions] of +1 and -1, `N_FLIPS` patterns in all."""
    kept = _kept_flips(questions, seed) if questions <= _KEPT_QUESTIONS else None
    for flips in kept or _drawn_flips(questions, seed):
        yield 2.0 * flips.astype(np.float64) - 1.0


@lru_cache(maxsize=8)
def _kept_flips(questions: int, seed: int) -> tuple[NDArray[np.int8], ...]:
    return tuple(_drawn_flips(questions, seed))


def _drawn_flips(questions: int, seed: int) -> Iterator[NDArray[np.int8]]:
    draw = np.random.default_rng(seed)
    for start in range(0, N_FLIPS, _BATCH):
        shape = (min(_BATCH, N_FLIPS - start), questions)
        yield draw.integers(0, 2, size=shape, dtype=np.int8)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted over their family (Holm 1979), in the order given."""
    adjusted, running = [1.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def detectable(standard_error: Matrix) -> Matrix:
    """The smallest true difference that a two-sided test at 5 % finds with 80 % power.

    (z_.975 + z_.80) times the standard error of the paired difference; not corrected for testing
    several pairs.
    """
    return float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER)) * standard_error


def _all_signs(n: int) -> Matrix:
    """[2^n, n], every pattern of +1 and -1."""
    patterns = np.arange(2**n)[:, None] >> np.arange(n)
    return np.asarray(1.0 - 2.0 * (patterns & 1))


def standard_error(groups: Sequence[ArrayLike]) -> Matrix:
    """Standard error of a sum of contributions, from their spread within each group of questions.

    Args:
        groups: contributions of the harmful questions, of the benign ones, ..., each
            [..., questions]; NaN where a comparison lacks the question.

    Returns:
        [...]; NaN if a group has fewer than two questions.
    """
    total = np.zeros(())
    for group in groups:
        terms = np.asarray(group, dtype=np.float64)
        there = ~np.isnan(terms)
        n = np.count_nonzero(there, axis=-1)
        mean = np.nan_to_num(terms).sum(axis=-1) / np.maximum(n, 1)
        squares = np.where(there, (terms - mean[..., None]) ** 2, 0.0).sum(axis=-1)
        total = total + np.where(n >= 2, n * (squares / np.maximum(n - 1, 1)), np.nan)
    return np.asarray(np.sqrt(total))
