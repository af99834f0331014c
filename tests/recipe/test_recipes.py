"""What a new user gets for a mistake: one line, exit status 2, nothing lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from greaves.recipe.packaged import find_recipe, packaged
from greaves.recipe.reading import read_plan

Cli = Callable[..., tuple[int, str, str]]


def refused(result: tuple[int, str, str], *parts: str) -> None:
    """The command stopped with one line on stderr that holds all `parts`."""
    status, out, err = result
    assert status == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    for part in parts:
        assert part in err


PAPER = [name for name in packaged() if name.startswith("paper-")]


@pytest.mark.parametrize("name", [name for name in packaged() if name not in PAPER])
def test_a_packaged_recipe_is_valid(name: str) -> None:
    plan = read_plan(find_recipe(name))
    assert plan.recipe.name == name
    assert plan.recipe.label == "pocket"
    assert plan.cells[0].method.method == "vanilla"


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_of_the_paper_lacks_nothing_but_its_data(
    name: str, greaves: Cli, tmp_path: Path
) -> None:
    refused(greaves("run", name), f"{name}.yaml:", "there is no such data folder", "data/")
    copy = Path(shutil.copy(find_recipe(name), tmp_path))
    for folder in ("basic", "mirror", "parallel", "aiah", "air_bench"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    plan = read_plan(copy)
    assert plan.recipe.name == name
    assert plan.cells[0].method.method == "vanilla"
    for model in ("qwen2-audio", "qwen-audio", "qwen2.5-omni"):
        methods = [cell.method for cell in plan.cells if cell.model.shown == model]
        assert methods[0].method == "vanilla"
        assert "rrs" in {method.method for method in methods}


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_of_the_paper_fine_tunes_as_published(name: str) -> None:
    """Every value of the recipe is the default; a table changes its ablation and nothing else."""
    recipe = yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))
    changed = {
        field
        for method in recipe["methods"]
        if isinstance(method, dict)
        for field in method.get("config", {})
    }
    assert changed <= {"top_percent", "penalty"}
    assert recipe["training"] == {"engine": "zero-2", "micro_batch": 4, "keep_epochs": [1, 3]}
    assert recipe["benchmarks"]["aiah"]["samples"] == 5
    assert recipe["benchmarks"]["aiah"]["temperature"] == recipe["benchmarks"]["aiah"]["top_p"] == 1


BROKEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown method": (
        {"methods": ["vanilla", "rss"]},
        ["small.yaml:7: methods[1]", "unknown method 'rss'", "did you mean 'rrs'?"],
    ),
    "unknown model": ({"models": ["pockett"]}, ["models[0]", "did you mean 'pocket'?"]),
    "unknown task": (
        {"tasks": ["aiah-audio-txt"]},
        ["tasks[0]", "did you mean 'aiah-audio-text'?"],
    ),
    "model of a method that is not there": (
        {"methods": ["vanilla", {"method": "system-prompt", "models": ["qwen2-audio"]}]},
        ["methods[1].models", "'qwen2-audio', which is not in the recipe", "it has: pocket"],
    ),
    "judge with an option it does not take": (
        {
            "benchmarks": {
                "aiah": {"data": "pocket", "judge": {"judge": "pocket-rules", "options": {"x": 1}}}
            }
        },
        ["benchmarks.aiah.judge", "judge 'pocket-rules'"],
    ),
    "judge of other kinds of questions": (
        {"benchmarks": {"aiah": {"data": "pocket", "judge": "reference-overlap"}}},
        ["benchmarks.aiah.judge", "cannot judge harmful questions (aiah-audio-text)"],
    ),
    "judge without a server": (
        {"benchmarks": {"aiah": {"data": "pocket", "judge": "llm"}}},
        ["benchmarks.aiah.judge", "llm:MODEL@URL"],
    ),
    "misspelt field": (
        {"batch_sizes": 3},
        ["batch_sizes", "unknown field 'batch_sizes'", "did you mean 'batch_size'?"],
    ),
    "misspelt field of a method": (
        {
            "methods": [{"method": "rrs", "config": {"penalti": False}}],
            "alignment_data": {"mirror": "pocket"},
        },
        ["methods[0].config.penalti", "did you mean 'penalty'?"],
    ),
    "value of the wrong type": ({"batch_size": "many"}, ["batch_size", "valid integer"]),
    "value out of range": (
        {
            "methods": [{"method": "rrs", "config": {"top_percent": 0}}],
            "alignment_data": {"mirror": "pocket"},
        },
        ["methods[0].config.top_percent", "greater than 0"],
    ),
    "missing alignment data": (
        {"methods": ["vanilla", "rrs"]},
        ["methods[1]", "needs alignment_data.mirror"],
    ),
    "unknown judge": (
        {"benchmarks": {"aiah": {"data": "pocket", "judge": "pocket-rule"}}},
        ["benchmarks.aiah.judge", "did you mean 'pocket-rules'?"],
    ),
    "task without its benchmark": ({"tasks": ["air-bench-chat"]}, ["needs benchmarks.air-bench"]),
    "same method twice": ({"methods": ["vanilla", "vanilla"]}, ["'vanilla' occurs twice"]),
    "missing data folder": (
        {"benchmarks": {"aiah": {"data": "nowhere", "judge": "pocket-rules"}}},
        ["nowhere", "no such data folder"],
    ),
    "name that is a path": ({"name": "../escape"}, ["name", "pattern"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_recipe_is_explained_in_one_line(
    case: str, greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    changes, parts = BROKEN[case]
    folder = tmp_path / "run"
    refused(greaves("run", write_recipe(**changes), "--run-dir", folder), *parts)
    assert not folder.exists()


def test_one_method_may_have_a_config_a_model(write_recipe: Callable[..., Path]) -> None:
    """As RRS keeps other features for other models in the paper."""
    path = write_recipe(
        models=["pocket", {"model": "pocket", "name": "other"}],
        methods=[
            "vanilla",
            {"method": "system-prompt", "name": "asked", "models": ["pocket"]},
            {
                "method": "system-prompt",
                "name": "asked",
                "config": {"text": "Be safe."},
                "models": ["other"],
            },
        ],
    )
    cells = [(str(cell), cell.method.config) for cell in read_plan(path).cells]
    assert cells == [
        ("pocket / vanilla / seed 0", {}),
        ("pocket / asked / seed 0", {}),
        ("other / vanilla / seed 0", {}),
        ("other / asked / seed 0", {"text": "Be safe."}),
    ]


def test_a_recipe_that_is_not_yaml_is_named_with_its_line(greaves: Cli, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: broken\nmodels: [pocket\nmethods: {\n")
    refused(greaves("run", path), "broken.yaml:", "not YAML")
    path.write_text("- just\n- a list\n")
    refused(greaves("run", path), "broken.yaml", "mapping")
    path.write_bytes(b"\xff\xfe\x00")
    refused(greaves("run", path), "broken.yaml", "cannot be read")


def test_a_wrong_command_or_option_is_one_line(greaves: Cli) -> None:
    refused(greaves("frobnicate"), "No such command 'frobnicate'")
    refused(greaves("run", "pocket", "--fesh"), "No such option: --fesh")
    refused(greaves("run"), "Missing argument 'recipe'; see: greaves --help")
    assert greaves("--version")[0] == 0
    assert greaves("run", "--help")[0] == 0


def test_an_unknown_recipe_name_suggests_the_nearest(greaves: Cli) -> None:
    refused(greaves("run", "pockets"), "unknown recipe 'pockets'", "did you mean 'pocket'?")
    refused(greaves("run", "missing.yaml"), "missing.yaml", "no such recipe file")


def first_clip(folder: Path) -> Path:
    row = json.loads((folder / "questions.jsonl").read_text().splitlines()[0])
    return folder / str(row["clip"])


def test_a_missing_clip_is_named_with_file_line_and_question(
    greaves: Cli, write_recipe: Callable[..., Path], aiah_folder: Path, tmp_path: Path
) -> None:
    first_clip(aiah_folder).unlink()
    result = greaves("run", write_recipe(), "--run-dir", tmp_path / "run")
    refused(result, "questions.jsonl:1", "evaluation-harmful-000", "is missing")


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_header_only(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16_000, format="WAV")


def write_slow(path: Path) -> None:
    soundfile.write(path, np.zeros(4_000), 4_000, format="WAV")


def write_text(path: Path) -> None:
    path.write_text("this is not sound")


def write_nan(path: Path) -> None:
    soundfile.write(path, np.full(16_000, np.nan), 16_000, format="WAV", subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (write_empty, "empty file"),
        (write_header_only, "no samples"),
        (write_slow, "sampled at 4000 Hz"),
        (write_text, "cannot be read as audio"),
        (write_nan, "not numbers"),
    ],
)
def test_a_broken_clip_is_named_and_nothing_computed_is_lost(
    spoil: Callable[[Path], None],
    reason: str,
    greaves: Cli,
    write_recipe: Callable[..., Path],
    aiah_folder: Path,
    tmp_path: Path,
) -> None:
    clip = first_clip(aiah_folder)
    good = clip.read_bytes()
    spoil(clip)
    recipe = write_recipe(tasks=["aiah-text-only", "aiah-audio-text"])
    result = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert result[0] == 2
    assert reason in result[2].splitlines()[-1]
    assert clip.name in result[2].splitlines()[-1]
    kept = (tmp_path / "run").rglob("responses.jsonl")
    done = sum(len(path.read_text().splitlines()) for path in kept)
    assert done >= 6
    clip.write_bytes(good)
    status, out, _ = greaves("run", recipe, "--run-dir", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(out)["found"] == done


def test_another_sampling_rate_is_resampled_and_heard_the_same(
    pocket: Any, tmp_path: Path, aiah_folder: Path
) -> None:
    import soxr

    from greaves.data.speech.clips import load_clip

    clip = first_clip(aiah_folder)
    wave = load_clip(clip, 16_000)
    stereo = np.stack([soxr.resample(wave, 16_000, 44_100)] * 2, axis=1)
    soundfile.write(tmp_path / "cd.wav", stereo, 44_100, subtype="FLOAT")
    again = load_clip(tmp_path / "cd.wav", 16_000)
    assert abs(len(again) - len(wave)) <= 1
    size = min(len(wave), len(again))
    assert np.corrcoef(wave[:size], again[:size])[0, 1] > 0.999


def test_a_clip_outside_the_data_folder_is_refused(
    greaves: Cli, write_recipe: Callable[..., Path], aiah_folder: Path, tmp_path: Path
) -> None:
    lines = (aiah_folder / "questions.jsonl").read_text()
    name = first_clip(aiah_folder).name
    (aiah_folder / "questions.jsonl").write_text(lines.replace(f"clips/{name}", "../../secret.ogg"))
    result = greaves("run", write_recipe(), "--run-dir", tmp_path / "run")
    refused(result, "leaves the data folder", "questions.jsonl:1")


def test_a_read_only_run_folder_is_refused(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    result = greaves("run", write_recipe(), "--run-dir", blocked / "run")
    refused(result, "cannot be written", "--run-dir")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if os.geteuid() != 0:  # root may write anywhere
        refused(greaves("run", write_recipe(), "--run-dir", folder), "cannot be written")


def _hold(folder: Path, ready: Any) -> None:
    from greaves.base.lock import lock

    with lock(folder):
        ready.set()
        signal.pause()


def test_two_runs_on_one_folder_at_once_are_refused(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "run", ready))
    holder.start()
    ready.wait(30)
    result = greaves("run", write_recipe(), "--run-dir", tmp_path / "run")
    holder.kill()
    holder.join()
    refused(result, f"another run (process {holder.pid} on ", "--run-dir")


def test_a_run_folder_of_another_recipe_is_not_overwritten(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert greaves("run", write_recipe(tasks=["aiah-text-only"]), "--run-dir", folder)[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.json*")}
    result = greaves("run", write_recipe(name="other"), "--run-dir", folder)
    refused(result, "holds a run of recipe 'small', not 'other'")
    assert {path: path.read_bytes() for path in folder.rglob("*.json*")} == before


def test_dry_run_shows_the_cells_and_writes_nothing(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    recipe = write_recipe(
        methods=["rrs", "vanilla"], seeds=[1, 2], alignment_data={"mirror": "pocket"}
    )
    status, out, _ = greaves("run", recipe, "--run-dir", folder, "--dry-run", "--json")
    assert status == 0
    rows = json.loads(out)
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("vanilla", 1),
        ("rrs", 1),
        ("rrs", 2),
    ]
    assert [row["responses"] for row in rows] == [24, 24, 24]
    assert not folder.exists()


def test_only_runs_what_is_named_and_the_rest_follows_later(
    greaves: Cli, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, folder = write_recipe(), tmp_path / "run"
    result = greaves("run", recipe, "--run-dir", folder, "--only", "aiah-text-only", "--json")
    assert json.loads(result[1]) == {"run": str(folder), "asked": 8, "found": 0}
    result = greaves("run", recipe, "--run-dir", folder, "--json")
    assert json.loads(result[1]) == {"run": str(folder), "asked": 16, "found": 8}
    result = greaves("run", recipe, "--run-dir", folder, "--fresh", "--json")
    assert json.loads(result[1]) == {"run": str(folder), "asked": 24, "found": 0}
    assert len(list(tmp_path.glob("run.before-*/cells"))) == 1
    refused(greaves("run", recipe, "--only", "nothing"), "--only nothing")


def test_a_bug_of_ours_is_one_line_with_status_1_and_a_traceback_only_on_demand(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, greaves.commands.cli as cli\n"
        "@cli.app.command('crash')\n"
        "def crash() -> None:\n    raise RuntimeError('two\\nlines')\n"
        "cli.main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, "crash"], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 1
    assert run.stderr == ("greaves: internal error: RuntimeError: two lines; --debug shows where\n")
    run = subprocess.run(
        [sys.executable, "-c", script, "--debug", "crash"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert "Traceback" in run.stderr
