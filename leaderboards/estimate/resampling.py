"""BCa intervals of means (Efron 1987), many of them over as many questions.

What `scipy.stats.bootstrap` would draw with the same seed and batch is drawn once and kept as
counts: how often each question is in each resample. An interval then costs one product of counts
and values. Sums in another order differ in their last bit, which matters in one place: the bias
correction counts the resamples that equal the estimate. Those few are summed again as scipy sums
them, so that the intervals are scipy's (a test holds this).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

N_RESAMPLES = 4000
BATCH = 500
"""Resamples drawn at a time; the draws depend on it, so it is part of every interval."""

_KEPT_QUESTIONS = 800  # draws on more than that (40 MB) are made anew for every interval
_KEPT = 16
_NEAR = 1e-9

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class _Batch(NamedTuple):
    """Some resamples.

    Attributes:
        places: one array a sample, [resamples, questions]: which question was drawn.
        counts: one array a sample, [resamples, questions]: how often each question was drawn.
    """

    places: Sequence[NDArray[np.int32]]
    counts: Sequence[Matrix]


def bca(
    gains: Matrix, costs: Matrix | None = None, *, seed: int, confidence: float
) -> tuple[float, float]:
    """The interval of the mean of `gains` less that of `costs`; NaN where the data give none.

    Args:
        gains: [modes, questions]; their mean is the mean over modes of means over questions. NaN is
            left out, and so is a mode of which no question was drawn.
        costs: the same of other questions, resampled on their own; None if there are none.
        confidence: e.g. 0.95.
    """
    with np.errstate(all="ignore"):  # what the data do not give is told by the NaN
        return _bca([gains] if costs is None else [gains, costs], seed, confidence)


def _bca(samples: Sequence[Matrix], seed: int, confidence: float) -> tuple[float, float]:
    sizes = tuple(sample.shape[1] for sample in samples)
    all_drawn = [sample[:, np.arange(sample.shape[1])] for sample in samples]
    estimate = _difference([mean_over_modes(sample) for sample in all_drawn])
    resampled = []
    for places, counts in _resamples(sizes, seed):
        values = _difference(
            [_weighted(sample, weights) for sample, weights in zip(samples, counts, strict=True)]
        )
        near = np.flatnonzero(np.abs(values - estimate) < _NEAR)
        again = [sample[:, drawn[near]] for sample, drawn in zip(samples, places, strict=True)]
        values[near] = _difference([mean_over_modes(sample) for sample in again])
        resampled.append(values)
    together = np.concatenate(resampled)
    low, high = _quantiles(
        together, _levels(samples, float(estimate), together, (1.0 - confidence) / 2.0)
    )
    return low, high


def mean_over_modes(drawn: Matrix) -> Matrix:
    """[modes, ..., questions] -> [...]; a mode of which no question was drawn is left out."""
    if len(drawn) == 1:
        return np.asarray(drawn[0].mean(axis=-1))
    return _mean_of_numbers(_mean_of_numbers(drawn, -1), 0)


def _mean_of_numbers(values: Matrix, axis: int) -> Matrix:
    """`np.nanmean` without its warning, which no thread could silence for itself alone."""
    missing = np.isnan(values)
    filled = values.copy(order="K")
    filled[missing] = 0.0
    n = np.count_nonzero(~missing, axis=axis)
    sums = np.asarray(filled.sum(axis=axis))
    return np.asarray(np.divide(sums, n, out=np.full(sums.shape, np.nan), where=n > 0))


def _difference(means: Sequence[Matrix]) -> Matrix:
    return means[0] if len(means) == 1 else np.asarray(means[0] - means[1])


def _weighted(sample: Matrix, counts: Matrix) -> Vector:
    """`mean_over_modes` of every resample, to rounding.

    Args:
        sample: [modes, questions].
        counts: [resamples, questions].
    """
    there = ~np.isnan(sample)
    sums = np.nan_to_num(sample) @ counts.T
    n = np.full(sums.shape, sample.shape[1]) if there.all() else there @ counts.T
    return _over_modes(sums, n)


def _left_out(sample: Matrix) -> Vector:
    """`mean_over_modes` without each question in turn, to rounding."""
    there, values = ~np.isnan(sample), np.nan_to_num(sample)
    sums = values.sum(axis=1, keepdims=True) - values
    return _over_modes(sums, there.sum(axis=1, keepdims=True) - there)


def _over_modes(sums: Matrix, n: NDArray[Any]) -> Vector:
    """[modes, resamples], sums over n questions -> [resamples]; modes without any are left out."""
    asked = n > 0
    means = np.divide(sums, n, out=np.zeros_like(sums), where=asked)
    return np.asarray(means.sum(axis=0) / np.count_nonzero(asked, axis=0))


def _levels(
    samples: Sequence[Matrix], estimate: float, resampled: Vector, alpha: float
) -> tuple[float, float]:
    """Which quantiles of the resamples are the ends (Efron and Tibshirani 1993, section 14.3)."""
    below = np.count_nonzero(resampled < estimate) + np.count_nonzero(resampled <= estimate)
    bias = ndtri(below / (2 * len(resampled)))
    cubes = squares = np.float64(0.0)
    for sign, sample in zip((1.0, -1.0), samples, strict=False):
        left_out, n = sign * _left_out(sample), sample.shape[1]
        influence = (n - 1) * (left_out.mean() - left_out)
        cubes += (influence**3).sum() / n**3
        squares += (influence**2).sum() / n**2
    acceleration = cubes / squares**1.5 / 6.0
    shifted = [bias + z for z in (ndtri(alpha), -ndtri(alpha))]
    low, high = (ndtr(bias + one / (1.0 - acceleration * one)) for one in shifted)
    return float(low), float(high)


def _quantiles(values: Vector, levels: Sequence[float]) -> list[float]:
    """The quantiles with linear interpolation; NaN where the level is."""
    places = np.nan_to_num(levels) * (len(values) - 1)
    below, above = np.floor(places).astype(np.intp), np.ceil(places).astype(np.intp)
    found, share = np.partition(values, [*below, *above]), places % 1.0
    ends = (1.0 - share) * found[below] + share * found[above]
    quantiles: list[float] = np.where(np.isnan(levels), np.nan, ends).tolist()
    return quantiles


def _resamples(sizes: tuple[int, ...], seed: int) -> Iterable[_Batch]:
    return _kept(sizes, seed) if sum(sizes) <= _KEPT_QUESTIONS else _drawn(sizes, seed)


@lru_cache(maxsize=_KEPT)
def _kept(sizes: tuple[int, ...], seed: int) -> tuple[_Batch]:
    """All resamples as one batch."""
    places, counts = zip(*_drawn(sizes, seed), strict=True)
    whole = [
        [np.concatenate(parts) for parts in zip(*each, strict=True)] for each in (places, counts)
    ]
    return (_Batch(*whole),)


def _drawn(sizes: tuple[int, ...], seed: int) -> Iterator[_Batch]:
    draw = np.random.default_rng(seed)
    rows = np.arange(BATCH)[:, None]
    for _ in range(0, N_RESAMPLES, BATCH):
        places = [draw.integers(0, size, (BATCH, size)) for size in sizes]
        counts = [
            np.bincount((rows * size + drawn).ravel(), minlength=BATCH * size)
            .reshape(BATCH, size)
            .astype(np.float64)
            for size, drawn in zip(sizes, places, strict=True)
        ]
        yield _Batch([drawn.astype(np.int32) for drawn in places], counts)
