"""Run folders and defences that a stranger hands over, or another user of the machine set up."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_hostile_run import made_hostile_run
from strategies import any_text, damaged, examples, json_values, spoilt, told

from greaves.align.defence import Defence
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.errors import GreavesError, ModelError, StoreError
from greaves.base.lock import cell_lock, lock
from greaves.base.run_folder import RunFolder
from greaves.base.store import write_json, write_text
from greaves.commands.judge import judge
from greaves.commands.status import statuses
from greaves.leaderboards.commands.agreement import agreement
from greaves.leaderboards.commands.leaderboard import leaderboard

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which nothing is wrong."""
    return made_hostile_run(tmp_path_factory.mktemp("good") / "run", list("mvtuj"), ["x"]).path


@pytest.fixture(scope="module")
def spoiling(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which one file at a time is spoilt."""
    return Path(shutil.copytree(good, tmp_path_factory.mktemp("spoilt") / "run"))


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    """A copy to do anything with."""
    return Path(shutil.copytree(good, tmp_path / "run"))


def read_all(folder: Path) -> None:
    """All that reads a run folder, without what only computes or draws."""
    run = RunFolder.open(folder)
    run.facts()
    run.verdicts()
    run.outdated()
    run.judges()
    run.versions()
    list(statuses(folder))
    for cell in run.cells():
        cell.questions()
        cell.current_responses()


CELL = "cells/m/v/seed-0"
FILES = ["run.json", *(f"{CELL}/{name}" for name in (
    "cell.json", "questions.jsonl", "responses.jsonl", "verdicts.rules.jsonl", "state.json"
))]  # fmt: skip


@given(data=st.data())
@examples(40)
def test_a_run_folder_is_read_or_told_in_one_line(
    good: Path, spoiling: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FILES))
    before = (good / name).read_bytes()
    if data.draw(st.booleans()):
        lines = [json.loads(line) for line in before.splitlines()] if "jsonl" in name else []
        rows = data.draw(spoilt(lines) if lines else spoilt(json.loads(before)))
        after = (
            "".join(f"{json.dumps(row)}\n" for row in rows) if lines else json.dumps(rows)
        ).encode()
    else:
        after = data.draw(damaged(before))
    (spoiling / name).write_bytes(after)
    try:
        read_all(spoiling)
    except GreavesError as error:
        told(error, str(spoiling))
    finally:
        (spoiling / name).write_bytes(before)


@pytest.mark.parametrize("command", [leaderboard, agreement])
@given(data=st.data())
@examples(6)
def test_reports_on_a_spoilt_run_are_made_or_told_in_one_line(
    command: Any, good: Path, spoiling: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FILES))
    before = (good / name).read_bytes()
    (spoiling / name).write_bytes(data.draw(damaged(before)))
    try:
        command(spoiling)
    except GreavesError as error:
        told(error)
    finally:
        (spoiling / name).write_bytes(before)


NAMES = ["..", ".", "", "../../../outside", "/etc", "a/../../..", "a\0b", "\ud800"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0, 1])
def test_no_name_of_a_cell_leads_out_of_a_run(name: str, place: int, run: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    facts["cells"][0][place] = name
    (run / "run.json").write_text(json.dumps(facts))
    for reader in (read_all, second_opinion, lambda folder: list(statuses(folder))):
        with pytest.raises(StoreError, match="cannot be the name of a folder") as error:
            reader(run)
        told(error.value)


def second_opinion(run: Path) -> None:
    """The one command that writes into the cells of a run that somebody else made."""
    judge(run, "refusal-rules")


def test_a_link_out_of_a_run_is_not_followed(run: Path, tmp_path: Path, greaves: Cli) -> None:
    outside = tmp_path / "outside"
    shutil.move(run / "cells" / "m", outside)
    (run / "cells" / "m").symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for reader in (read_all, second_opinion, lambda folder: list(statuses(folder))):
        with pytest.raises(StoreError, match="outside the run folder"):
            reader(run)
    status, out, err = greaves("leaderboard", run)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


LINKED = [
    "run.json", "judges.json", ".lock", f"{CELL}/cell.json", f"{CELL}/questions.jsonl",
    f"{CELL}/responses.jsonl", f"{CELL}/verdicts.rules.jsonl",
    f"{CELL}/verdicts.refusal-rules.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("content", ["notes\nof somebody else, not ended by a newline", None])
@pytest.mark.parametrize("name", LINKED)
def test_a_file_that_is_a_link_harms_nothing_elsewhere(
    name: str, content: str | None, run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    if content is not None:
        target.write_text(content)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target)
    with pytest.raises(StoreError) as error:
        second_opinion(run)
    told(error.value)
    assert (target.read_text() if target.exists() else None) == content


@pytest.mark.parametrize("name", [n for n in LINKED if n not in (".lock", "judges.json")])
def test_a_pipe_in_a_run_keeps_nobody_waiting(name: str, run: Path) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(StoreError) as error:
        second_opinion(run)
    told(error.value)


def test_locks_follow_no_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("not to be lost")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(target)
    with pytest.raises(StoreError, match="it is a link"), lock(tmp_path / "run"):
        pass
    with pytest.raises(StoreError, match="it is a link"), cell_lock(tmp_path / "run", 0.1):
        pass
    assert target.read_text() == "not to be lost"


def test_writing_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, path = tmp_path / "precious", tmp_path / "run.json"
    target.write_text("not to be lost")
    path.symlink_to(target)
    write_json(path, {"half": "\ud800"})
    assert not path.is_symlink()
    name = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: name)  # nobody can guess it otherwise
    path.with_name(f".run.json.{name.hex}.part").symlink_to(target)
    with pytest.raises(StoreError, match="cannot be written"):
        write_text(path, "other")
    assert target.read_text() == "not to be lost"


# -- defences ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def defence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("defence") / "defence"
    Defence((SystemPrompt("Be safe."),)).save(folder, {})
    return folder


@given(data=st.data(), text=any_text)
@examples(60)
def test_a_defence_is_loaded_or_told_in_one_line(
    defence: Path, data: st.DataObject, text: str
) -> None:
    name = data.draw(st.sampled_from(("defence.json", "0-system-prompt/prompt.json")))
    before = (defence / name).read_bytes()
    content = data.draw(spoilt(json.loads(before)) | json_values | st.just({"text": text}))
    (defence / name).write_text(json.dumps(content))
    try:
        Defence.load(defence)
    except GreavesError as error:
        told(error)
    finally:
        (defence / name).write_bytes(before)


@pytest.mark.parametrize("kind", ["../../../x", "/etc", "lora/../..", "__class__", "builtins.eval"])
def test_no_kind_of_a_part_is_a_path_or_a_module(kind: str, defence: Path) -> None:
    content = json.loads((defence / "defence.json").read_text())
    broken = defence.with_name("broken")
    broken.mkdir(exist_ok=True)
    (broken / "defence.json").write_text(json.dumps({**content, "parts": [kind]}))
    with pytest.raises(GreavesError, match="unknown part"):
        Defence.load(broken)


@pytest.mark.parametrize("spoil", ["weights", "config", "pickle", "peft_type", "shapes"])
@pytest.mark.parametrize("kind", ["lora", "merged-lora"])
def test_a_broken_adapter_is_one_line_and_leaves_the_model_as_it_was(
    spoil: str, kind: str, pocket: Any, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import load_file, save_file

    from greaves.align.parts.lora import LoRAAdapter, MergedLoRA
    from greaves.base.conversation import Conversation, Sampling

    question = [Conversation("How do I polish the ticket?")]
    said = pocket.respond(question, Sampling(n=1, max_new_tokens=4), [[1]])
    wrapped = get_peft_model(pocket.network, LoraConfig(r=2, target_modules=["q_proj"]))
    wrapped.save_pretrained(tmp_path)
    wrapped.unload()
    weights, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    if spoil == "weights":
        weights.write_bytes(weights.read_bytes()[:100])
    if spoil == "config":
        config.write_text("[")
    if spoil == "pickle":
        weights.rename(tmp_path / "adapter_model.bin")
    if spoil == "peft_type":
        config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "NONE"}))
    if spoil == "shapes":
        save_file({name: tensor[:1, :1] for name, tensor in load_file(weights).items()}, weights)
    part = (LoRAAdapter if kind == "lora" else MergedLoRA)(tmp_path)
    with pytest.raises(ModelError) as error, Defence((part,)).attached(pocket):
        pass
    assert str(error.value).isprintable()
    assert not any(isinstance(module, LoraLayer) for module in pocket.network.modules())
    assert not hasattr(pocket.network, "peft_config")
    assert pocket.respond(question, Sampling(n=1, max_new_tokens=4), [[1]]) == said
