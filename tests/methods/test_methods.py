"""The contract of every method that is registered; a newcomer is covered by being there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from warm import PROCESSES

from greaves.align.defence import Defence
from greaves.align.method import METHODS, AlignmentMethod, RunContext
from greaves.base.conversation import Conversation, Sampling
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import EMBEDDED

NAMES = METHODS.names()
TRAINING = [name for name in NAMES if METHODS.get(name).requires.gradients]
SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 8, "rank": 4, "learning_rate": 1e-3}
"""What makes a training method quick; ignored by methods without such fields."""


def make(name: str, **changes: Any) -> AlignmentMethod[Any]:
    method = METHODS.get(name)
    fields = method.Config.model_fields
    small = {key: value for key, value in {**SMALL, **changes}.items() if key in fields}
    return method(method.Config(**small))


def data_for(method: AlignmentMethod[Any], folders: dict[str, Path]) -> AlignmentData | None:
    kind = method.requires.data
    return load_alignment_data(folders[kind], kind) if kind else None


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


@pytest.fixture
def turns() -> list[Conversation]:
    clips = sorted((EMBEDDED / "aiah" / "clips").glob("*.ogg"))[:3]
    return [Conversation("Answer the question in the audio.", str(clip)) for clip in clips]


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trips_and_refuses_foreign_fields(name: str) -> None:
    config = make(name).config
    assert type(config).model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="no_such_field"):
        type(config).model_validate({"no_such_field": 1})


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_artefact_base_unchanged_and_detaching_restores(
    name: str,
    pocket: Any,
    alignment_folders: dict[str, Path],
    tmp_path: Path,
    turns: list[Conversation],
) -> None:
    method = make(name)
    data = data_for(method, alignment_folders)
    weights = state(pocket)
    before = pocket.representations(turns)
    first = method.align(pocket, data, RunContext(tmp_path / "first", seed=3))
    first.save(tmp_path / "saved", {})
    again = make(name).align(pocket, data, RunContext(tmp_path / "again", seed=3))
    assert first.hash == again.hash
    loaded = Defence.load(tmp_path / "saved")
    assert loaded.hash == first.hash
    with loaded.attached(pocket) as defended:
        during = defended.representations(turns)
        defended.respond(turns, Sampling(max_new_tokens=4), [[1]] * len(turns))
    assert torch.equal(pocket.representations(turns), before)
    assert (not first.parts) == torch.equal(during, before)
    now = state(pocket)
    assert now.keys() == weights.keys()
    assert all(torch.equal(now[key], weights[key]) for key in weights)
    assert not any(parameter.requires_grad for parameter in pocket.network.parameters())


@pytest.mark.parametrize("name", TRAINING)
def test_another_seed_gives_another_artefact(
    name: str, pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    method = make(name, epochs=1)
    data = data_for(method, alignment_folders)
    one = method.align(pocket, data, RunContext(tmp_path / "one", seed=1))
    two = method.align(pocket, data, RunContext(tmp_path / "two", seed=2))
    assert one.hash != two.hash


def _align(name: str, folders: dict[str, Path], folder: Path) -> None:
    from greaves.models.families.pocket_lalm import pocket

    torch.set_num_threads(1)
    method = make(name, epochs=4)

    def report(done: int, total: int, words: str) -> None:
        with (folder / "steps.txt").open("a") as file:
            file.write(f"{done}\n")
        time.sleep(0.1)

    context = RunContext(folder, seed=0, report=report)
    method.align(pocket(), data_for(method, folders), context).save(folder / "saved", {})


@pytest.mark.parametrize("name", TRAINING)
def test_a_killed_alignment_continues_to_the_same_artefact(
    name: str, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    whole, killed, resumed = (
        PROCESSES.Process(target=_align, args=(name, alignment_folders, tmp_path / folder))
        for folder in ("whole", "killed", "killed")
    )
    whole.start()
    killed.start()
    checkpoints = tmp_path / "killed" / "checkpoints"
    until = time.monotonic() + 120
    while not list(checkpoints.glob("*/whole")) and time.monotonic() < until:
        time.sleep(0.005)
    killed.kill()
    killed.join()
    whole.join(200)
    assert not (tmp_path / "killed" / "saved").exists()
    assert list(checkpoints.glob("*/whole"))
    resumed.start()
    resumed.join(200)
    assert (whole.exitcode, resumed.exitcode) == (0, 0)
    steps = [int(line) for line in (tmp_path / "killed" / "steps.txt").read_text().splitlines()]
    assert steps.count(1) == 1  # it went on from a checkpoint, not from the start
    assert (
        Defence.load(tmp_path / "whole" / "saved").hash
        == Defence.load(tmp_path / "killed" / "saved").hash
    )


def test_an_adapter_loads_into_plain_peft_and_transformers(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path, turns: list[Conversation]
) -> None:
    from peft import PeftModel
    from transformers import Qwen2AudioForConditionalGeneration

    from greaves.models.families.pocket_lalm import WEIGHTS

    method = make("rrs", epochs=1)
    data = data_for(method, alignment_folders)
    defence = method.align(pocket, data, RunContext(tmp_path / "work"))
    defence.save(tmp_path / "defence", {})
    base = Qwen2AudioForConditionalGeneration.from_pretrained(WEIGHTS, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, tmp_path / "defence" / "0-lora").eval()
    batch = pocket.batch(turns)
    with torch.no_grad(), defence.attached(pocket):
        ours = pocket.network(inputs_embeds=batch.embeds, attention_mask=batch.mask).logits
        theirs = plain(inputs_embeds=batch.embeds, attention_mask=batch.mask).logits
    torch.testing.assert_close(ours, theirs)
    targets = (tmp_path / "defence" / "0-lora" / "adapter_config.json").read_text()
    assert "audio_tower" not in targets
    assert str(WEIGHTS.parent) not in targets
