"""Benign fine-tuning as a stress: what it starts from, what it leaves alone, what comes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_folders import copy_pairs, copy_questions

from greaves.align.defence import Defence
from greaves.align.method import METHODS, RunContext
from greaves.align.parts.lora import LoRAAdapter, MergedLoRA
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.align.stress.benign_finetuning import BenignFineTuning, BenignFineTuningConfig
from greaves.base.conversation import Conversation
from greaves.base.progress import Steps
from greaves.base.run_folder import RunFolder
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.leaderboards.submission.contents import Manifest, read_submission
from greaves.leaderboards.submission.merge import merge
from greaves.recipe.reading import read_plan
from greaves.run.runner import run

TRAINED = {"epochs": 1, "batch_size": 8, "rank": 4, "learning_rate": 1e-2, "penalty": False}
STRESS = {"benign-finetuning": {"learning_rate": 1e-2, "batch_size": 2, "epochs": 1}}
NAME = "rrs+system-prompt~benign-finetuning"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> AlignmentData:
    folder = copy_pairs(tmp_path_factory.mktemp("sets") / "basic", 8, "basic")
    return load_alignment_data(folder, "basic")


@pytest.fixture(scope="module")
def aligned(pocket: Any, basic: AlignmentData, tmp_path_factory: pytest.TempPathFactory) -> Defence:
    """A LoRA adapter, as an alignment method leaves it, and a system prompt."""
    method = METHODS.get("sft-full")
    folder = tmp_path_factory.mktemp("aligned")
    trained = method(method.Config(**TRAINED)).align(pocket, basic, RunContext(folder, 5))
    return Defence((*trained.parts, SystemPrompt("Decline what does harm.")), trained.notes)


def stress(
    pocket: Any,
    data: AlignmentData,
    defence: Defence,
    folder: Path,
    *,
    seed: int = 0,
    report: Callable[[int, int, str], None] = lambda done, total, words: None,
    **config: Any,
) -> Defence:
    settings = {**STRESS["benign-finetuning"], **config}
    made = BenignFineTuning(BenignFineTuningConfig(**settings))
    folder.mkdir(exist_ok=True)
    return made.stressed(pocket, defence, data, data, RunContext(folder, seed, report))


@pytest.fixture
def turns(basic: AlignmentData) -> list[Conversation]:
    return [Conversation("Please respond to the request.", item.clip) for item in basic.harmful[:3]]


@pytest.fixture
def unchanged(pocket: Any, turns: list[Conversation]) -> Iterator[None]:
    """The model is the same before and after the test: the same tensors, not equal ones."""
    tensors = {name: value.data_ptr() for name, value in pocket.network.named_parameters()}
    values = {name: value.clone() for name, value in pocket.network.named_parameters()}
    states = pocket.representations(turns)
    yield
    now = dict(pocket.network.named_parameters())
    assert {name: value.data_ptr() for name, value in now.items()} == tensors
    assert all(torch.equal(now[name], value) for name, value in values.items())
    assert torch.equal(pocket.representations(turns), states)
    assert not any(value.requires_grad for value in now.values())


@pytest.mark.usefixtures("unchanged")
def test_a_merged_adapter_does_what_the_adapter_did_and_comes_off_exactly(
    pocket: Any, aligned: Defence, turns: list[Conversation]
) -> None:
    adapter = aligned.parts[0]
    assert isinstance(adapter, LoRAAdapter)
    vanilla = pocket.representations(turns)
    with adapter.attached(pocket):
        beside = pocket.representations(turns)
    with MergedLoRA(adapter.folder).attached(pocket):
        merged = pocket.representations(turns)
        assert not any("lora" in name for name, _ in pocket.network.named_modules())
    assert not torch.allclose(vanilla, beside, atol=1e-3)
    torch.testing.assert_close(merged, beside, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("unchanged")
def test_a_merged_adapter_comes_off_after_an_error_too(pocket: Any, aligned: Defence) -> None:
    part = MergedLoRA(aligned.parts[0].folder)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="in between"), part.attached(pocket):
        raise RuntimeError("in between")


@pytest.mark.usefixtures("unchanged")
def test_trained_parts_are_merged_and_inference_parts_come_after_the_new_adapter(
    pocket: Any, basic: AlignmentData, aligned: Defence, tmp_path: Path
) -> None:
    stressed = stress(pocket, basic, aligned, tmp_path / "work")
    assert [part.kind for part in stressed.parts] == ["merged-lora", "lora", "system-prompt"]
    assert stressed.parts[0].content_hash() == aligned.parts[0].content_hash()
    assert stressed.parts[2] == aligned.parts[1]
    stressed.save(tmp_path / "saved", {})
    loaded = Defence.load(tmp_path / "saved")
    assert loaded.hash == stressed.hash != aligned.hash
    selection = json.loads((tmp_path / "saved" / "1-lora" / "selection.json").read_text())
    assert (selection["questions"], selection["of"]) == (2, 8)


@pytest.mark.usefixtures("unchanged")
def test_fine_tuning_starts_from_the_aligned_weights_and_never_sees_the_system_prompt(
    pocket: Any, basic: AlignmentData, aligned: Defence, tmp_path: Path
) -> None:
    trained, prompt = Defence(aligned.parts[:1]), Defence(aligned.parts[1:])
    adapters = []
    for number, defence in enumerate((Defence(), prompt, trained, aligned)):
        made = stress(pocket, basic, defence, tmp_path / str(number))
        (part,) = (one for one in made.parts if one.kind == "lora")
        adapters.append(part.content_hash())
    assert adapters[0] == adapters[1] != adapters[2] == adapters[3]


@pytest.mark.usefixtures("unchanged")
def test_a_stress_teaches_the_chosen_responses_and_no_others(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    made = stress(pocket, basic, Defence(), tmp_path / "work", epochs=16, axis="random")
    assert made.notes is not None
    assert made.notes["last_loss"] < 0.8 * made.notes["first_loss"]
    changed = AlignmentData(
        "basic",
        tuple(
            item.model_copy(update={"response": "Other words."}) if item.kind == "harmful" else item
            for item in basic.items
        ),
    )
    same = stress(pocket, changed, Defence(), tmp_path / "changed", epochs=16, axis="random")
    assert same.hash == made.hash


def test_another_seed_gives_another_stress(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    one, other = (
        stress(pocket, basic, Defence(), tmp_path / str(seed), seed=seed) for seed in (1, 2)
    )
    assert one.hash != other.hash


@pytest.mark.usefixtures("unchanged")
def test_a_stress_that_is_stopped_goes_on_to_the_same_adapter(
    pocket: Any, basic: AlignmentData, aligned: Defence, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, _total: int, words: str) -> None:
        if words == "fine-tuning" and done == 4:
            raise Stop

    small = {"epochs": 3, "fraction": 0.5}  # two steps an epoch, a checkpoint an epoch
    whole = stress(pocket, basic, aligned, tmp_path / "whole", **small)
    with pytest.raises(Stop):
        stress(pocket, basic, aligned, tmp_path / "stopped", report=stop, **small)
    done: list[int] = []

    def count(number: int, _total: int, words: str) -> None:
        if words == "fine-tuning":
            done.append(number)

    resumed = stress(pocket, basic, aligned, tmp_path / "stopped", report=count, **small)
    assert done == [3, 4, 5, 6]
    assert resumed.hash == whole.hash


def test_the_default_recipe_is_the_papers() -> None:
    config = BenignFineTuningConfig()
    assert (config.rank, config.lora_alpha, config.lora_dropout) == (8, 16, 0.05)
    assert (config.learning_rate, config.epochs, config.batch_size) == (1e-4, 3, 8)
    assert (config.scheduler, config.warm_up, config.penalty) == ("cosine", 0.1, False)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    made = stress(pocket, basic, Defence(), tmp_path / "work", epochs=10, learning_rate=1.0e-3)
    (part,) = made.parts
    assert isinstance(part, LoRAAdapter)
    steps = json.loads((part.folder / "losses.json").read_text())["steps"]
    # Ten steps, one of warm-up; then (1 + cos(pi k / 9)) / 2 of the peak.
    rates = [step["learning_rate"] for step in steps]
    assert rates[:3] == pytest.approx([0.0, 1e-3, 0.96985e-3], rel=1e-4)
    assert rates[5] == pytest.approx(0.58682e-3, rel=1e-4)


def recipe(folder: Path, **changes: Any) -> Path:
    content = {
        "name": "stressed",
        "label": "trial",
        "models": ["pocket"],
        "methods": [
            "vanilla",
            {
                "method": "rrs + system-prompt",
                "config": {"rrs": TRAINED},
                "stress": STRESS,
            },
        ],
        "alignment_data": {"basic": "basic", "mirror": "mirror"},
        "benchmarks": {
            "aiah": {"data": "aiah", "judge": "pocket-rules", "samples": 1, "max_new_tokens": 12},
            "jsr": {"data": "aiah", "judge": "pocket-rules", "samples": 1, "max_new_tokens": 12},
        },
        "tasks": ["jsr", "aiah-over-rejection"],
        **changes,
    }
    path = folder / "stressed.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its data, and its run."""
    folder = tmp_path_factory.mktemp("stressed")
    copy_questions(folder / "aiah", 4, 4)
    copy_pairs(folder / "basic", 8, "basic")
    copy_pairs(folder / "mirror", 8)
    run(read_plan(recipe(folder)), folder / "run", steps=Steps(plain=True))
    return folder


