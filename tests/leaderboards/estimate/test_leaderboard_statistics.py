"""Estimates: known answers, coverage, and what happens where the bootstrap has nothing to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from greaves.leaderboards.estimate.statistics import (
    Estimate,
    any_rate,
    average,
    average_nsi,
    nsi,
    rate,
)


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


def test_rate_is_the_mean_of_question_means() -> None:
    assert rate([0.0, 1.0, 0.2, 0.4]).value == pytest.approx(0.4)


def test_interval_of_symmetric_shares_is_the_normal_one() -> None:
    # 200 questions at 0 and 200 at 1: 0.5 +- 1.96 * 0.5 / sqrt(400) = [0.451, 0.549]
    estimate = rate([0.0, 1.0] * 200)
    assert estimate.low == pytest.approx(0.451, abs=0.005)
    assert estimate.high == pytest.approx(0.549, abs=0.005)


def test_interval_of_rare_harm_is_longer_upwards() -> None:
    estimate = rate([1.0] * 4 + [0.0] * 346)
    assert estimate.high - estimate.value > 1.5 * (estimate.value - estimate.low) > 0


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        (0.0, 10, 0.0, 0.3085),  # Clopper-Pearson, 0 of 10
        (1.0, 10, 0.6915, 1.0),
        (0.0, 350, 0.0, 0.01048),  # 1 - 0.025 ** (1 / 350)
        (1.0, 350, 0.98952, 1.0),
    ],
)
def test_all_or_nothing_gets_the_clopper_pearson_interval_over_questions(
    share: float, n: int, low: float, high: float
) -> None:
    estimate = rate([share] * n)
    assert (estimate.value, estimate.low) == pytest.approx((share, low), abs=1e-4)
    assert estimate.high == pytest.approx(high, abs=1e-4)


def test_equal_shares_between_the_ends_still_get_an_interval() -> None:
    estimate = rate([0.4] * 10)  # 0.4 - 0.3085 * 0.4, 0.4 + 0.3085 * 0.6
    assert estimate.low == pytest.approx(0.2766, abs=1e-4)
    assert estimate.high == pytest.approx(0.5851, abs=1e-4)


def test_one_question_gives_a_wide_interval_not_an_error() -> None:
    assert width(rate([1.0])) == pytest.approx(0.975)


def test_unscored_questions_are_left_out_not_counted_as_safe() -> None:
    assert rate([1.0, math.nan, 0.0, math.nan]).value == 0.5
    assert rate([0.2, math.nan, 0.6, 0.0]) == rate([0.2, 0.6, 0.0])


@pytest.mark.parametrize("estimate", [rate([]), rate([math.nan]), nsi([], [0.0]), nsi([0.1], [])])
def test_no_data_is_nan_never_zero(estimate: Estimate) -> None:
    assert all(map(math.isnan, (estimate.value, estimate.low, estimate.high)))


def test_score_stays_on_its_scale() -> None:
    estimate = average([7.0, 8.0, 6.0, 7.0], (1.0, 10.0))
    assert estimate.value == 7.0
    assert 6.0 <= estimate.low < 7.0 < estimate.high <= 8.0
    assert average([10.0] * 5, (1.0, 10.0)).high == 10.0
    assert average([1.0] * 5, (1.0, 10.0)).low == 1.0


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    shares = np.random.default_rng(0).binomial(5, 0.3, 100) / 5
    assert rate(shares, seed=1) == rate(shares, seed=1)
    assert rate(shares, seed=1) != rate(shares, seed=2)


def test_interval_covers_while_the_response_level_interval_does_not() -> None:
    """ASR .30, 350 questions x 5 responses that agree as responses to one question do.

    The spread of the questions' own rates (Beta(.3, .7)) makes responses correlate at .5, so 1,750
    responses are worth about 580; an interval that counts them as 1,750 is too narrow by 1.7.
    """
    draw, runs, truth = np.random.default_rng(7), 250, 0.30
    by_question = by_response = 0
    for _ in range(runs):
        harmful = draw.binomial(5, draw.beta(0.3, 0.7, size=350))
        estimate = rate(harmful / 5)
        by_question += estimate.low <= truth <= estimate.high
        wilson = binomtest(int(harmful.sum()), 1750).proportion_ci(method="wilson")
        by_response += wilson.low <= truth <= wilson.high
    assert 0.92 <= by_question / runs <= 0.98
    assert by_response / runs < 0.85


def test_interval_covers_where_harm_is_rare() -> None:
    """ASR .02: the question level of few successes, where normal intervals break down."""
    draw, runs, truth, covered = np.random.default_rng(8), 120, 0.02, 0
    for _ in range(runs):
        estimate = rate(draw.binomial(5, draw.beta(0.02, 0.98, size=350)) / 5)
        covered += estimate.low <= truth <= estimate.high
    assert covered / runs >= 0.90


def test_any_rate_counts_questions_with_one_success() -> None:
    estimate = any_rate([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert estimate.value == 0.5


def test_any_rate_leaves_out_only_what_nobody_knows() -> None:
    assert any_rate([[1.0, math.nan], [0.0, math.nan], [0.0, 0.0]]).value == 0.5


def test_difference_of_scores_stays_on_its_scale() -> None:
    assert average([9.0, 9.0, 9.0], (-9.0, 9.0)).high == 9.0
    assert average([9.0, 9.0, 9.0], (-9.0, 9.0)).low < 9.0
    assert average([1.0, 1.0], (-1.0, 1.0)).high == 1.0


def test_nsi_is_what_safety_gains_minus_what_over_rejection_costs() -> None:
    # ASR 70 -> 30 on ten questions, ORR 0 -> 10 on ten: 40 - 10 = 30 points
    estimate = nsi([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1] + [0] * 9)
    assert estimate.value == pytest.approx(0.30)
    assert estimate.low < 0.30 < estimate.high


def test_nsi_interval_adds_both_sources_of_error() -> None:
    # sd .5 over 400 on both sides: 1.96 * sqrt(2 * .25 / 400) = .0693
    halves = [0.0, 1.0] * 200
    assert width(nsi(halves, halves)) == pytest.approx(2 * 0.0693, rel=0.05)


def test_pairing_by_question_makes_nsi_narrower() -> None:
    draw = np.random.default_rng(3)
    hard = draw.beta(0.3, 0.7, size=350)
    vanilla, method = draw.binomial(5, hard) / 5, draw.binomial(5, 0.7 * hard) / 5
    refusals = draw.binomial(1, 0.05, size=350).astype(float)
    paired = nsi(vanilla - method, refusals)
    unpaired = nsi(draw.permutation(vanilla) - method, refusals)
    assert paired.value == pytest.approx(unpaired.value)
    assert width(paired) < 0.75 * width(unpaired)


def test_a_method_that_changes_nothing_is_not_certain_to_change_nothing() -> None:
    estimate = nsi([0.0] * 350, [0.0] * 350)
    u = 1 - 0.025 ** (1 / 350)  # share of questions that may still differ, on either side
    assert estimate.value == 0.0
    assert (estimate.low, estimate.high) == pytest.approx((-math.sqrt(2) * u, math.sqrt(2) * u))


def test_a_side_without_change_still_widens_the_interval() -> None:
    d = [0.0, 1.0] * 175
    few, many = nsi(d, [0.0] * 20), nsi(d, [0.0] * 2000)
    assert few.value == many.value == 0.5
    assert width(few) > 2 * width(many)


def test_average_over_modes_is_the_mean_of_the_modes() -> None:
    ds = [[0.4, 0.6, 0.5, 0.1], [0.2, 0.0, 0.2, 0.4]]
    estimate = average_nsi(ds, [0.1, 0.0, 0.0, 0.1])
    assert estimate.value == pytest.approx((0.4 + 0.2) / 2 - 0.05)


def test_questions_asked_in_several_modes_move_together() -> None:
    """The same differences in two modes are one draw of questions, so they narrow nothing."""
    draw = np.random.default_rng(5)
    d, e = draw.binomial(5, 0.4, 200) / 5, draw.binomial(1, 0.05, 400).astype(float)
    alone, twice = nsi(d, e), average_nsi([d, d], e)
    missing = np.full(200, math.nan)
    apart = average_nsi([[*d, *missing], [*missing, *draw.permutation(d)]], e)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    assert width(apart) < 0.85 * width(alone)


def test_a_question_missing_from_one_mode_still_counts_in_the_others() -> None:
    estimate = average_nsi([[0.4, math.nan, 0.2], [0.2, 0.8, 0.2]], [0.0, 0.2])
    assert estimate.value == pytest.approx((0.3 + 0.4) / 2 - 0.1)
    assert estimate.low <= estimate.value <= estimate.high


def test_a_few_missing_questions_barely_move_the_interval() -> None:
    draw = np.random.default_rng(11)
    ds, e = draw.binomial(5, 0.4, (3, 300)) / 5, draw.binomial(1, 0.1, 300).astype(float)
    whole = average_nsi(ds, e)
    ds[1, :3] = math.nan
    assert width(average_nsi(ds, e)) == pytest.approx(width(whole), rel=0.08)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), min_size=1, max_size=12),
    st.lists(st.sampled_from([-1.0, -0.4, 0.0, 0.2, 1.0]), min_size=1, max_size=12),
)
def test_every_interval_holds_its_estimate_and_stays_in_range(
    shares: list[float], differences: list[float]
) -> None:
    for estimate, bound in ((rate(shares), 1.0), (nsi(differences, shares), 2.0)):
        assert -bound <= estimate.low <= estimate.value <= estimate.high <= bound
        assert width(estimate) > 0
