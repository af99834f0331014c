"""The refusal direction, layer by layer, and what hidden states have of it.

r_l = mean over harmful questions of h_l - mean over benign questions of h_l, the difference of
means of layer l's hidden states at the last prompt position, in the vanilla model; scaled to length
one. It is taken from one half of the questions and looked at on the other half, since even two
samples of the same thing are apart along their own difference of means.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.leaderboards.figures.inside_run import stem_of

Vector = NDArray[np.float64]

CONFIDENCE, RESAMPLES = 0.95, 2000


def fitting_half(questions: Iterable[Question], *, seed: int = 0) -> set[str]:
    """Ids of the half of the questions that the direction is taken from.

    Half of the harmful and half of the benign ones, in the order of a seeded hash of what mirrors
    share in their ids: a question and its mirror are mostly on the same side.

    Raises:
        DataError: fewer than two questions of a kind are left on a side.
    """
    asked = list(questions)
    half: set[str] = set()
    for kind in ("harmful", "benign"):
        ids = sorted(
            {question.id for question in asked if question.kind == kind},
            key=lambda name: hashlib.sha256(f"{seed}\0{stem_of(name)}".encode()).digest(),
        )
        if len(ids) < 4:
            raise DataError(f"a refusal direction needs at least four {kind} questions")
        half |= {*ids[: len(ids) // 2]}
    return half


def unit(difference: Vector) -> Vector:
    """Each layer's direction at length one; zeros where there is no difference."""
    length = np.linalg.norm(difference, axis=-1, keepdims=True)
    scaled: Vector = np.divide(difference, length, out=np.zeros_like(difference), where=length > 0)
    return scaled


def projections(states: NDArray[Any], direction: Vector) -> Vector:
    """What every question's hidden state has of the direction, [questions, layers].

    Args:
        states: [questions, layers, hidden_size].
        direction: [layers, hidden_size], length one.
    """
    found: Vector = np.einsum("qlh,lh->ql", states.astype(np.float64), direction)
    return found


def mean_with_interval(values: Vector, *, seed: int = 0) -> tuple[Vector, Vector, Vector]:
    """Means over questions with 95 % BCa bootstrap intervals, [layers] each.

    Args:
        values: [questions, layers], two questions at least.
        seed: of the bootstrap.

    Returns:
        Mean, low and high; where all questions are alike, all three are the same.
    """
    means = values.mean(axis=0)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's word on questions that are all alike
        found = bootstrap(
            (values,),
            np.mean,
            axis=0,
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            batch=200,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = (np.where(np.isnan(end), means, end) for end in (found.low, found.high))
    return means, low, high