def defence_of(run_folder: Path, method: str) -> Path:
    (place,) = (run_folder / "cells" / "pocket" / method / "seed-0" / "defences").iterdir()
    return place


def test_the_stressed_cell_stands_on_the_defence_of_its_method(made: Path) -> None:
    before = Defence.load(defence_of(made / "run", "rrs+system-prompt"))
    after = Defence.load(defence_of(made / "run", NAME))
    assert after.parts[0].content_hash() == before.parts[0].content_hash()
    cells = {cell.facts()["method"]: cell.facts() for cell in RunFolder.open(made / "run").cells()}
    assert list(cells) == ["vanilla", "rrs+system-prompt", NAME]
    assert cells[NAME]["stresses"] == "rrs+system-prompt"
    assert cells[NAME]["registered_method"] == "benign-finetuning"
    assert cells[NAME]["data"] == "basic"
    assert after.notes is not None
    assert after.notes["defence"] == before.hash == cells["rrs+system-prompt"]["defence_hash"]


def test_a_run_that_is_repeated_makes_and_asks_nothing_again(made: Path) -> None:
    place = defence_of(made / "run", NAME) / "defence.json"
    written = place.stat().st_mtime_ns
    report = run(read_plan(made / "stressed.yaml"), made / "run", steps=Steps(plain=True))
    assert report.asked == 0
    assert report.found == 3 * 8
    assert place.stat().st_mtime_ns == written


