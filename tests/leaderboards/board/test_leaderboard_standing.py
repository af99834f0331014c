"""Methods against each other: sign flips, Holm, ranks, and what a run could have found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_verdicts import judged

from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import AgainstBest, board_of, detectable_differences
from greaves.leaderboards.estimate.contrasts import contrasts
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.estimate.paired import Part, detectable, holm, sign_flip_p, standard_error
from greaves.leaderboards.read.slices import sort_verdicts

HARMFUL = "aiah-audio-text"

# Darwin's maize: differences in height of 15 pairs, in eighths of an inch. Fisher (1935,
# section 21) counts 863 of the 32,768 sign patterns with a sum as great, 1,726 with both tails.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_few_questions_are_tested_exactly() -> None:
    assert sign_flip_p(np.array([DARWIN], dtype=float)) == [pytest.approx(1726 / 32768)]


def test_many_questions_are_tested_by_drawn_signs() -> None:
    more = np.array([[*DARWIN, 1e-6]])  # one question too many to count, too small to matter
    (p,) = sign_flip_p(more)
    assert p == pytest.approx(1726 / 32768, abs=0.008)
    assert p != pytest.approx(1726 / 32768, abs=1e-9)
    assert sign_flip_p(more, seed=3) == sign_flip_p(more, seed=3)


def test_no_difference_at_all_has_p_one_and_no_p_is_zero() -> None:
    assert sign_flip_p(np.zeros((1, 5))) == [1.0]
    assert sign_flip_p(np.ones((1, 350))) == [pytest.approx(1 / 10_000)]


def test_equal_methods_are_told_apart_as_rarely_as_promised() -> None:
    """Two methods with the same rates on the same questions; responses correlate within these."""
    draw = np.random.default_rng(4)
    hard = draw.beta(0.3, 0.7, size=(200, 100))
    differences = (draw.binomial(5, hard) - draw.binomial(5, hard)) / 500
    found = np.mean([p < 0.05 for p in sign_flip_p(differences)])
    assert 0.01 <= found <= 0.095


def test_holm_adjusts_over_the_family() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_detectable_difference_follows_from_the_spread_of_paired_differences() -> None:
    d = [0.4, -0.4] * 175  # SD .4 on 350 questions: (1.960 + 0.842) * .4 / sqrt(350) = .0599
    error = standard_error([[one / 350 for one in d]])
    assert 100 * detectable(error) == pytest.approx(5.99, abs=0.02)
    assert math.isnan(standard_error([[0.1]]))


def test_contrast_is_paired_on_shared_questions() -> None:
    first, second = {"q1": 1.0, "q2": 0.5, "q3": 0.0}, {"q1": 0.5, "q2": 0.5, "q4": 1.0}
    methods = {"a": [Part(1.0, "harmful", first)], "b": [Part(1.0, "harmful", second)]}
    (pair,) = contrasts(metric_of("asr"), methods, seed=1)
    assert (pair.first, pair.second, pair.n_questions) == ("a", "b", 2)
    assert pair.value == pytest.approx(25.0)
    assert pair.p == 1.0  # one question that differs can differ either way


def test_net_contrast_averages_the_modes_and_takes_refusals_off() -> None:
    def parts(spoken: float, written: float, refused: float) -> list[Part]:
        harmful = [Part(-0.5, "harmful", {"q": one}) for one in (spoken, written)]
        return [*harmful, Part(-1.0, "benign", {"q": refused})]

    (pair,) = contrasts(
        metric_of("avg_nsi"), {"a": parts(1.0, 0.0, 0.2), "b": parts(0.0, 0.0, 0.0)}, seed=1
    )
    assert pair.value == pytest.approx(100 * (-(1.0 + 0.0) / 2 - 0.2))
    assert pair.n_questions == 2  # the benign "q" is another question than the harmful one


def test_contrast_without_shared_questions_says_nothing() -> None:
    methods = {name: [Part(1.0, "harmful", {name: 1.0})] for name in "ab"}
    (pair,) = contrasts(metric_of("asr"), methods, seed=1)
    assert (pair.n_questions, pair.p) == (0, 1.0)
    assert math.isnan(pair.value)


def asr_board(**marks: str) -> tuple[dict[str, Row], list[AgainstBest]]:
    """ASR rows by method; one mark a question, the same for both samples."""
    verdicts = [
        verdict
        for method, found in marks.items()
        for verdict in judged(
            HARMFUL, {f"q{i}": mark * 2 for i, mark in enumerate(found)}, method=method
        )
    ]
    rows, tests = board_of(sort_verdicts(verdicts))
    return {row.method: row for row in rows}, tests


@pytest.mark.parametrize(("flipped", "told"), [(5, False), (6, True)])  # p = 2 / 2^flipped
def test_method_is_told_from_the_best_where_the_data_can(flipped: int, told: bool) -> None:
    rows, (test,) = asr_board(vanilla="h" * flipped + "a" * 4, rrs="a" * (flipped + 4))
    assert test.p == pytest.approx(2 / 2**flipped)
    assert rows["vanilla"].distinguishable_from_best is told
    assert rows["vanilla"].p_best == pytest.approx(2 / 2**flipped)
    assert (rows["rrs"].rank, rows["rrs"].p_best) == (1, None)
    assert (test.best, test.method) == ("rrs", "vanilla")
    assert test.difference == pytest.approx(100 * flipped / (flipped + 4))
    assert test.low < test.difference < test.high


def test_rank_intervals_hold_the_places_that_tests_leave_open() -> None:
    rows, _ = asr_board(vanilla="h" * 20, rrs="h" + "a" * 19, sft="a" * 20)
    places = {name: (row.rank, row.rank_low, row.rank_high) for name, row in rows.items()}
    assert places == {"vanilla": (3, 3, 3), "rrs": (2, 1, 2), "sft": (1, 1, 2)}


def test_p_is_corrected_over_all_pairs_of_the_column() -> None:
    rows, tests = asr_board(vanilla="h" * 6, rrs="a" * 6, sft="hhhaaa")
    against = next(test for test in tests if test.method == "vanilla")
    assert against.p == pytest.approx(2 / 64)
    assert against.p_holm == pytest.approx(3 * 2 / 64)  # three pairs
    assert rows["vanilla"].distinguishable_from_best is False


def test_methods_with_the_same_value_share_the_rank() -> None:
    rows, _ = asr_board(vanilla="hhaa", rrs="aahh", sft="aaaa")
    assert [rows[name].rank for name in ("sft", "rrs", "vanilla")] == [1, 2, 2]


def test_a_method_alone_has_no_rank_and_models_are_ranked_apart() -> None:
    alone = judged(HARMFUL, {"q1": "h"})
    other = judged(HARMFUL, {"q1": "a"}, model="qwen-audio")
    assert {row.rank for row in board_of(sort_verdicts([*alone, *other])).rows} == {None}


def test_nsi_is_contrasted_without_vanilla() -> None:
    """NSI of two methods differs by their own ASR and ORR; vanilla's cancel out."""
    verdicts = []
    for method, harmful, benign in (("vanilla", "h", "a"), ("rrs", "a", "a"), ("sft", "a", "r")):
        verdicts += judged(HARMFUL, {f"q{i}": harmful for i in range(10)}, method=method)
        verdicts += judged("aiah-benign", {f"q{i}": benign for i in range(8)}, method=method)
    tests = [test for test in board_of(sort_verdicts(verdicts)).tests if test.metric == "avg_nsi"]
    assert [(test.best, test.method, test.difference) for test in tests] == [("rrs", "sft", -100.0)]
    assert tests[0].p == pytest.approx(2 / 2**8)
    assert tests[0].n_questions == 18


def test_detectable_differences_are_told_per_metric() -> None:
    _, tests = asr_board(vanilla="hhaa" * 5, rrs="ahah" * 5)
    (line,) = detectable_differences(tests)
    assert line.startswith("qwen2-audio, rules@1: smallest paired difference")
    # differences 1, 0, -1, 0 five times: SD .7255 on 20 questions, 2.802 * .7255 / sqrt(20) = .4545
    assert line.endswith("ASR 45.4") or line.endswith("ASR 45.5")
