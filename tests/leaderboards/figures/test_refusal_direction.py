"""The refusal direction: hand-made hidden states, halves, intervals."""

from __future__ import annotations

import numpy as np
import pytest

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.leaderboards.figures.refusal_direction import (
    fitting_half,
    mean_with_interval,
    projections,
    unit,
)


def questions(count: int) -> list[Question]:
    return [
        Question(id=f"{kind}-{number}", task="t", task_version="1", kind=kind, mode="text-only",
                 text="?", prompt="?")
        for kind in ("harmful", "benign")
        for number in range(count)
    ]  # fmt: skip


def test_projections_of_hand_made_states() -> None:
    """Layer 1's direction is (3, 4) / 5, layer 2's (1, 0)."""
    direction = unit(np.array([[3.0, 4.0], [2.0, 0.0]]))
    states = np.array([[[5.0, 0.0], [7.0, 9.0]], [[3.0, 4.0], [-1.0, 2.0]]])
    assert projections(states, direction).tolist() == pytest.approx(np.array([[3, 7], [5, -1]]))


def test_a_layer_without_a_difference_has_no_direction() -> None:
    assert unit(np.zeros((1, 4))).tolist() == [[0, 0, 0, 0]]


def test_half_of_either_kind_is_fitted_and_mirrors_stay_together() -> None:
    half = fitting_half(questions(20), seed=3)
    numbers = {kind: {name.removeprefix(f"{kind}-") for name in half if name.startswith(kind)}
               for kind in ("harmful", "benign")}  # fmt: skip
    assert len(numbers["harmful"]) == 10
    assert numbers["harmful"] == numbers["benign"]


def test_the_seed_and_not_the_order_of_the_questions_decides_the_half() -> None:
    asked = questions(20)
    assert fitting_half(asked, seed=3) == fitting_half(asked[::-1], seed=3)
    assert fitting_half(asked, seed=3) != fitting_half(asked, seed=4)


def test_three_questions_of_a_kind_are_too_few() -> None:
    with pytest.raises(DataError, match="at least four harmful"):
        fitting_half(questions(3))


def test_noise_is_apart_on_the_half_it_was_fitted_on_only() -> None:
    """Why there are halves: two samples of one Gaussian in 500 dimensions, 50 of each kind."""
    noise = np.random.default_rng(0).normal(size=(2, 2, 50, 1, 500))
    (fitted_harmful, held_harmful), (fitted_benign, held_benign) = noise
    direction = unit(fitted_harmful.mean(axis=0) - fitted_benign.mean(axis=0))

    def gap(harmful: np.ndarray, benign: np.ndarray) -> float:
        return float(
            (projections(harmful, direction).mean() - projections(benign, direction).mean()).item()
        )

    assert gap(fitted_harmful, fitted_benign) > 4
    assert abs(gap(held_harmful, held_benign)) < 0.6


def test_the_interval_is_that_of_a_mean() -> None:
    """80 draws of a unit Gaussian: 1.96 / sqrt 80 = 0.22 to either side."""
    values = np.random.default_rng(0).normal(size=(80, 3))
    means, low, high = mean_with_interval(values, seed=1)
    assert means.tolist() == pytest.approx(values.mean(axis=0))
    assert (means - low).tolist() == pytest.approx([0.22] * 3, abs=0.05)
    assert (high - means).tolist() == pytest.approx([0.22] * 3, abs=0.05)


def test_questions_that_are_alike_have_an_interval_of_no_width() -> None:
    assert [end.tolist() for end in mean_with_interval(np.full((5, 1), 2.5))] == [[2.5]] * 3
