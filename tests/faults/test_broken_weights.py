"""Weights that a disk has spoilt: made again, refused by name, or known as another model's."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from made_faults import RRS, run_recipe

from greaves.align.defence import Defence
from greaves.base.errors import DataError, ModelError
from greaves.data.folders import EMBEDDED
from greaves.models.feature_cache import FeatureCache


def header_length(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def spoilt(data: bytes, chooser: random.Random, count: int) -> dict[str, bytes]:
    """What -> content: bits flipped in the header and in the data, and ends cut off."""
    head = header_length(data)
    found = {"length": flipped(data, 0, 3), "empty": b"", "no data": data[:head]}
    for number in range(count):
        for name, span in (("header", range(8, head)), ("data", range(head, len(data)))):
            found[f"{name} {number}"] = flipped(data, chooser.choice(span), chooser.randrange(8))
        found[f"cut {number}"] = data[: chooser.randrange(1, len(data))]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A recipe with a trained defence, its run, and the defence's folder."""
    root = tmp_path_factory.mktemp("weights")
    recipe = root / "small.yaml"
    rows = [json.loads(line) for line in (EMBEDDED / "aiah" / "questions.jsonl").open()]
    (root / "aiah" / "clips").mkdir(parents=True)
    shutil.copyfile(EMBEDDED / "aiah" / rows[0]["clip"], root / "aiah" / rows[0]["clip"])
    (root / "aiah" / "questions.jsonl").write_text(json.dumps(rows[0]) + "\n")
    lines = (EMBEDDED / "mirror" / "pairs.jsonl").read_text().splitlines()[:16]
    (root / "mirror" / "clips").mkdir(parents=True)
    for line in lines:
        name = json.loads(line)["path"]
        shutil.copyfile(EMBEDDED / "mirror" / name, root / "mirror" / name)
    (root / "mirror" / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    content = {
        "name": "small",
        "models": ["pocket"],
        "methods": [{"method": "rrs", "config": RRS}],
        "alignment_data": {"mirror": "mirror"},
        "benchmarks": {"aiah": {"data": "aiah", "judge": "pocket-rules", "samples": 1}},
        "tasks": ["aiah-text-only"],
    }
    recipe.write_text(yaml.safe_dump(content))
    run_recipe(recipe, root / "run")
    (place,) = (root / "run").glob("cells/*/rrs/*/defences/*")
    return recipe, root / "run", place


def test_a_spoilt_defence_is_refused_by_name(trained: tuple[Path, Path, Path]) -> None:
    _, _, place = trained
    file = place / "0-lora" / "adapter_model.safetensors"
    data = file.read_bytes()
    try:
        for what, content in spoilt(data, random.Random(0), 40).items():
            file.write_bytes(content)
            with pytest.raises(DataError, match=r"defence\.json: .*does not match its hash"):
                print(what, Defence.load(place))
        file.unlink()
        with pytest.raises(DataError, match="no defence can be read here"):
            Defence.load(place)
    finally:
        file.write_bytes(data)


def test_a_spoilt_steering_vector_is_refused_by_name(tmp_path: Path) -> None:
    from greaves.align.parts.steering import VECTORS, Steering

    Defence((Steering({1: torch.ones(64)}, 1.5),)).save(tmp_path / "defence", {})
    file = tmp_path / "defence" / "0-steering" / VECTORS
    data = file.read_bytes()
    for what, content in spoilt(data, random.Random(1), 40).items():
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"defence\.json: "):
            print(what, Defence.load(tmp_path / "defence"))


def test_the_next_run_makes_a_spoilt_defence_again(
    trained: tuple[Path, Path, Path], greaves: Any
) -> None:
    recipe, folder, place = trained
    file = place / "0-lora" / "adapter_model.safetensors"
    before = file.read_bytes()
    file.write_bytes(flipped(before, len(before) - 5, 1))
    status, _, err = greaves("run", recipe, "--run-dir", folder)
    assert status == 0, err
    assert "the defence does not match its hash; align again; making it again" in err
    assert file.read_bytes() == before


def test_training_goes_on_from_the_newest_checkpoint_that_is_as_it_was_written(
    tmp_path: Path,
) -> None:
    from greaves.align.training.checkpoints import last_whole, mark_whole

    for step in (2, 4):
        place = tmp_path / "checkpoints" / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "adapter_model.safetensors").write_bytes(bytes(range(200)))
        (place / "optimizer.pt").write_bytes(bytes(50))
        mark_whole(place)
    newest = tmp_path / "checkpoints" / "checkpoint-4"
    assert last_whole(tmp_path) == newest
    data = (newest / "adapter_model.safetensors").read_bytes()
    for content in (data[:-1], b"", flipped(data, 100, 0)):
        (newest / "adapter_model.safetensors").write_bytes(content)
        assert last_whole(tmp_path) == tmp_path / "checkpoints" / "checkpoint-2"
    (newest / "adapter_model.safetensors").write_bytes(data)
    assert last_whole(tmp_path) == newest
    for step in (2, 4):
        (tmp_path / "checkpoints" / f"checkpoint-{step}" / "whole").write_bytes(b"")
    assert last_whole(tmp_path) is None


def test_a_model_whose_weights_are_spoilt_is_one_line_or_another_model(tmp_path: Path) -> None:
    from greaves.models.families.pocket_lalm import WEIGHTS
    from greaves.models.families.qwen2_audio import Qwen2Audio

    load = Qwen2Audio.from_checkpoint

    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    file = folder / "model.safetensors"
    data = file.read_bytes()
    head = header_length(data)
    for content in (flipped(data, 0, 3), flipped(data, 9, 6), data[:-100], data[:head], b""):
        file.write_bytes(content)
        with pytest.raises(ModelError) as error:
            load(folder, device="cpu", dtype="float32")
        assert str(folder) in str(error.value)
        assert "\n" not in str(error.value)
    file.write_bytes(data)
    whole = load(folder, device="cpu", dtype="float32")
    file.write_bytes(flipped(data, len(data) - 100, 0))
    changed = load(folder, device="cpu", dtype="float32")
    assert changed.fingerprint != whole.fingerprint  # so no response of one counts for the other


def test_a_spoilt_file_of_the_feature_cache_is_a_miss(tmp_path: Path) -> None:
    cache, features = FeatureCache(tmp_path), torch.arange(300, dtype=torch.float32).view(3, 100)
    cache.put("ab", features)
    file = tmp_path / "ab" / "ab.safetensors"
    data = file.read_bytes()
    for what, content in spoilt(data, random.Random(2), 150).items():
        file.write_bytes(content)
        kept = cache.get("ab")
        assert kept is None or torch.equal(kept, features), what
    head = header_length(data)
    for place in range(head, len(data)):
        file.write_bytes(flipped(data, place, place % 8))
        assert cache.get("ab") is None
    file.write_bytes(data)
    assert torch.equal(cache.get("ab"), features)  # type: ignore[arg-type]


def test_tensors_that_were_computed_once_are_computed_again_when_spoilt(tmp_path: Path) -> None:
    from greaves.align.training.processes import computed_once

    file = tmp_path / "states.safetensors"
    assert computed_once(file, lambda: {"a": torch.ones(3)})["a"].tolist() == [1, 1, 1]
    data = file.read_bytes()
    for content in (b"", data[:-1]):
        file.unlink()  # tensors may still be read from it
        file.write_bytes(content)
        assert computed_once(file, lambda: {"a": torch.ones(3)})["a"].tolist() == [1, 1, 1]
        assert file.read_bytes() == data
