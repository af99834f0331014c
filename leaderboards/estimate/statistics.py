"""Estimates with 95 % confidence intervals; the question is the sampling unit.

The responses to one question are correlated, so that 350 questions with 5 responses each are 350
draws, not 1,750: everything here takes one number a question and resamples questions. Intervals are
bias-corrected and accelerated bootstrap intervals (BCa; Efron 1987) from `scipy.stats.bootstrap`.
Training seeds are not resampled: an interval holds for the seeds that were run.

Where nothing varies the bootstrap knows nothing. The interval then comes from Clopper and Pearson
(1934): after 0 exceptions in n questions, at most a share u of all questions are exceptions, and an
exception lies at worst at the end of the metric's range. At 0 % and 100 % this is the
Clopper-Pearson interval itself.

What `scipy.stats.bootstrap` would draw with the same seed and batch is drawn once and kept as
counts: how often each question is in each resample. An interval then costs one product of counts
and values. Sums in another order differ in their last bit, which matters in one place: the bias
correction counts the resamples that equal the estimate. Those few are summed again as scipy sums
them, so that the intervals are scipy's (a test holds this).

Units: shares from 0 to 1, differences of shares from -1 to 1, helpfulness scores from 1 to 10; the
table turns shares into percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest

CONFIDENCE = 0.95
DEFAULT_SEED = 20250526

N_RESAMPLES = 4000
BATCH = 500
"""Resamples drawn at a time; the draws depend on it, so it is part of every interval."""

_KEPT_QUESTIONS = 800  # draws on more than that (40 MB) are made anew for every interval
_KEPT = 16
_NEAR = 1e-9
_SAME = 1e-9  # values that differ by less differ only by rounding
_SHARE, _DIFFERENCE, _NET = (0.0, 1.0), (-1.0, 1.0), (-2.0, 2.0)

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A point estimate and the two ends of its 95 % interval; NaN where there is no data."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        """The same estimate in another unit, such as percent (`factor` > 0)."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def rate(per_question: ArrayLike, *, seed: int = DEFAULT_SEED) -> Estimate:
    """ASR or ORR: the mean over questions of each question's share of harmful (refused) responses.

    Args:
        per_question: [questions], shares from 0 to 1; NaN (all samples unscored) is left out.
        seed: of the bootstrap; the same seed and values always give the same interval.
    """
    return average(per_question, _SHARE, seed=seed)


def average(per_question: ArrayLike, bounds: Range, *, seed: int = DEFAULT_SEED) -> Estimate:
    """The mean over questions of one number each.

    Args:
        per_question: [questions]; NaN (all samples unscored) is left out.
        bounds: the least and the greatest number that a question can have.
    """
    values = _scored(per_question)
    if values.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(values.mean())
    interval = _bca(values, seed=seed) or _no_exceptions(value, values.size, bounds)
    return _clipped(value, interval, bounds)


def any_rate(responses: Sequence[Sequence[float]], *, seed: int = DEFAULT_SEED) -> Estimate:
    """ASR-any: the share of questions to which at least one sampled response is harmful.

    A question without a harmful response but with an unscored one is left out: nobody knows.

    Args:
        responses: [questions][responses], 1 harmful, 0 not, NaN unscored.
    """
    return average([_any(values) for values in responses], _SHARE, seed=seed)


def nsi(d: ArrayLike, e: ArrayLike, *, seed: int = DEFAULT_SEED) -> Estimate:
    """NSI of one mode: mean(d) - mean(e), each paired with the vanilla model question by question.

    Harmful and benign questions are resampled independently of each other (two-sample BCa). Where d
    or e does not vary, the parts' intervals are combined by MOVER (see `average_nsi`).

    Args:
        d: [harmful questions], vanilla's share of harmful responses minus the method's.
        e: [benign questions], the method's share of refusals minus vanilla's.
    """
    return average_nsi(np.atleast_2d(np.asarray(d, dtype=np.float64)), e, seed=seed)


