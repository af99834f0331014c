"""Several processes train as one does: same losses, same adapter, whoever started them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_folders import copy_pairs, copy_questions
from watching import children, until

from greaves.align.defence import Defence
from greaves.base.progress import Steps
from greaves.recipe.reading import read_plan
from greaves.run.runner import run as run_plan

RRS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "lora_dropout": 0.0,
}
"""20 questions, 3 epochs, 4 steps: the last one is not full. Without dropout, whose noise
depends on how a batch is cut."""

TWO = {"processes": 2, "micro_batch": 4}
LAUNCHERS: dict[str, list[str]] = {
    "torchrun": [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nproc-per-node", "2", "--standalone", "-m", "greaves"),
    ],
    "deepspeed": [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", "2"),
        *("--no_local_rank", "--master_port", "29611", "--module", "greaves"),
    ],
    "accelerate": [
        *(sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"),
        *("--use_deepspeed", "--zero_stage", "2", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29612"),
        *("--module", "greaves"),
    ],
}
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes a recipe: RRS on ten pairs, two questions asked."""
    root = tmp_path_factory.mktemp("processes")
    pairs, questions = copy_pairs(root / "mirror", 10), copy_questions(root / "aiah", 1, 1)

    def recipe(name: str, training: dict[str, Any], **config: Any) -> Path:
        content = {
            "name": name,
            "label": "pocket",
            "models": ["pocket"],
            "methods": [{"method": "rrs", "config": {**RRS, **config}}],
            "alignment_data": {"mirror": str(pairs)},
            "training": training,
            "benchmarks": {"aiah": {"data": str(questions), "judge": "pocket-rules", "samples": 1}},
            "tasks": ["aiah-audio-text"],
        }
        path = root / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return recipe


@pytest.fixture(scope="module", autouse=True)
def _on_cpu() -> Iterator[None]:
    """For DeepSpeed, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DS_ACCELERATOR", "cpu")
        yield


def start(recipe: Path, launcher: list[str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(launcher or [sys.executable, "-m", "greaves"]), "run", str(recipe)],
        cwd=recipe.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(recipe: Path) -> None:
    """A run whose first process is this one, which spares it the imports."""
    run_plan(read_plan(recipe), recipe.parent / "runs" / recipe.stem, steps=Steps(plain=True))


def run_by(launcher: list[str], recipe: Path) -> str:
    process = start(recipe, launcher)
    try:
        out, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, out
    return out


def defences(recipe: Path) -> Path:
    return recipe.parent / "runs" / recipe.stem / "cells" / "pocket" / "rrs" / "seed-0" / "defences"


def trained(recipe: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Loss of every step, and the adapter."""
    (place,) = (one for one in defences(recipe).iterdir() if one.suffix != ".work")
    steps = json.loads((place / "0-lora" / "losses.json").read_text())["steps"]
    return [row["loss"] for row in steps], load_file(place / "0-lora" / "adapter_model.safetensors")


def assert_same(
    ours: tuple[list[float], dict[str, torch.Tensor]],
    theirs: tuple[list[float], dict[str, torch.Tensor]],
) -> None:
    assert len(ours[0]) == len(theirs[0]) == 4
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, value in ours[1].items():
        torch.testing.assert_close(value, theirs[1][name], rtol=0, atol=3e-5)


@pytest.fixture(scope="module")
def alone(write: Write) -> tuple[list[float], dict[str, torch.Tensor]]:
    """One process that takes the batch of 16 at once."""
    recipe = write("alone", {"engine": "plain"})
    run(recipe)
    return trained(recipe)


@pytest.fixture(scope="module")
def two(write: Write) -> Callable[[str], Path]:
    """A finished run of two processes under an engine; one for all tests that look at it."""

    @cache
    def finished(engine: str) -> Path:
        recipe = write(f"two-{engine}", {"engine": engine, "keep_epochs": [1], **TWO})
        run(recipe)
        return recipe

    return finished


@pytest.mark.parametrize("engine", ["plain", "zero-1", "zero-2", "zero-3"])
def test_two_processes_of_four_accumulated_twice_train_as_one_of_sixteen(
    engine: str, two: Callable[[str], Path], alone: Any
) -> None:
    recipe = two(engine)
    assert_same(trained(recipe), alone)
    (place,) = defences(recipe).iterdir()
    first = Defence.load(place / "epochs" / "1")
    assert first.hash != Defence.load(place).hash
    weights = load_file(place / "epochs" / "1" / "0-lora" / "adapter_model.safetensors")
    assert weights.keys() == alone[1].keys()
    assert all(weights[name].shape == alone[1][name].shape for name in weights)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_outer_launcher_trains_as_one_process_does(
    launcher: str, write: Write, alone: Any
) -> None:
    recipe = write(f"by-{launcher}", {"engine": "zero-2", "micro_batch": 4})
    out = run_by(LAUNCHERS[launcher], recipe)
    assert_same(trained(recipe), alone)
    assert out.count("responses asked for") == 1  # the first process speaks and asks


@pytest.fixture
def killed(write: Write) -> Iterator[Path]:
    """A recipe under ZeRO-2 whose run was killed between two checkpoints of its training."""
    recipe = write("killed", {"engine": "zero-2", **TWO})
    process = start(recipe)
    until(lambda: bool(list(defences(recipe).glob("*.work/checkpoints/*/whole"))))
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers), 30)
    yield recipe
    process.communicate()


def test_a_killed_run_takes_its_workers_along_and_continues_as_it_was_to_the_same_losses(
    killed: Path,
    two: Callable[[str], Path],
    greaves: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [one for one in defences(killed).iterdir() if one.suffix != ".work"] == []
    as_it_was = killed.read_text()
    killed.write_text(yaml.safe_dump({**yaml.safe_load(as_it_was), "training": "zero-1"}))
    monkeypatch.chdir(killed.parent)
    status, _, err = greaves("run", killed)
    assert status == 2
    assert "made by 2 processes under zero-2, this run has 1 under zero-1" in err
    assert "Traceback" not in err

    killed.write_text(as_it_was)
    run(killed)
    losses, adapter = trained(killed)
    uninterrupted, expected = trained(two("zero-2"))
    assert len(losses) == 4
    assert losses == uninterrupted
    assert all(torch.equal(adapter[name], expected[name]) for name in expected)


def test_a_batch_that_cannot_be_cut_is_refused_in_words(
    write: Write, greaves: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write("uneven", {"engine": "plain", "micro_batch": 5})
    monkeypatch.chdir(recipe.parent)
    status, _, err = greaves("run", recipe)
    assert status == 2
    assert "batch_size 16 is not 1 processes x micro_batch 5" in err


def test_a_stage_is_one_word_in_the_recipe(write: Write) -> None:
    recipe = write("word", {})
    recipe.write_text(recipe.read_text().replace("training: {}", "training: zero-2"))
    assert read_plan(recipe).recipe.training.stage == 2


def test_an_unknown_engine_is_refused_by_line(write: Write, greaves: Any) -> None:
    status, _, err = greaves("run", write("unknown", {"engine": "zero-4"}))
    assert status == 2
    assert "training" in err
    assert "zero-3" in err


def test_a_loss_that_is_no_number_names_its_step_and_batch(
    write: Write, greaves: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write("nan", {}, learning_rate=1e30, max_grad_norm=1e30)
    monkeypatch.chdir(recipe.parent)
    status, _, err = greaves("run", recipe)
    assert status == 2
    assert "the loss is nan at step 2 (batch: " in err
    assert "mirror-harmful-00" in err
    assert "Traceback" not in err
