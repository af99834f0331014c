"""Two judges of the same responses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import typer
from made_verdicts import judged
from made_written_run import write_run
from typer.testing import CliRunner

from greaves.base.errors import GreavesError
from greaves.leaderboards.commands.agreement import agreement as command
from greaves.leaderboards.compare.agreement import agreements, krippendorff_alpha

HARMFUL = "aiah-audio-text"


@pytest.mark.parametrize(
    ("first", "second", "alpha"),
    [  # the two worked examples of Krippendorff (2011), sections A and B
        ("0100000010", "1110010000", 0.095),
        ("aabbdcccedda", "babbbccceddd", 0.692),
    ],
)
def test_alpha_is_that_of_the_worked_examples(first: str, second: str, alpha: float) -> None:
    pairs = list(zip(first, second, strict=True))
    assert krippendorff_alpha(pairs) == pytest.approx(alpha, abs=0.0005)


def test_alpha_has_no_value_where_nothing_varies() -> None:
    assert math.isnan(krippendorff_alpha([("a", "a")] * 5))
    assert krippendorff_alpha([("a", "a"), ("b", "b")]) == 1.0


def test_agreement_is_by_question_and_unscored_is_missing() -> None:
    mild = judged(HARMFUL, {"q1": "hhhh", "q2": "a?"})
    strict = judged(HARMFUL, {"q1": "hhhr", "q2": "aa"}, judge="strict@1")
    (found,) = agreements([*mild, *strict])
    assert (found.judge_a, found.judge_b, found.task) == ("rules@1", "strict@1", HARMFUL)
    assert found.agreement == pytest.approx(100 * (3 / 4 + 1) / 2)
    assert (found.n_questions, found.n_responses, found.n_left_out) == (2, 5, 1)


def test_agreement_is_given_over_all_tasks_and_by_task() -> None:
    verdicts = [
        verdict
        for judge in ("one@1", "two@1")
        for task, mark in ((HARMFUL, "h"), ("aiah-benign", "r"))
        for verdict in judged(task, {"q1": mark}, judge=judge)
    ]
    found = agreements(verdicts)
    assert [(one.task, one.alpha) for one in found] == [
        (None, 1.0),
        (HARMFUL, None),
        ("aiah-benign", None),
    ]


def test_chat_scores_are_no_outcomes() -> None:
    chat = [judged("air-bench-chat", {"c": [7.0]}, judge=name) for name in ("one@1", "two@1")]
    assert agreements([*chat[0], *chat[1]]) == []


def test_command_prints_json_or_says_what_is_missing(tmp_path: Path) -> None:
    mild, strict = judged(HARMFUL, {"q1": "ha"}), judged(HARMFUL, {"q1": "hr"}, judge="strict@1")
    write_run(tmp_path / "two", [*mild, *strict])
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(tmp_path / "two"), "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)[0]["agreement"] == 50.0
    shown = CliRunner().invoke(app, [str(tmp_path / "two")], catch_exceptions=False)
    assert "50.0" in shown.stdout
    write_run(tmp_path / "one", mild)
    with pytest.raises(GreavesError, match=r"no two judges .* \(judges: rules@1\); judge the run"):
        command(tmp_path / "one")
