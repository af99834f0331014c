"""`greaves.load_model`, `load_data`, `align`, `evaluate`, `Recipe`: what a notebook calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_folders import copy_questions

import greaves
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder

QUIET = Steps(plain=True)
TASKS = ["aiah-audio-text", "aiah-over-rejection"]
SMALL: dict[str, Any] = {"samples": 1, "limit": 3, "max_new_tokens": 16}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def model() -> greaves.LALM:
    return greaves.load_model("pocket")


def test_every_name_of_the_front_door_is_there_and_documented() -> None:
    for name in set(greaves.__all__) - {"__version__"}:
        thing = getattr(greaves, name)
        assert callable(thing), name
        assert thing.__doc__, name
    assert set(dir(greaves)) == set(greaves.__all__)
    with pytest.raises(AttributeError, match="no attribute 'alligne'"):
        getattr(greaves, "alligne")  # noqa: B009


def test_align_is_the_function_and_the_room(model: greaves.LALM) -> None:
    import greaves.align.method

    assert greaves.align.method.METHODS is not None
    room: Any = sys.modules["greaves.align"]
    assert room(model, "vanilla") == greaves.align(model, "vanilla") == greaves.Defence()


def test_a_defence_knows_how_it_was_made_and_is_saved_with_it(
    model: greaves.LALM, tmp_path: Path
) -> None:
    defence = greaves.align(model, "system-prompt", seed=3, config={"text": "Be careful."})
    defence.save(tmp_path / "saved")
    facts = json.loads((tmp_path / "saved" / "defence.json").read_text())
    assert (facts["method"], facts["seed"]) == ("system-prompt", 3)
    assert facts["config"] == {"text": "Be careful."}
    assert facts["fingerprint"] == model.fingerprint
    back = greaves.Defence.load(tmp_path / "saved")
    assert (back.parts, back.hash) == (defence.parts, defence.hash)
    assert back.provenance == defence.provenance


def test_the_embedded_data_are_chosen_by_what_the_method_needs(model: greaves.LALM) -> None:
    seen: list[Any] = []

    class Curious(greaves.AlignmentMethod[greaves.MethodConfig]):
        """Looks at its data."""

        requires = greaves.Requirements(data="parallel")

        def align(self, model: Any, data: Any, context: Any) -> greaves.Defence:
            seen.append((data.kind, len(data.items), context.seed))
            return greaves.Defence()

    greaves.align(model, Curious(greaves.MethodConfig()), seed=5)
    few = greaves.load_data("parallel", limit=4)
    greaves.align(model, Curious(greaves.MethodConfig()), few)
    assert seen == [("parallel", len(greaves.load_data("parallel").items), 5), ("parallel", 4, 0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: greaves.load_model("poket"), "unknown model 'poket'; did you mean 'pocket'?"),
        (lambda m: greaves.load_model("pocket", colour="red"), "unexpected keyword .* 'colour'"),
        (lambda m: greaves.load_data("sets/mine"), "kind of this alignment data is not known"),
        (lambda m: greaves.load_data("sets/basic"), "there is no such data folder"),
        (lambda m: greaves.align(m, "rsr"), "unknown method 'rsr'; did you mean 'rrs'?"),
        (lambda m: greaves.align(m, "rrs", config={"epoch": 1}), "epoch: .*did you mean 'epochs'"),
        (lambda m: greaves.align(m, "rrs", "basic"), "data of kind 'mirror', not 'basic'"),
        (lambda m: greaves.evaluate(m, tasks=["aiah-audio"]), "unknown task 'aiah-audio'"),
        (lambda m: greaves.evaluate(m, "rsr", TASKS), "unknown method 'rsr'"),
        (lambda m: greaves.evaluate(m, tasks=TASKS, judge="nobody"), "unknown judge 'nobody'"),
        (lambda m: greaves.evaluate(m, [greaves.Defence()] * 2, TASKS), "is given twice"),
        (lambda m: greaves.Recipe.of({"name": "x"}), "recipe:1: models"),
    ],
)
def test_a_mistake_is_one_line(
    call: Callable[[greaves.LALM], object], message: str, model: greaves.LALM
) -> None:
    with pytest.raises(greaves.GreavesError, match=message) as caught:
        call(model)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_is_not_the_pocket_needs_data_of_its_own(
    model: greaves.LALM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "name", "my-qwen")
    with pytest.raises(greaves.GreavesError, match="needs alignment data of kind 'mirror'"):
        greaves.align(model, "rrs")


def test_an_evaluation_is_a_run_that_asks_nothing_twice(
    model: greaves.LALM, tmp_path: Path
) -> None:
    careful = greaves.align(model, "system-prompt")
    bare = greaves.Defence((SystemPrompt("Be brief."),))
    result = greaves.evaluate(model, {"careful": careful, "brief": bare}, TASKS, **SMALL)
    assert (result.asked, result.found) == (18, 0)
    assert result.folder.parent == Path("runs", "notebook")
    facts = {cell.facts()["method"]: cell.facts() for cell in RunFolder.open(result.folder).cells()}
    assert set(facts) == {"vanilla", "careful", "brief"}
    assert facts["careful"]["registered_method"] == "system-prompt"
    assert facts["careful"]["defence_hash"] == careful.hash
    again = greaves.evaluate(model, {"careful": careful, "brief": bare}, TASKS, **SMALL)
    assert (again.asked, again.found, again.rows) == (0, 18, result.rows)


def test_a_result_is_a_table_a_frame_and_a_page(model: greaves.LALM, tmp_path: Path) -> None:
    result = greaves.evaluate(model, "system-prompt", TASKS, **SMALL)
    shown = str(result)
    assert "[" in shown
    assert "pocket: shows that the machinery works" in shown
    frame = result.frame()
    assert list(frame["label"].unique()) == ["pocket"]
    assert set(frame["metric"]) == {"asr", "orr", "nsi", "avg_nsi"}
    assert len(frame) == len(result.rows)
    page = result.page(tmp_path / "x.html", clips=False)
    assert "<html" in page.read_text(encoding="utf-8")


def test_own_questions_are_asked_and_judged_by_the_judge_that_is_named(
    model: greaves.LALM, tmp_path: Path
) -> None:
    questions = copy_questions(tmp_path / "mine", 2, 1)
    result = greaves.evaluate(
        model, tasks=TASKS, data=questions, judge="refusal-rules", samples=2, max_new_tokens=8
    )
    assert result.asked == 6
    assert {row.judge.partition("@")[0] for row in result.rows} == {"refusal-rules"}


def test_what_evaluate_says_is_what_the_recipe_says(model: greaves.LALM, tmp_path: Path) -> None:
    questions = copy_questions(tmp_path / "mine", 3, 3)
    here = greaves.evaluate(
        model, greaves.align(model, "system-prompt"), TASKS, data=questions, samples=2
    )
    recipe = {
        "name": "same",
        "label": "pocket",
        "models": ["pocket"],
        "methods": ["vanilla", "system-prompt"],
        "benchmarks": {"aiah": {"data": "mine", "judge": "pocket-rules", "samples": 2}},
        "tasks": TASKS,
    }
    there = greaves.Recipe.of(recipe).run("run", steps=QUIET)
    assert there.rows == here.rows
    cells = [list(RunFolder.open(result.folder).cells()) for result in (here, there)]
    keys = [{one.key for cell in own for one in cell.current_responses()} for own in cells]
    assert keys[0] == keys[1]


def test_a_packaged_recipe_is_read_by_its_name() -> None:
    assert len(greaves.Recipe.read("pocket").plan.cells) == 5
