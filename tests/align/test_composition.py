"""Compositions: methods by name, aligned one after the other, put on together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from greaves.align.composition import find_method
from greaves.align.defence import Defence
from greaves.align.method import (
    METHODS,
    AlignmentMethod,
    MethodConfig,
    Requirements,
    RunContext,
    register_method,
)
from greaves.align.parts.lora import LoRAAdapter
from greaves.align.parts.steering import Steering
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.conversation import Conversation
from greaves.base.errors import RecipeError, RegistryError
from greaves.data.alignment.sets import load_alignment_data
from greaves.recipe.reading import read_plan

Cli = Callable[..., tuple[int, str, str]]
MIRROR = {"alignment_data": {"mirror": "pocket"}}


@pytest.fixture
def parallel_prompt() -> Iterator[None]:
    """A method that wants Parallel data, registered for one test."""

    @register_method("parallel-prompt")
    class ParallelPrompt(AlignmentMethod[MethodConfig]):
        """A system prompt that needs other data."""

        requires = Requirements(data="parallel", gradients=True)

        def align(self, model: Any, data: Any, context: Any) -> Defence:
            return Defence((SystemPrompt("Mind."),))

    yield
    METHODS._entries.pop("parallel-prompt")


def test_blanks_around_the_joint_do_not_matter_and_each_method_takes_its_own_config(
    write_recipe: Callable[..., Path],
) -> None:
    written = {
        "method": " system-prompt +  sarsteer",
        "config": {"sarsteer": {"alpha": 0.5, "lambda": 0}, "system-prompt": {"text": "Mind."}},
    }
    plan = read_plan(write_recipe(methods=["vanilla", "sarsteer+system-prompt", written], **MIRROR))
    assert [str(cell.method.shown) for cell in plan.cells] == [
        "vanilla",
        "sarsteer+system-prompt",
        "system-prompt+sarsteer",
    ]
    config = plan.cells[2].aligner.config.model_dump(mode="json")
    assert config["system-prompt"] == {"text": "Mind."}
    assert (config["sarsteer"]["alpha"], config["sarsteer"]["lambda_"]) == (0.5, 0.0)
    assert config["sarsteer"]["k"] == 10


def test_requirements_are_those_of_all_and_the_version_names_each() -> None:
    steered, trained = find_method("system-prompt + sarsteer"), find_method("system-prompt + rrs")
    assert steered.requires == Requirements(
        data="mirror", weights=True, points=frozenset({"conversation", "layers"})
    )
    assert trained.requires.gradients
    assert trained.requires.data == "mirror"
    assert find_method("system-prompt + fsd-style").requires == Requirements(
        points=frozenset({"conversation"})
    )
    rrs = METHODS.get("rrs")
    assert trained.version == f"{METHODS.get('system-prompt').version}+{rrs.version}"


BROKEN: dict[str, tuple[Any, list[str]]] = {
    "misspelt component": (
        "system-prompt + rss",
        ["small.yaml:7: methods[1]", "unknown method 'rss' in 'system-prompt+rss'", "'rrs'?"],
    ),
    "missing component": ("rrs + ", ["methods[1]", "a method is missing in 'rrs+'"]),
    "component twice": ("rrs + rrs", ["methods[1]", "'rrs' occurs twice in 'rrs+rrs'"]),
    "misspelt component in the config": (
        {"method": "system-prompt + sarsteer", "config": {"sarster": {}}},
        ["methods[1].config.sarster", "did you mean 'sarsteer'?"],
    ),
    "misspelt field of a component": (
        {"method": "system-prompt + sarsteer", "config": {"sarsteer": {"alfa": 1}}},
        ["methods[1].config.sarsteer.alfa", "unknown field 'alfa'", "did you mean 'alpha'?"],
    ),
    "wrong value of a component": (
        {"method": "system-prompt + sarsteer", "config": {"sarsteer": {"k": 0}}},
        ["methods[1].config.sarsteer.k", "greater than or equal to 1"],
    ),
    "different data": (
        "sarsteer + parallel-prompt",
        ["methods[1]", "sarsteer needs mirror and parallel-prompt needs parallel"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_composition_is_explained_with_its_line(
    case: str, parallel_prompt: None, write_recipe: Callable[..., Path]
) -> None:
    method, parts = BROKEN[case]
    with pytest.raises(RecipeError) as caught:
        read_plan(write_recipe(methods=["vanilla", method], **MIRROR))
    for part in parts:
        assert part in str(caught.value)


def test_two_methods_that_train_are_refused(parallel_prompt: None) -> None:
    trainer = METHODS.get("parallel-prompt")
    trainer.requires = Requirements(data="mirror", gradients=True)
    with pytest.raises(RegistryError, match=r"rrs and parallel-prompt .* a model takes one"):
        find_method("rrs + parallel-prompt")


def test_a_composition_without_its_data_says_which(write_recipe: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match=r"system-prompt\+sarsteer' needs alignment_data.mirror"):
        read_plan(write_recipe(methods=["vanilla", "system-prompt + sarsteer"]))


def test_methods_are_aligned_on_the_vanilla_model_and_their_parts_put_on_together(
    pocket: Any, mirror_folder: Path, tmp_path: Path
) -> None:
    data = load_alignment_data(mirror_folder, "mirror")
    small = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    method = find_method("rrs + system-prompt + sarsteer")
    aligner = method(method.Config.model_validate({"rrs": small}))
    turns = [Conversation("Answer the question in the audio.", data.items[0].clip)]
    before = pocket.representations(turns)
    steps: list[str] = []
    context = RunContext(tmp_path / "work", 3, lambda done, total, words: steps.append(words))
    defence = aligner.align(pocket, data, context)
    assert [type(part) for part in defence.parts] == [LoRAAdapter, SystemPrompt, Steering]
    assert set(defence.notes or {}) == {"rrs", "system-prompt", "sarsteer"}
    alone = METHODS.get("sarsteer")
    own = alone(alone.Config()).align(pocket, data, RunContext(tmp_path / "alone", 3))
    assert defence.parts[2].content_hash() == own.parts[0].content_hash()
    defence.save(tmp_path / "saved", {})
    loaded = Defence.load(tmp_path / "saved")
    assert loaded.hash == defence.hash
    with loaded.attached(pocket) as defended:
        together = defended.representations(turns)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(together, before)
    with (
        defence.parts[0].attached(pocket),
        defence.parts[1].attached(pocket) as prompted,
        defence.parts[2].attached(prompted) as steered,
    ):
        assert torch.equal(steered.representations(turns), together)
    assert torch.equal(pocket.representations(turns), before)
    trained = len(steps)
    assert aligner.align(pocket, data, context).hash == defence.hash
    assert len(steps) - trained < trained  # what was finished before a kill is not trained again


def test_a_composition_runs_resumes_and_stands_in_table_and_submission(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    method = {
        "method": "system-prompt + sarsteer",
        "config": {"sarsteer": {"items": 8, "layers": [1, 2]}},
    }
    recipe = {"methods": ["vanilla", method], "tasks": ["aiah-text-only"], **MIRROR}
    status, _, err = greaves("run", write_recipe(**recipe), "--run-dir", run)
    assert status == 0, err
    status, out, err = greaves("run", write_recipe(**recipe), "--run-dir", run)
    assert status == 0, err
    assert "0 responses asked for, 16 found" in out
    cell = json.loads((run / "cells/pocket/system-prompt+sarsteer/seed-0/cell.json").read_text())
    assert cell["registered_method"] == "system-prompt+sarsteer"
    assert cell["defence_notes"]["sarsteer"]["harmful"] == 8
    status, out, err = greaves("leaderboard", run)
    assert status == 0, err
    assert "system-prompt+sarsteer" in (run / "leaderboard.md").read_text()
    status, _, err = greaves("submit", run, "--out", tmp_path / "s.zip")
    assert status == 0, err
    assert greaves("validate", tmp_path / "s.zip")[0] == 0
    method["config"] = {"sarsteer": {"items": 8, "layers": [1]}}
    status, out, err = greaves("run", write_recipe(**recipe), "--run-dir", run)
    assert status == 0, err
    assert "8 responses asked for, 8 found" in out
