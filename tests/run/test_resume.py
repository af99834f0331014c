"""A run that is killed continues; a run that changed asks again. Real kills, the real model."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from warm import PROCESSES

from greaves.data.folders import EMBEDDED


def run_recipe(recipe: Path, folder: Path, only: tuple[str, ...] = ()) -> None:
    """What `greaves run` does; module-level so that another process can be told to do it."""
    import torch

    from greaves.base.progress import Steps
    from greaves.recipe.reading import read_plan
    from greaves.run.runner import run

    torch.set_num_threads(1)
    run(read_plan(recipe), folder, only=only, steps=Steps(plain=True))


def start(recipe: Path, folder: Path) -> Any:
    process = PROCESSES.Process(target=run_recipe, args=(recipe, folder))
    process.start()
    return process


def finish(recipe: Path, folder: Path) -> None:
    process = start(recipe, folder)
    process.join(300)
    assert process.exitcode == 0


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.rglob("responses*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def count_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("responses*.jsonl"))


def by_key(folder: Path) -> dict[str, str]:
    found = lines(folder)
    assert not [key for key, n in Counter(row["key"] for row in found).items() if n > 1]
    return {row["key"]: row["text"] for row in found}


@pytest.fixture
def recipe(write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(batch_size=1)


def test_killed_at_random_moments_nothing_is_lost_doubled_or_asked_twice(
    recipe: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(recipe, whole)
    expected = by_key(whole)
    seed = time.time_ns()
    print(f"seed of the moments: {seed}")  # shown when the test fails
    chooser = random.Random(seed)
    seen: dict[str, str] = {}
    for _ in range(4):
        process = start(recipe, killed)
        goal = count_lines(killed) + chooser.randrange(0, 5)
        while process.is_alive() and count_lines(killed) < goal:
            time.sleep(0.002)
        time.sleep(chooser.random() * 0.1)
        process.kill()
        process.join()
        now = {row["key"]: row["text"] for row in map(json.loads, whole_lines(killed))}
        assert seen.items() <= now.items()
        seen = now
    files = list(killed.rglob("responses.jsonl"))
    if files:
        with files[0].open("ab") as file:
            file.write(b'{"key": "half a li')
    finish(recipe, killed)
    assert by_key(killed) == expected
    assert seen.items() <= by_key(killed).items()


def whole_lines(folder: Path) -> list[bytes]:
    data = b"".join(
        path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
        for path in folder.rglob("responses.jsonl")
    )
    return data.splitlines()


def test_running_again_asks_nothing_and_judges_nothing_twice(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finish(recipe, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.jsonl")}
    finish(recipe, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.jsonl")} == before


CHANGES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "sampling parameter": lambda recipe, data: recipe["benchmarks"]["aiah"].update(top_p=0.9),
    "longer answers": lambda recipe, data: recipe["benchmarks"]["aiah"].update(max_new_tokens=13),
    "sampling seed": lambda recipe, data: recipe["benchmarks"]["aiah"].update(sampling_seed=1),
    "method": lambda recipe, data: recipe.update(
        methods=[{"method": "other-prompt", "name": "vanilla"}]
    ),
    "dtype": lambda recipe, data: recipe.update(
        models=[{"model": "pocket", "options": {"dtype": "bfloat16"}}]
    ),
    "model": lambda recipe, data: recipe.update(
        models=[
            {
                "model": "qwen2-audio",
                "name": "pocket",
                "options": {"path": str(data / "lm"), "dtype": "float32"},
            }
        ]
    ),
}


@pytest.fixture
def other_prompt_method() -> Any:
    """A method that leaves a system prompt, registered for one test."""
    from greaves.align.defence import Defence
    from greaves.align.method import METHODS, AlignmentMethod, MethodConfig, register_method
    from greaves.align.parts.system_prompt import SystemPrompt

    @register_method("other-prompt")
    class OtherPrompt(AlignmentMethod[MethodConfig]):
        """A system prompt."""

        def align(self, model: Any, data: Any, context: Any) -> Defence:
            return Defence((SystemPrompt("You are a safe assistant."),))

    yield
    METHODS._entries.pop("other-prompt")


def changed_weights(folder: Path) -> None:
    """A copy of the pocket LALM with one weight changed."""
    from safetensors.torch import load_file, save_file

    from greaves.models.families.pocket_lalm import WEIGHTS

    shutil.copytree(WEIGHTS, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("lm_head.weight"))
    tensors[name][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_run_never_reuses_old_lines(
    change: str, recipe: Path, tmp_path: Path, other_prompt_method: None
) -> None:
    content = yaml.safe_load(recipe.read_text())
    content["tasks"] = ["aiah-text-only"]
    recipe.write_text(yaml.safe_dump(content))
    changed_weights(tmp_path / "lm")
    run_recipe(recipe, tmp_path / "run")
    before = by_key(tmp_path / "run")
    CHANGES[change](content, tmp_path)
    recipe.write_text(yaml.safe_dump(content))
    run_recipe(recipe, tmp_path / "run")
    after = by_key(tmp_path / "run")
    assert len(after) == 2 * len(before)
    assert before.items() <= after.items()


def test_a_changed_clip_or_prompt_is_asked_again_and_others_are_not(
    write_recipe: Callable[..., Path], tmp_path: Path, aiah_folder: Path
) -> None:
    from greaves.base.run_folder import RunFolder
    from greaves.recipe.reading import read_plan

    recipe = write_recipe(tasks=["aiah-audio-text", "aiah-text-only"])
    folder = tmp_path / "run"
    run_recipe(recipe, folder)
    before = by_key(folder)
    rows = [json.loads(line) for line in (aiah_folder / "questions.jsonl").read_text().splitlines()]
    shutil.copyfile(aiah_folder / rows[1]["clip"], aiah_folder / rows[0]["clip"])
    rows[2]["text"] = rows[2]["text"].replace("?", "??").replace(".", "..")
    (aiah_folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_recipe(recipe, folder)
    fresh = [row for row in lines(folder) if row["key"] not in before]
    asked = Counter((row["task"], row["question_id"]) for row in fresh)
    assert asked == {("aiah-audio-text", rows[0]["id"]): 2, ("aiah-text-only", rows[2]["id"]): 2}
    current = {verdict.key for verdict in RunFolder.open(folder).verdicts()}
    per_task = read_plan(recipe).benchmark(read_plan(recipe).tasks[0]).samples * 4
    assert len(current) == 2 * per_task
    assert {row["key"] for row in fresh} <= current


def test_a_table_never_mixes_two_versions_of_a_recipe(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    from greaves.base.run_folder import RunFolder

    folder = tmp_path / "run"
    recipe = write_recipe(tasks=["aiah-text-only"], models=["pocket", {**BFLOAT16}])
    run_recipe(recipe, folder)
    assert {v.model for v in RunFolder.open(folder).verdicts()} == {"pocket", "bfloat16"}
    content = yaml.safe_load(recipe.read_text())
    content["benchmarks"]["aiah"]["temperature"] = 0.5
    recipe.write_text(yaml.safe_dump(content))
    run_recipe(recipe, folder, only=("pocket",))
    assert {v.model for v in RunFolder.open(folder).verdicts()} == {"pocket"}
    assert RunFolder.open(folder).outdated() == ["bfloat16/vanilla/seed-0"]
    run_recipe(recipe, folder)
    assert {v.model for v in RunFolder.open(folder).verdicts()} == {"pocket", "bfloat16"}
    assert RunFolder.open(folder).outdated() == []


BFLOAT16 = {"model": "pocket", "name": "bfloat16", "options": {"dtype": "bfloat16"}}


def test_a_changed_reference_is_judged_again_without_asking_again(tmp_path: Path) -> None:
    from greaves.base.run_folder import RunFolder

    source = EMBEDDED / "air_bench" / "Chat"
    rows = json.loads((source / "Chat_meta.json").read_text())[:2]
    for row in rows:
        place = f"{row['task_name']}_{row['dataset_name']}/{row['path']}"
        (tmp_path / "data" / "Chat" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / place, tmp_path / "data" / "Chat" / place)
    meta = tmp_path / "data" / "Chat" / "Chat_meta.json"
    meta.write_text(json.dumps(rows))
    air_bench = {"data": "data", "judge": "reference-overlap", "samples": 1, "temperature": 0.0}
    recipe = tmp_path / "chat.yaml"
    content = {"name": "chat", "models": ["pocket"], "methods": ["vanilla"]}
    content |= {"benchmarks": {"air-bench": air_bench}, "tasks": ["air-bench-chat"]}
    recipe.write_text(yaml.safe_dump(content))
    run_recipe(recipe, tmp_path / "run")
    before = by_key(tmp_path / "run")
    first = {v.key: v.score for v in RunFolder.open(tmp_path / "run").verdicts()}
    for row in rows:
        row["answer_gt"] = "zebra zebra"
    meta.write_text(json.dumps(rows))
    run_recipe(recipe, tmp_path / "run")
    assert by_key(tmp_path / "run") == before
    second = {v.key: v.score for v in RunFolder.open(tmp_path / "run").verdicts()}
    assert first.keys() == second.keys()
    assert max(first.values()) > 5
    assert set(second.values()) == {1.0}


def test_responses_do_not_depend_on_the_batch_they_were_drawn_in(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run_recipe(write_recipe(batch_size=1), tmp_path / "one")
    run_recipe(write_recipe(batch_size=16), tmp_path / "sixteen")
    assert by_key(tmp_path / "one") == by_key(tmp_path / "sixteen")
