"""The separability figures: clouds whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.leaderboards.figures.inside_run import stem_of
from greaves.leaderboards.figures.representations import separability

DIMENSIONS = 12


def clouds(apart: float, each: int = 40) -> tuple[NDArray[Any], list[bool], list[str]]:
    """Two Gaussian clouds `apart` standard deviations from each other."""
    points = np.random.default_rng(0).normal(size=(2 * each, DIMENSIONS))
    points[:each, 0] += apart
    return points, [True] * each + [False] * each, [str(place) for place in range(2 * each)]


def test_clouds_far_apart_are_told_apart_and_one_cloud_is_not() -> None:
    far, same = separability(*clouds(20)), separability(*clouds(0))
    assert far.auc == 1
    assert far.silhouette > 0.7
    assert abs(same.auc - 0.5) < 0.15
    assert abs(same.silhouette) < 0.05


def test_the_probe_on_two_gaussians_comes_near_the_auc_they_allow() -> None:
    """The best AUC of two unit Gaussians two apart is Phi(2 / sqrt 2) = 0.921."""
    found = separability(*clouds(2, each=400))
    assert found.auc == pytest.approx(0.921, abs=0.02)
    assert 0 < found.auc_sd < 0.01


def test_a_probe_never_scores_on_the_mirror_of_what_it_was_fitted_on() -> None:
    """Each question is asked twice, word for word; only a memory of its twin tells its kind."""
    generator = np.random.default_rng(1)
    once = generator.normal(size=(40, 200))
    points = np.concatenate([once, once])
    kinds = [bool(kind) for kind in generator.permutation([1, 0] * 20)] * 2
    alone = [str(place) for place in range(80)]
    together = [str(place) for place in range(40)] * 2
    assert separability(points, kinds, alone).auc > 0.85
    assert separability(points, kinds, together).auc < 0.65


def test_the_seed_of_the_folds_decides_the_number() -> None:
    points, kinds, groups = clouds(0.5)
    first = separability(points, kinds, groups, seed=1)
    assert separability(points, kinds, groups, seed=1) == first
    assert separability(points, kinds, groups, seed=2).auc != first.auc


def test_one_question_of_a_kind_is_too_few() -> None:
    points = np.zeros((3, 2))
    with pytest.raises(DataError, match="at least two harmful and two benign"):
        separability(points, [True, False, False], ["a", "b", "c"])


def test_mirrors_share_the_rest_of_their_ids() -> None:
    assert stem_of("evaluation-harmful-007") == stem_of("evaluation-benign-007")
    assert stem_of("evaluation-harmful-007") != stem_of("evaluation-benign-008")
