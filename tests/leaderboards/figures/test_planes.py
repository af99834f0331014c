"""Two dimensions: what PCA shares between states, and t-SNE's seed."""

from __future__ import annotations

import numpy as np
import pytest

from greaves.leaderboards.figures.representations import principal_components, t_sne


def test_states_share_their_components() -> None:
    """What moves along one dimension from state to state moves along component 1 by as much."""
    still = np.zeros((4, 5))
    still[:, 1] = [0.1, -0.1, 0.1, -0.1]
    moved = still + np.array([6.0, 0, 0, 0, 0])
    (before, after), variance = principal_components([still, moved])
    assert np.abs(after[:, 0] - before[:, 0]).tolist() == pytest.approx([6.0] * 4)
    assert after[:, 1].tolist() == pytest.approx(before[:, 1].tolist())
    assert sum(variance) == pytest.approx(1)


def test_t_sne_of_a_few_questions_keeps_two_clusters_apart_and_depends_on_nothing_hidden() -> None:
    points = np.random.default_rng(0).normal(size=(12, 8))
    points[:6, 0] += 50
    plane = t_sne(points, seed=5)
    assert plane.shape == (12, 2)
    assert np.array_equal(plane, t_sne(points, seed=5))
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    nearest = np.argsort(distances, axis=1)[:, 1]
    assert ((nearest < 6) == (np.arange(12) < 6)).all()