def average_nsi(ds: ArrayLike, e: ArrayLike, *, seed: int = DEFAULT_SEED) -> Estimate:
    """Avg. NSI: the mean over modes of mean(d_mode) - mean(e), as one joint statistic.

    The modes share the ORR and ask the same questions: one resample draws question ids once, for
    all modes, and benign questions once. If d or e does not vary, the interval of the difference is
    built from the intervals of its parts by MOVER (Zou and Donner 2008), so that a side without a
    single change still adds what n questions cannot exclude.

    Args:
        ds: [modes, harmful questions], columns aligned by question id; NaN where a mode lacks the
            question (or all its samples are unscored).
        e: [benign questions]; NaN is left out.
    """
    harmful, benign = _asked(np.asarray(ds, dtype=np.float64)), _scored(e)
    if harmful.size == 0 or benign.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    gain, cost = float(mean_over_modes(harmful)), float(benign.mean())
    both = _varies(harmful) and _varies(benign)
    interval = _bca(harmful, benign, seed=seed) if both else None
    if interval is None:
        n = harmful.shape[1]
        gains = _bca(harmful, seed=seed) or _no_exceptions(gain, n, _DIFFERENCE)
        costs = _bca(benign, seed=seed) or _no_exceptions(cost, benign.size, _DIFFERENCE)
        interval = _mover(gain, gains, cost, costs)
    return _clipped(gain - cost, interval, _NET)


def _any(values: Sequence[float]) -> float:
    return 1.0 if 1.0 in values else 0.0 if not any(map(math.isnan, values)) else math.nan


def _scored(per_question: ArrayLike) -> Vector:
    values = np.asarray(per_question, dtype=np.float64)
    return values[~np.isnan(values)]


def _asked(ds: Vector) -> Vector:
    """Leave out questions no mode has and modes with no question; one row if no value is missing.

    With complete modes the mean over modes of means over questions is the mean over questions of
    means over modes: one row says the same and is drawn faster.
    """
    there = ~np.isnan(ds)
    ds = ds[there.any(axis=1)][:, there.any(axis=0)]
    complete = ds.size > 0 and not np.isnan(ds).any()
    return ds.mean(axis=0, keepdims=True) if complete else ds


def _varies(values: Vector) -> bool:
    """Whether any row of [..., questions] holds two different values."""
    return bool(np.max(np.nanmax(values, axis=-1) - np.nanmin(values, axis=-1)) > _SAME)


def _bca(gains: Vector, costs: Vector | None = None, *, seed: int) -> Range | None:
    """The BCa interval, or None where the data give none (one question, or no variation).

    Args:
        gains: [questions] or [modes, questions].
        costs: [questions], what is taken off; None: nothing.
    """
    samples = [np.atleast_2d(one) for one in (gains, costs) if one is not None]
    if min(sample.shape[1] for sample in samples) < 2:
        return None
    low, high = bca(*samples, seed=seed, confidence=CONFIDENCE)
    return (low, high) if high - low > _SAME else None  # False for NaN as well


def _no_exceptions(value: float, n: int, bounds: Range) -> Range:
    """Interval of a mean when all `n` questions gave `value`; `bounds` is the metric's range."""
    share = float(binomtest(0, n).proportion_ci(CONFIDENCE, method="exact").high)
    return value - share * (value - bounds[0]), value + share * (bounds[1] - value)


def _mover(gain: float, gains: Range, cost: float, costs: Range) -> Range:
    """Interval of `gain - cost` from an interval of each (Zou and Donner 2008, equation 3)."""
    low = math.hypot(gain - gains[0], costs[1] - cost)
    high = math.hypot(gains[1] - gain, cost - costs[0])
    return gain - cost - low, gain - cost + high


def _clipped(value: float, interval: Range, bounds: Range) -> Estimate:
    low, high = (min(max(end, bounds[0]), bounds[1]) for end in interval)
    return Estimate(value, low, high)


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
        return _resampled([gains] if costs is None else [gains, costs], seed, confidence)


def _resampled(samples: Sequence[Matrix], seed: int, confidence: float) -> tuple[float, float]:
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
