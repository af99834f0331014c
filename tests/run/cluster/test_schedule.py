"""What cells ask of a cluster, in which order they run, and what that is estimated to cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greaves.recipe.reading import read_plan
from greaves.recipe.schema import ModelSpec
from greaves.run.cluster.needs import Needs, needs_of
from greaves.run.cluster.schedule import planned

GIB_14 = 14_000_000_000
MIRROR = {"mirror": "pocket"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with 14 GB of weights that take no room on the disk."""
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(GIB_14)
    return folder


def test_a_checkpoint_on_disk_asks_for_a_gpu_and_its_size_in_memory(checkpoint: Path) -> None:
    model = ModelSpec(model="qwen2-audio", options={"path": str(checkpoint)})
    assert needs_of(model) == Needs(gpus=1.0, cpus=1.0, memory_gb=18.0, parameters=7e9)


def test_models_on_the_cpu_and_behind_servers_ask_for_no_gpu() -> None:
    assert needs_of(ModelSpec(model="pocket")).gpus == 0
    served = needs_of(ModelSpec(model="openai:org/m-7B@http://127.0.0.1:9/v1"))
    assert (served.gpus, served.at_once, served.memory_gb) == (0, 1, None)
    on_cpu = ModelSpec(model="qwen2-audio", options={"path": "/no", "device": "cpu"})
    assert needs_of(on_cpu).gpus == 0


def test_the_recipe_has_the_last_word_and_changes_no_hash(
    write_recipe: Callable[..., Path], greaves: Any
) -> None:
    plain = read_plan(write_recipe())
    said = {"model": "pocket", "resources": {"gpus": 0.5, "memory_gb": 3, "at_once": 2}}
    plan = read_plan(write_recipe(models=[said]))
    needs = needs_of(plan.recipe.models[0])
    assert (needs.gpus, needs.memory_gb, needs.at_once) == (0.5, 3, 2)
    assert plan.hash == plain.hash
    wrong = write_recipe(models=[{"model": "pocket", "resources": {"gpu": 1}}])
    status, _, err = greaves("run", wrong, "--dry-run")
    assert status == 2
    assert "gpu" in err


def test_vanilla_of_every_model_comes_first_then_the_longest(
    write_recipe: Callable[..., Path],
) -> None:
    methods = [
        "system-prompt",
        {"method": "rrs", "name": "short", "config": {"epochs": 2}},
        {"method": "rrs", "name": "long", "config": {"epochs": 20}},
        {"method": "rrs", "name": "stressed", "stress": "benign-finetuning"},
        "vanilla",
    ]
    recipe = write_recipe(
        models=["pocket", {"model": "pocket", "name": "second"}],
        methods=methods,
        alignment_data={**MIRROR, "basic": "pocket"},
    )
    plan = read_plan(recipe)
    order = [item.cell.method.shown for item in planned(plan, plan.cells)]
    assert order[:2] == ["vanilla", "vanilla"]
    assert order.index("long") < order.index("short") < order.index("system-prompt")
    assert order[-2:] == ["stressed~benign-finetuning"] * 2
    numbers = [item.number for item in planned(plan, plan.cells)]
    assert sorted(numbers) == list(range(len(plan.cells)))


def test_estimates_are_those_worked_out_by_hand(
    write_recipe: Callable[..., Path], checkpoint: Path, mirror_folder: Path
) -> None:
    model = {"model": "qwen2-audio", "options": {"path": str(checkpoint)}}
    rrs = {"method": "rrs", "config": {"epochs": 10}}
    recipe = write_recipe(
        models=[model], methods=["vanilla", rrs], alignment_data={"mirror": str(mirror_folder)}
    )
    plan = read_plan(recipe)
    vanilla, trained = planned(plan, plan.cells)
    # 32 examples x 10 epochs x 231 tokens x 4 operations x 7e9 parameters at 124.8e12 a second.
    assert trained.seconds - vanilla.seconds == pytest.approx(16.58, abs=0.01)
    # 120 s to load. 12 questions: 0.31 s to read; 3 tasks x 2 batches of 3, 12 tokens each, 14 GB
    # at 1.2e12 bytes a second: 0.84 s; 288 tokens of responses: 0.03 s.
    assert vanilla.seconds == pytest.approx(120 + 0.31 + 0.84 + 0.03, abs=0.02)
    assert vanilla.gpu_hours == pytest.approx(vanilla.seconds / 3600)
    assert [item.responses for item in (vanilla, trained)] == [24, 24]


def test_dry_run_prints_the_plan_and_says_that_it_is_an_estimate(
    write_recipe: Callable[..., Path], checkpoint: Path, greaves: Any
) -> None:
    model = {"model": "qwen2-audio", "options": {"path": str(checkpoint)}}
    recipe = write_recipe(models=["pocket", model])
    status, out, _ = greaves("run", recipe, "--cluster", "--dry-run")
    assert status == 0
    assert "GPU hours on A100s: estimated, not measured" in out
    _, out, _ = greaves("run", recipe, "--dry-run", "--json")
    rows = json.loads(out)
    assert [(row["gpus"], row["memory_gb"]) for row in rows] == [(1.0, 18.0), (0.0, None)]
    assert rows[0]["gpu_hours_estimated"] > rows[1]["gpu_hours_estimated"] == 0
