"""A run on a Ray cluster of three machines is the serial run, whatever is lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_folders import copy_pairs, copy_questions
from watching import until

from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder
from greaves.commands.status import statuses
from greaves.recipe.reading import read_plan
from greaves.run.cell_run import CellsFailedError
from greaves.run.runner import run

MEMORY = 80_000_000
DRIVER = """
import sys
from pathlib import Path
from greaves.run.cell_run import CellsFailedError
from greaves.run.cluster.driver import run_on_cluster
from greaves.recipe.reading import read_plan
try:
    run_on_cluster(read_plan(Path(sys.argv[1])), sys.argv[2], address=sys.argv[3])
except CellsFailedError as error:
    sys.exit(f"greaves: {error}")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three machines of one core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)
    node = {"num_cpus": 1, "object_store_memory": MEMORY}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.workers = [made.add_node(**node) for _ in range(2)]
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells: two that answer at once, one that trains first, one whose loss is no number."""
    root = tmp_path_factory.mktemp("cluster")
    quick = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
    broken = {**quick, "learning_rate": 1e30, "max_grad_norm": 1e30}
    content = {
        "name": "cluster",
        "label": "pocket",
        "models": ["pocket"],
        "methods": [
            "system-prompt",
            {"method": "rrs", "config": quick},
            {"method": "rrs", "name": "broken", "config": broken},
            "vanilla",
        ],
        "alignment_data": {"mirror": str(copy_pairs(root / "mirror", 4))},
        "benchmarks": {
            "aiah": {
                "data": str(copy_questions(root / "aiah", 8, 8)),
                "judge": "pocket-rules",
                "samples": 5,
                "max_new_tokens": 16,
            }
        },
        "tasks": ["aiah-audio-text", "aiah-text-only", "aiah-over-rejection"],
        "batch_size": 1,
    }
    path = root / "cluster.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def serial(recipe: Path) -> Path:
    """The same run, one cell after another in this process."""
    folder = recipe.parent / "serial"
    with pytest.raises(CellsFailedError, match="1 of 4 cells failed: pocket / broken"):
        run(read_plan(recipe), folder, steps=Steps(plain=True))
    return folder


Start = Callable[[Path, Path, str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a driver in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def one(recipe: Path, folder: Path, address: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, str(recipe), str(folder), address]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()


def responses(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.rglob("responses.jsonl"))
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def count(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("responses.jsonl"))


def records(folder: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str, str]]]:
    """Responses and verdicts, none of them twice."""
    found = responses(folder)
    assert max(Counter(row["key"] for row in found).values()) == 1
    verdicts = [
        json.loads(line)
        for path in folder.rglob("verdicts.*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert max(Counter((row["judge"], row["key"]) for row in verdicts).values()) == 1
    return (
        {(row["key"], row["text"]) for row in found},
        {(row["judge"], row["key"], row["outcome"]) for row in verdicts},
    )


def test_a_driver_and_a_machine_are_killed_and_the_records_are_those_of_the_serial_run(
    cluster: Any, recipe: Path, serial: Path, tmp_path: Path, start: Start
) -> None:
    folder = tmp_path / "run"
    driver = start(recipe, folder, cluster.address)
    until(lambda: count(folder) >= 5)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {row["key"]: row["text"] for row in responses(folder)}
    assert before

    driver = start(recipe, folder, cluster.address)
    until(lambda: count(folder) > len(before) + 5)
    at_work = {row["state"] for row in statuses(folder)}
    assert at_work & {"aligning", "answering"}
    cluster.remove_node(cluster.workers.pop(), allow_graceful=False)
    _, err = driver.communicate(timeout=400)
    assert driver.returncode == 1, err
    assert "1 of 4 cells failed: pocket / broken" in err.splitlines()[-1]
    assert "the loss is nan" in err.splitlines()[-1]
    assert "Traceback" not in err

    assert records(folder) == records(serial)
    assert before.items() <= {row["key"]: row["text"] for row in responses(folder)}.items()
    states = {row["method"]: row["state"] for row in statuses(folder)}
    expected = {"system-prompt": "done", "rrs": "done", "broken": "failed", "vanilla": "done"}
    assert states == expected
    tables = [{(v.key, v.outcome) for v in RunFolder(one).verdicts()} for one in (folder, serial)]
    assert tables[0] == tables[1]


def test_two_machines_align_one_cell_together_as_one_process_does(
    cluster: Any, recipe: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    content = yaml.safe_load(recipe.read_text())
    rrs = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "lora_dropout": 0.0}
    content["methods"] = [{"method": "rrs", "config": rrs}]
    content["tasks"] = ["aiah-text-only"]
    content["benchmarks"]["aiah"]["samples"] = 1
    content["alignment_data"] = {"mirror": str(copy_pairs(tmp_path / "mirror", 10))}
    adapters = []
    for name, training in {
        "alone": {"engine": "plain"},
        "together": {"engine": "zero-2", "processes": 2, "micro_batch": 4},
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**content, "name": name, "training": training}))
        if name == "alone":
            run(read_plan(path), tmp_path / name, steps=Steps(plain=True))
        else:
            driver = start(path, tmp_path / name, cluster.address)
            _, err = driver.communicate(timeout=400)
            assert driver.returncode == 0, err
        (place,) = (tmp_path / name).glob("cells/pocket/rrs/seed-0/defences/*/0-lora")
        losses = json.loads((place / "losses.json").read_text())["steps"]
        adapters.append((losses, load_file(place / "adapter_model.safetensors")))
        assert count(tmp_path / name) > 0
    (losses, ours), (their_losses, theirs) = adapters
    assert [row["loss"] for row in losses] == pytest.approx(
        [row["loss"] for row in their_losses], rel=1e-5
    )
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=0, atol=3e-5)
