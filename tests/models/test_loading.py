"""From a folder or the hub's cache to a model; what is refused, and in which words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError
from greaves.models.contract import MODELS
from greaves.models.loading import FETCHED, NOT_FETCHED, checkpoint

pytest_plugins = ("family_fixtures",)

TinyFolder = Callable[[str], Path]
COMMIT = "0" * 39 + "1"


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's local cache with one snapshot of Voxtral, as huggingface_hub lays it out."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--mistralai--Voxtral-Mini-3B-2507"
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for file in tiny_folder("voxtral").iterdir():
        shutil.copy(file, place / "snapshots" / COMMIT / file.name)
    return place


def test_without_a_path_the_hubs_snapshot_is_taken(
    hub_cache: Path, tiny_folder: TinyFolder
) -> None:
    load = MODELS.get("voxtral")
    cached = load(device="cpu", dtype="float32")
    named = load(revision=COMMIT, device="cpu", dtype="float32")
    local = load(path=str(tiny_folder("voxtral")), device="cpu", dtype="float32")
    assert cached.fingerprint == named.fingerprint == local.fingerprint


def test_what_is_not_cached_while_offline_is_one_line(hub_cache: Path) -> None:
    with pytest.raises(ModelError, match=r"revision v2\) is not in the cache, .*`path`"):
        MODELS.get("voxtral")(revision="v2")
    with pytest.raises(ModelError, match=r"nvidia/audio-flamingo-3-hf is not in the cache"):
        MODELS.get("audio-flamingo-3")()


def test_a_name_that_no_repository_can_have_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"a/b/c cannot be fetched .*`path`"):
        checkpoint(None, "a/b/c")


def test_neither_code_nor_pickled_weights_are_fetched() -> None:
    from fnmatch import fnmatch

    def fetched(name: str) -> bool:
        wanted = any(fnmatch(name, pattern) for pattern in FETCHED)
        return wanted and not any(fnmatch(name, pattern) for pattern in NOT_FETCHED)

    assert all(map(fetched, ("config.json", "model-00001-of-00002.safetensors", "merges.txt")))
    assert fetched("speech-lora/adapter_model.safetensors")
    assert not any(map(fetched, ("modeling_x.py", "pytorch_model.bin", "spk_dict.pt")))
    assert not fetched("consolidated.safetensors")


def test_another_familys_checkpoint_is_refused(tiny_folder: TinyFolder) -> None:
    folder = str(tiny_folder("voxtral"))
    with pytest.raises(ModelError, match="not a Qwen2-Audio checkpoint"):
        MODELS.get("qwen2-audio")(path=folder, device="cpu")


@pytest.mark.parametrize("name", ["qwen2-audio", "granite-speech"])
def test_weights_that_are_not_there_are_never_drawn_at_random(
    tiny_folder: TinyFolder, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder(name), folder)
    weights = load_file(folder / "model.safetensors")
    lost = next(key for key in weights if "layers.1.self_attn.o_proj" in key)
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are not in it, as .*o_proj\.weight"):
        MODELS.get(name)(path=str(folder), device="cpu")


def test_an_adapter_without_safetensors_is_refused(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("granite-speech"), folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"own adapter has no safetensors .*never read"):
        MODELS.get("granite-speech")(path=str(folder), device="cpu")


def test_a_changed_weight_or_template_is_another_model(
    tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    load = MODELS.get("qwen2.5-omni")
    before = load(path=str(tiny_folder("qwen2.5-omni")), device="cpu", dtype="float32")
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("qwen2.5-omni"), folder)
    template = json.loads((folder / "chat_template.json").read_text())
    template["chat_template"] += " "
    (folder / "chat_template.json").write_text(json.dumps(template))
    after = load(path=str(folder), device="cpu", dtype="float32")
    assert after.fingerprint != before.fingerprint


def test_half_precision_answers_too(tiny_folder: TinyFolder, clips: Sequence[str]) -> None:
    for name in ("qwen2.5-omni", "voxtral", "granite-speech"):
        model = MODELS.get(name)(path=str(tiny_folder(name)), device="cpu")
        assert model.network.dtype == torch.bfloat16
        states = model.representations([Conversation("Hi", clips[0]), Conversation("Hi")])
        assert states.isfinite().all()