def test_each_defence_is_read_once_in_a_run(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = Defence.load.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Defence], folder: Path) -> Defence:
        read.append(folder.parent.parent.parent.name)
        return load(cls, folder)

    monkeypatch.setattr(Defence, "load", classmethod(counted))
    plan = read_plan(made / "stressed.yaml")
    fresh = run(plan, tmp_path / "run", only=[NAME], steps=Steps(plain=True))
    assert fresh.asked == 8
    assert sorted(read) == ["rrs+system-prompt", NAME]
    read.clear()
    run(plan, made / "run", steps=Steps(plain=True))
    assert sorted(read) == ["rrs+system-prompt", NAME, "vanilla"]


def test_a_changed_stress_leaves_the_method_as_it_was(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "made")
    methods_ = yaml.safe_load((made / "stressed.yaml").read_text())["methods"]
    methods_[1]["stress"]["benign-finetuning"]["side"] = "farthest"
    plan = read_plan(recipe(tmp_path / "made", methods=methods_))
    report = run(plan, tmp_path / "made" / "run", steps=Steps(plain=True))
    assert (report.asked, report.found) == (8, 16)
    cell = tmp_path / "made" / "run" / "cells" / "pocket" / NAME / "seed-0"
    assert len(list((cell / "defences").iterdir())) == 2
    base = defence_of(tmp_path / "made" / "run", "rrs+system-prompt")  # still one
    assert base.name == defence_of(made / "run", "rrs+system-prompt").name


def test_only_the_stressed_cell_asks_when_it_is_named(made: Path, tmp_path: Path) -> None:
    report = run(
        read_plan(made / "stressed.yaml"), tmp_path / "run", only=[NAME], steps=Steps(plain=True)
    )
    assert (report.asked, report.found) == (8, 0)
    assert Defence.load(defence_of(tmp_path / "run", NAME)).hash == (
        Defence.load(defence_of(made / "run", NAME)).hash
    )


