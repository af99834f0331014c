"""`greaves figure` on a small run of the pocket LALM whose first epoch was kept."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from small_folders import copy_pairs, copy_questions

from greaves.base.errors import GreavesError, ModelError, RecipeError, StoreError
from greaves.base.records import Response, Verdict
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.table import leaderboard

EPOCHS = 3
TRAINED = {"learning_rate": 1e-3, "penalty_weight": 0.1, "epochs": EPOCHS}


def run_recipe(folder: Path, **changes: Any) -> Path:
    from greaves.base.progress import Steps
    from greaves.recipe.reading import read_plan
    from greaves.run.runner import run

    recipe = {
        "name": "small",
        "label": "trial",
        "models": ["pocket"],
        "methods": ["vanilla", {"method": "rrs", "config": TRAINED}, "system-prompt"],
        "alignment_data": {"mirror": "mirror"},
        "training": {"keep_epochs": [1]},
        "benchmarks": {
            "aiah": {"data": "aiah", "judge": "pocket-rules", "samples": 2, "max_new_tokens": 16}
        },
        "tasks": ["aiah-audio-text", "aiah-text-only", "aiah-over-rejection"],
        **changes,
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe))
    run(read_plan(folder / "small.yaml"), folder / "run", steps=Steps(plain=True))
    return folder / "run"


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    copy_questions(folder / "aiah", 6, 6)
    copy_pairs(folder / "mirror", 16)
    return run_recipe(folder)


@pytest.fixture
def run_folder(made_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(made_run, tmp_path / "run"))


@pytest.fixture
def figure(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls `greaves figure ...` and returns what it printed; errors come through."""
    from greaves.leaderboards.commands.figure import app

    def call(*arguments: object) -> str:
        capsys.readouterr()
        command: Any = typer.main.get_command(app)
        command.main([str(each) for each in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return call


@pytest.fixture(scope="module")
def drawn(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run in which both figures were drawn."""
    from greaves.leaderboards.commands.figure import app

    run = Path(shutil.copytree(made_run, tmp_path_factory.mktemp("drawn") / "run"))
    command: Any = typer.main.get_command(app)
    for name in ("representations", "refusal-direction"):
        command.main([name, str(run)], standalone_mode=False)
    return run


def facts_of(run: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "figures" / f"{name}.json").read_text())
    return content


def rows_of(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "figures" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


REPRESENTATIONS = "representations-pocket-rrs-seed-0"
DIRECTION = "refusal-direction-pocket-audio-text"


def test_every_kept_epoch_is_drawn_with_its_asr_and_orr(drawn: Path) -> None:
    facts = facts_of(drawn, REPRESENTATIONS)
    assert [state["epoch"] for state in facts["states"]] == [0, 1, EPOCHS]
    svg = (drawn / "figures" / f"{REPRESENTATIONS}.svg").read_text()
    assert "rrs on pocket (trial)" in svg
    for state in facts["states"]:
        assert state["state"] in svg
        assert f"ASR {state['asr']['value']:.1f} %, ORR {state['orr']['value']:.1f} %" in svg
        assert f"probe AUC {state['auc']:.3f}, silhouette {state['silhouette']:.2f}" in svg
    png = (drawn / "figures" / f"{REPRESENTATIONS}.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(rows_of(drawn, REPRESENTATIONS)) == 3 * 12


def test_first_and_last_epoch_have_the_leaderboards_numbers(drawn: Path) -> None:
    board = {
        (row.method, row.metric): row.value
        for row in leaderboard(RunFolder.open(drawn).verdicts())
        if row.task in ("aiah-audio-text", "aiah-over-rejection")
    }
    first, _, last = facts_of(drawn, REPRESENTATIONS)["states"]
    for metric in ("asr", "orr"):
        assert first[metric]["value"] == pytest.approx(board["vanilla", metric])
        assert last[metric]["value"] == pytest.approx(board["rrs", metric])


def test_an_epoch_between_answers_as_its_kept_adapter_does(drawn: Path) -> None:
    """The adapter, put on a fresh model and asked through lm-eval, says the same."""
    from greaves.align.defence import Defence
    from greaves.answer.lm_eval import GreavesLM, GreavesTask
    from greaves.base.run_folder import CellFolder

    place = CellFolder(drawn / facts_of(drawn, REPRESENTATIONS)["states"][1]["answers"])
    kept = [item.text for item in place.current_responses() if item.kind == "harmful"]
    clip = next(item.question.clip for item in place.questions() if item.question.clip)
    metadata = {"samples": 2, "max_new_tokens": 16, "data": str(Path(clip).parents[1])}
    task = GreavesTask({"task": "aiah-audio-text", "metadata": metadata})
    task.build_all_requests()
    (epoch,) = (drawn / "cells/pocket/rrs/seed-0/defences").glob("*/epochs/1")
    texts = GreavesLM(model="pocket", defence=str(epoch)).generate_until(task.instances)
    assert len(kept) == 12
    assert sorted(texts) == sorted(kept)
    first, between, last = (
        state["defence_hash"] for state in facts_of(drawn, REPRESENTATIONS)["states"]
    )
    assert between == Defence.load(epoch).hash
    assert len({first, between, last}) == 3


def said(lines: bytes) -> set[Response]:
    return {Response.from_line(line) for line in lines.decode().splitlines()}


def test_nothing_is_asked_twice_and_a_killed_figure_carries_on(
    drawn: Path, tmp_path: Path, figure: Callable[..., str]
) -> None:
    run = Path(shutil.copytree(drawn, tmp_path / "run"))
    place = run / facts_of(run, REPRESENTATIONS)["states"][1]["answers"]
    whole = (place / "responses.jsonl").read_bytes()
    verdicts = (place / "verdicts.pocket-rules.jsonl").read_bytes()
    before = facts_of(run, REPRESENTATIONS)
    figure("representations", run)
    assert (place / "responses.jsonl").read_bytes() == whole
    assert (place / "verdicts.pocket-rules.jsonl").read_bytes() == verdicts
    assert facts_of(run, REPRESENTATIONS) == before

    (place / "responses.jsonl").write_bytes(whole[: len(whole) * 2 // 3])
    (place / "verdicts.pocket-rules.jsonl").unlink()
    figure("representations", run)
    again = (place / "responses.jsonl").read_bytes()
    kept = whole[: whole.rfind(b"\n", 0, len(whole) * 2 // 3) + 1]
    assert again.startswith(kept)
    assert len(again.splitlines()) == len(whole.splitlines())
    assert said(again) == said(whole)  # what they cost differs
    assert facts_of(run, REPRESENTATIONS) == before


def test_a_figure_leaves_the_runs_own_verdicts_alone(drawn: Path, made_run: Path) -> None:
    def verdicts(run: Path) -> list[Verdict]:
        return RunFolder.open(run).verdicts()

    assert verdicts(drawn) == verdicts(made_run)
    for path in (made_run / "cells").rglob("*"):
        if path.is_file():
            assert (drawn / path.relative_to(made_run)).read_bytes() == path.read_bytes()


def test_a_method_without_epochs_has_two_states(
    run_folder: Path, figure: Callable[..., str]
) -> None:
    out = figure("representations", run_folder, "--method", "system-prompt", "--json")
    states = json.loads(out)["states"]
    assert [state["state"] for state in states] == ["vanilla", "system-prompt"]
    rows = rows_of(run_folder, "representations-pocket-system-prompt-seed-0")
    places = {state: [row["pca_1"] for row in rows if row["state"] == state]
              for state in ("vanilla", "system-prompt")}  # fmt: skip
    assert places["vanilla"] != places["system-prompt"]


def test_epochs_that_were_not_kept_are_named_with_the_way_to_keep_them(
    run_folder: Path, figure: Callable[..., str]
) -> None:
    with pytest.raises(StoreError, match=r"did not keep epoch 2 .* it kept 0, 1, 3"):
        figure("representations", run_folder, "--epochs", "0,2,3")
    for folder in run_folder.glob("cells/pocket/rrs/seed-0/defences/*/epochs"):
        shutil.rmtree(folder)
    with pytest.raises(StoreError, match=r"training: \{keep_epochs: \[1, 3\]\}.*--epochs 0,3"):
        figure("representations", run_folder)
    figure("representations", run_folder, "--epochs", "0,3")
    states = facts_of(run_folder, REPRESENTATIONS)["states"]
    assert [state["epoch"] for state in states] == [0, EPOCHS]


def test_every_layer_method_and_mode_is_projected(drawn: Path) -> None:
    rows = rows_of(drawn, DIRECTION)
    layers = facts_of(drawn, DIRECTION)["layers"]
    assert len(rows) == 3 * 2 * 2 * layers
    assert {row["method"] for row in rows} == {"vanilla", "rrs", "system-prompt"}
    assert {row["mode"] for row in rows} == {"audio-text", "text-only"}
    assert {row["n_questions"] for row in rows} == {"3"}
    for row in rows:
        assert float(row["low"]) <= float(row["projection"]) <= float(row["high"])


def test_vanillas_gap_is_the_unit_of_the_picture(drawn: Path) -> None:
    """scaled = (projection - benign mean) / gap, both from the other half of the questions."""
    direction = facts_of(drawn, DIRECTION)["direction"]
    for row in rows_of(drawn, DIRECTION):
        place = int(row["layer"]) - 1
        own = (float(row["projection"]) - direction["benign_mean"][place]) / direction["gap"][place]
        assert float(row["scaled"]) == pytest.approx(own, abs=1e-4)


def test_layers_whose_direction_does_not_hold_are_grey_and_do_not_set_the_axis() -> None:
    """Layer 1 has a tenth of its gap left on held-out questions, layer 2 nearly all of it."""
    from greaves.leaderboards.figures.charts import noisy_layers

    apart = [
        {"method": "vanilla", "mode": "audio-text", "gap": [0.1, 9.0]},
        {"method": "rrs", "mode": "audio-text", "gap": [0.0, 0.0]},
    ]
    facts = {"apart": apart, "direction": {"gap": [1.0, 10.0]}}
    assert noisy_layers(facts, "audio-text") == [1]


def test_held_out_questions_are_not_those_the_direction_was_taken_from(drawn: Path) -> None:
    fitted = facts_of(drawn, DIRECTION)["direction"]["fitted_on"]
    assert len(fitted) == 6
    assert sum("harmful" in name for name in fitted) == 3


def test_methods_change_the_projections_and_vanilla_comes_back_after_each(
    drawn: Path, pocket: Any
) -> None:
    """Vanilla's last-layer projections, computed here by hand, are those of the table."""
    import numpy as np

    from greaves.base.conversation import conversation_of

    cell = RunFolder.open(drawn).cell("pocket", "vanilla", 0)
    spoken = [item.question for item in cell.questions() if item.question.mode == "audio-text"]
    states = pocket.representations([conversation_of(each) for each in spoken])[:, 0].numpy()
    fitted = set(facts_of(drawn, DIRECTION)["direction"]["fitted_on"])
    of = {
        (kind, each): [
            row
            for row, question in zip(states, spoken, strict=True)
            if question.kind == kind and (question.id in fitted) == each
        ]
        for kind in ("harmful", "benign")
        for each in (True, False)
    }
    axis = np.mean(of["harmful", True], axis=0) - np.mean(of["benign", True], axis=0)
    axis /= np.linalg.norm(axis)
    expected = np.mean([row @ axis for row in of["harmful", False]])
    layers = facts_of(drawn, DIRECTION)["layers"]
    found = {
        row["method"]: float(row["projection"])
        for row in rows_of(drawn, DIRECTION)
        if (row["mode"], row["kind"], int(row["layer"])) == ("audio-text", "harmful", layers)
    }
    assert found["vanilla"] == pytest.approx(expected, rel=1e-4)
    assert len({round(value, 3) for value in found.values()}) == 3


def test_the_direction_can_be_taken_from_text(run_folder: Path, figure: Callable[..., str]) -> None:
    options = ["--direction", "text-only", "--methods", "rrs", "--scale", "raw"]
    options += ["--out", str(run_folder / "else")]
    facts = json.loads(figure("refusal-direction", run_folder, *options, "--json"))
    assert facts["direction"]["from"] == "text-only"
    assert [each["method"] for each in facts["methods"]] == ["vanilla", "rrs"]
    assert (run_folder / "else" / "refusal-direction-pocket-text-only.svg").is_file()


@pytest.mark.parametrize(
    ("options", "kind", "line"),
    [
        (("representations", "--method", "rss"), StoreError, "no up-to-date cell of method 'rss'"),
        (("representations", "--seed", 9), StoreError, "'rrs' with seed 9"),
        (("representations", "--model", "gpt"), RecipeError, "no model 'gpt'.*it has: pocket"),
        (("representations", "--epochs", "one"), RecipeError, "not numbers"),
        (("refusal-direction", "--methods", "rss"), RecipeError, "no method 'rss'.*rrs"),
        (("refusal-direction", "--benchmark", "air"), GreavesError, "no harmful and benign"),
    ],
)
def test_a_wrong_name_is_told_in_one_line(
    options: tuple[object, ...],
    kind: type[GreavesError],
    line: str,
    made_run: Path,
    figure: Callable[..., str],
) -> None:
    with pytest.raises(kind, match=line) as told:
        figure(options[0], made_run, *options[1:])
    assert "\n" not in str(told.value)


def test_a_model_that_did_not_answer_is_not_looked_into(
    run_folder: Path, figure: Callable[..., str]
) -> None:
    path = run_folder / "cells/pocket/vanilla/seed-0/cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "another"}))
    with pytest.raises(ModelError, match="not the one that answered"):
        figure("refusal-direction", run_folder)


def test_a_folder_without_a_run_is_told(tmp_path: Path, figure: Callable[..., str]) -> None:
    for name in ("representations", "refusal-direction"):
        with pytest.raises(StoreError, match="there is no run in this folder"):
            figure(name, tmp_path)


def test_the_commands_are_found_without_what_takes_seconds_to_import() -> None:
    """Every start of `greaves` imports them."""
    script = (
        "import sys; from greaves.leaderboards.commands.figure import app;"
        "print(sorted(one.name for one in app.registered_commands));"
        "print({'torch', 'sklearn', 'altair', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names, heavy = done.stdout.splitlines()
    assert {"'refusal-direction'", "'representations'"} <= set(names.strip("[]").split(", "))
    assert heavy == "set()"


def test_a_method_is_followed_by_what_benign_fine_tuning_left_of_it(run_folder: Path) -> None:
    from greaves.leaderboards.figures.inside_run import InsideRun

    facts = json.loads((run_folder / "run.json").read_text())
    facts["recipe"]["methods"][0]["stress"] = {"benign-finetuning": {}}
    facts["recipe"]["methods"][1]["stress"] = {"benign-finetuning": {}}
    (run_folder / "run.json").write_text(json.dumps(facts))
    assert InsideRun(run_folder).methods() == [
        "vanilla~benign-finetuning",
        "rrs",
        "rrs~benign-finetuning",
        "system-prompt",
    ]
