"""`greaves compare`: what changed between two runs, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from made_verdicts import judged, run_of
from made_written_run import write_run
from typer.testing import CliRunner

from greaves.base.errors import GreavesError
from greaves.base.records import Verdict
from greaves.leaderboards.commands.compare import compare as command
from greaves.leaderboards.compare.comparison import Flip, compare

HARMFUL = "aiah-audio-text"


def six(mark: str, **names: str) -> list[Verdict]:
    return judged(HARMFUL, {f"q{i}": mark * 2 for i in range(6)}, **names)


def invoke(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_change_is_b_minus_a_with_interval_p_and_flips() -> None:
    (change,) = compare(six("h"), six("r")).changes
    assert (change.value_a, change.value_b, change.difference) == (100.0, 0.0, -100.0)
    assert change.low <= -100.0 < change.high < 0.0
    assert change.p == change.p_holm == pytest.approx(2 / 64)
    assert change.flips[0] == Flip(question_id="q0", before="harmful", after="refused")
    assert len(change.flips) == 6


def test_flip_is_a_change_of_the_majority_not_of_one_sample() -> None:
    before = judged(HARMFUL, {"q1": "hhhra", "q2": "hhrr", "q3": "rrr"})
    after = judged(HARMFUL, {"q1": "hhrra", "q2": "hhhr", "q3": "r??"})
    (change,) = compare(before, after).changes
    assert [(one.question_id, one.before, one.after) for one in change.flips] == [
        ("q1", "harmful", "split"),
        ("q2", "split", "harmful"),
    ]


def test_cells_of_the_same_name_are_compared_and_corrected_together() -> None:
    first = [*six("h"), *six("h", method="rrs"), *six("h", method="only-in-a")]
    second = [*six("h"), *six("r", method="rrs")]
    changes = compare(first, second).changes
    assert [change.cell_b for change in changes] == ["qwen2-audio/rrs", "qwen2-audio/vanilla"]
    assert [change.p for change in changes] == pytest.approx([2 / 64, 1.0])
    assert [change.p_holm for change in changes] == pytest.approx([4 / 64, 1.0])


def test_single_cells_are_compared_whatever_their_names() -> None:
    (change,) = compare(six("h"), six("r", method="mine", model="my-model")).changes
    assert (change.cell_a, change.cell_b) == ("qwen2-audio/vanilla", "my-model/mine")


def test_net_change_weighs_safety_against_over_rejection() -> None:
    changes = compare(run_of({"rrs": (60, 5)}), run_of({"rrs": (20, 15)})).changes
    net = next(change for change in changes if change.metric == "avg_nsi")
    assert net.difference == pytest.approx((60 - 20) - (15 - 5))
    assert (net.task, net.value_a, net.n_questions) == (None, None, 40)
    score = next(change for change in changes if change.metric == "hs")
    assert (score.value_a, score.difference, score.flips) == (7.25, 0.0, [])


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (six("r", judge="strict@1"), "share no judge: A has rules@1; B has strict@1"),
        (six("r", judge="rules@2"), "share no judge: A has rules@1; B has rules@2"),
        (six("r", task_version="2"), f"{HARMFUL}: version 1 in A, 2 in B; not compared"),
        (judged(HARMFUL, {"other": "h"}), "no task has questions that both runs"),
        (judged("aiah-benign", {"q1": "r"}), "no task has questions that both runs"),
        ([*six("r", method="a"), *six("r", method="b")], "share no cell"),
    ],
)
def test_nothing_comparable_is_one_line(other: list[Verdict], told: str) -> None:
    with pytest.raises(GreavesError, match="greaves compare: ") as error:
        compare(six("h"), other)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_task_in_another_version_is_left_out_and_said() -> None:
    benign = {"b1": "aa", "b2": "aa"}
    first = [*six("h"), *judged("aiah-benign", benign)]
    found = compare(first, [*six("r"), *judged("aiah-benign", benign, task_version="2")])
    assert [change.task for change in found.changes] == [HARMFUL]
    assert found.notes == ["aiah-benign: version 1 in A, 2 in B; not compared"]


def test_command_prints_a_table_or_json(tmp_path: Path) -> None:
    for name, (harmful, refused) in {"a": (60, 5), "b": (10, 5)}.items():
        write_run(tmp_path / name, run_of({"rrs": (harmful, refused)}))
    text = invoke(str(tmp_path / "a"), str(tmp_path / "b"))
    assert "ASR aiah-audio-text" in text
    assert "-50.0" in text
    assert "q002 harmful -> answered" in text
    assert "10 questions flipped" in text
    assert "and 2 more (--json)" in text
    printed = json.loads(invoke(str(tmp_path / "a"), str(tmp_path / "b"), "--json"))
    asr = next(one for one in printed["changes"] if one["metric"] == "asr")
    assert (asr["difference"], len(asr["flips"])) == (-50.0, 10)


def test_command_tells_to_run_first(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    with pytest.raises(GreavesError, match="no verdicts yet; answer and judge first: greaves run"):
        command(tmp_path, tmp_path)