def test_vanilla_has_one_cell_and_as_many_stressed_ones_as_seeds(made: Path) -> None:
    path = recipe(made, methods=[{"method": "vanilla", "stress": STRESS}], seeds=[3, 4])
    cells = read_plan(path).cells
    assert [str(cell) for cell in cells] == [
        "pocket / vanilla / seed 3",
        "pocket / vanilla~benign-finetuning / seed 3",
        "pocket / vanilla~benign-finetuning / seed 4",
    ]
    assert [cell.base for cell in cells] == [None, cells[0], cells[0]]
    recipe(made)


def test_the_run_is_shown_packed_and_checked_again(
    made: Path, tmp_path: Path, greaves: Cli
) -> None:
    shutil.copytree(made, tmp_path / "made")
    status, out, err = greaves("leaderboard", tmp_path / "made" / "run")
    assert status == 0, err
    assert "JSR after" in " ".join(out.split())
    assert "Under benign-finetuning (2 of 8 benign questions" in out
    archive = tmp_path / "submission.zip"
    status, _, err = greaves("submit", tmp_path / "made" / "run", "--out", archive)
    assert status == 0, err
    status, out, err = greaves("validate", archive)
    assert status == 0, out + err


def test_boards_set_what_came_after_different_stresses_in_different_columns(
    made: Path, tmp_path: Path, greaves: Cli
) -> None:
    archive = tmp_path / "submission.zip"
    status, _, err = greaves("submit", made / "run", "--out", archive)
    assert status == 0, err
    ours = read_submission(archive)
    plain = ours.manifest.model_dump(mode="json") | {"name": "theirs"}
    twin = Manifest.model_validate(plain)
    plain["recipe"]["methods"][1]["stress"]["benign-finetuning"]["axis"] = "random"
    other = Manifest.model_validate(plain)

    def bases(theirs: Manifest, metric: str) -> set[str]:
        board = merge([ours, replace(ours, manifest=theirs, sha256="1")])
        return {entry.basis for entry in board.entries if entry.row.metric == metric}

    assert len(bases(twin, "asr_after")) == 1
    assert len(bases(other, "asr_after")) == 2
    assert len(bases(other, "asr")) == 1


def test_the_figure_of_proximity_is_drawn(made: Path, tmp_path: Path, greaves: Cli) -> None:
    status, out, err = greaves("figure", "proximity", made / "run", "--out", tmp_path)
    assert status == 0, err
    assert "rrs+system-prompt: 2 of 8 questions, closest on the semantic axis" in out
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".csv", ".json"}
    lines = (tmp_path / "proximity-pocket.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert sum("fine-tuned on" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("stress_", "parts"),
    [
        ({"benign-finetunning": {}}, ("unknown stress 'benign-finetunning'", "known:")),
        ({"benign-finetuning": {"axes": "semantic"}}, ("unknown field 'axes'", "'axis'")),
        ({"benign-finetuning": {"axis": "lexical"}}, ("stress.benign-finetuning.axis",)),
        ({"benign-finetuning": {"fraction": 0}}, ("stress.benign-finetuning.fraction",)),
        ({"benign-finetuning": {"reference": "parallel"}}, ("needs alignment_data.parallel",)),
        ([1], ("methods[0].stress",)),
    ],
)
def test_a_wrong_stress_is_one_line_that_names_its_place(
    stress_: Any, parts: tuple[str, ...], made: Path, tmp_path: Path, greaves: Cli
) -> None:
    for name in ("aiah", "basic", "mirror"):
        (tmp_path / name).symlink_to(made / name)
    path = recipe(tmp_path, methods=[{"method": "vanilla", "stress": stress_}])
    status, out, err = greaves("run", path, "--dry-run")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    for part in ("stressed.yaml:", *parts):
        assert part in err


def test_no_method_may_have_the_name_of_a_stressed_one(made: Path, greaves: Cli) -> None:
    path = recipe(made, methods=["vanilla", {"method": "rrs", "name": "vanilla~benign-finetuning"}])
    status, _, err = greaves("run", path, "--dry-run")
    recipe(made)
    assert status == 2
    assert "cannot be the name of a folder" in err
