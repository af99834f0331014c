"""`greaves convert qwen-audio`: every tensor in its place, whole or not at all, nothing run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2AudioForConditionalGeneration
from typer.testing import CliRunner

from greaves.base.errors import ModelError
from greaves.commands.convert import app
from greaves.models.conversion.qwen_audio import convert
from greaves.models.conversion.qwen_audio_weights import MARKERS, OriginalConfig, rules

MINI = Path(__file__).parent / "qwen_audio_mini"
RANKS = Path(__file__).parent / "qwen_audio_mini.tiktoken"
SECOND = "model-00002-of-00002.safetensors"
KEY = "transformer.audio.blocks.1.attn.key.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the miniature checkpoint that a test may spoil."""
    return shutil.copytree(MINI, tmp_path / "source")


def native(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def change_tensors(source: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(source / SECOND)
    change(tensors)
    save_file(tensors, source / SECOND)


def change_config(source: Path, **fields: Any) -> None:
    path = source / "config.json"
    config = json.loads(path.read_text())
    config["audio"] |= fields.pop("audio", {})
    path.write_text(json.dumps(config | fields))


def test_attention_is_cut_in_three_and_the_markers_get_their_rows(tmp_path: Path) -> None:
    old = native(MINI)
    new = native(convert(MINI, tmp_path / "native").folder)
    layer = "language_model.model.layers.1"
    for kind in ("weight", "bias"):
        parts = [new[f"{layer}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
        assert torch.equal(torch.cat(parts), old[f"transformer.h.1.attn.c_attn.{kind}"])
    assert torch.equal(new[f"{layer}.mlp.up_proj.weight"], old["transformer.h.1.mlp.w1.weight"])
    assert torch.equal(new[f"{layer}.mlp.gate_proj.weight"], old["transformer.h.1.mlp.w2.weight"])
    rows, before = new["language_model.model.embed_tokens.weight"], old["transformer.wte.weight"]
    assert torch.equal(rows[4520:4522], old[MARKERS])
    kept = [*range(4520), *range(4522, 4600)]
    assert torch.equal(rows[kept], before[kept])


def test_the_names_and_shapes_of_the_full_model_are_those_of_the_native_class() -> None:
    config = OriginalConfig.model_validate(
        json.loads((MINI / "config.json").read_text())
        | {"vocab_size": 155_947, "hidden_size": 4096, "intermediate_size": 22_016}
        | {"num_hidden_layers": 32, "num_attention_heads": 32, "kv_channels": 128}
        | {
            "audio": {
                **{"n_mels": 80, "n_ctx": 1500, "n_state": 1280, "n_head": 20, "n_layer": 32},
                **{"output_dim": 4096, "avg_pool": True, "add_audio_bos_eos_token": True},
                "audio_start_id": 155_163,
            }
        }
    )
    assert config.base_tokens == 151_643
    with torch.device("meta"):
        network = Qwen2AudioForConditionalGeneration(config.native("bfloat16"))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    made: dict[str, tuple[int, ...]] = {}
    for rule in rules(config).values():
        for name in rule.natives:
            inner = name.replace("language_model.lm_head", "lm_head")
            inner = inner if inner.startswith("lm_head") else f"model.{inner}"
            inner = inner.replace("language_model.model", "language_model")
            made[inner] = (rule.shape[0] // len(rule.natives), *rule.shape[1:])
    assert made == expected
    assert network.config.audio_token_id == 151_851
    assert network.config.text_config.eos_token_id == [151_643, 151_645, 151_644]


def test_many_shards_hold_what_one_does(tmp_path: Path) -> None:
    one = convert(MINI, tmp_path / "one")
    many = convert(MINI, tmp_path / "many", shard_bytes=100_000)
    assert one.files == 1
    assert many.files > 3
    index = json.loads((many.folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == one.total_bytes
    assert set(index["weight_map"].values()) == {p.name for p in many.folder.glob("*.safetensors")}
    for name, tensor in native(one.folder).items():
        assert torch.equal(tensor, load_file(many.folder / index["weight_map"][name])[name])
    _, loading = Qwen2AudioForConditionalGeneration.from_pretrained(
        many.folder, output_loading_info=True
    )
    assert not any(loading.values())


def test_the_same_source_gives_the_same_bytes_and_says_what_it_was(source: Path) -> None:
    shutil.copyfile(RANKS, source / "qwen.tiktoken")
    (source / "LICENSE.txt").write_text("terms")
    first = convert(source, source.parent / "first")
    second = convert(source, source.parent / "second")
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == sorted(path.name for path in second.folder.iterdir())
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert (first.folder / "LICENSE.txt").read_text() == "terms"
    provenance = json.loads((first.folder / "provenance.json").read_text())
    for name in ("config.json", SECOND, "qwen.tiktoken"):
        found = hashlib.sha256((source / name).read_bytes()).hexdigest()
        assert provenance["source_sha256"][name] == found
    assert first.warnings == ()


@pytest.mark.parametrize("zipped", [True, False])
def test_bin_weights_give_the_same_folder(source: Path, zipped: bool) -> None:
    for number, path in enumerate(sorted(source.glob("*.safetensors")), start=1):
        torch.save(
            load_file(path),
            source / f"pytorch_model-{number}.bin",
            _use_new_zipfile_serialization=zipped,
        )
        path.unlink()
    (source / "model.safetensors.index.json").unlink()
    made = convert(source, source.parent / "native").folder / "model.safetensors"
    expected = convert(MINI, source.parent / "expected").folder / "model.safetensors"
    assert made.read_bytes() == expected.read_bytes()


def test_half_precision_stays_and_the_config_says_so(source: Path) -> None:
    for path in source.glob("*.safetensors"):
        save_file({name: x.bfloat16() for name, x in load_file(path).items()}, path)
    made = convert(source, source.parent / "native").folder
    assert {tensor.dtype for tensor in native(made).values()} == {torch.bfloat16}
    assert json.loads((made / "config.json").read_text())["dtype"] == "bfloat16"


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(source: Path) -> None:
    for path in source.glob("model*"):
        path.unlink()
    ran, control = source / "ran", source / "control"
    pickle.loads(pickle.dumps(_Runs(control)))
    assert control.exists()
    torch.save({"transformer.wte.weight": _Runs(ran)}, source / "pytorch_model-1.bin")
    (source / "pytorch_model-2.bin").write_bytes(pickle.dumps(_Runs(ran), protocol=2))
    for name in ("pytorch_model-1.bin", "pytorch_model-2.bin"):
        with pytest.raises(ModelError, match=f"{name}: .*(more than tensors|cannot be read)"):
            convert(source, source.parent / "native")
        (source / name).unlink()
    assert not ran.exists()


def _point_out(source: Path) -> None:
    index = source / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": f"../{source.name}/{SECOND}"}}))


def _pointer(source: Path) -> None:
    (source / SECOND).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda s: change_tensors(s, lambda t: t.pop(KEY)), f"{KEY}' is missing"),
    "unknown": (
        lambda s: change_tensors(s, lambda t: t.update(extra=torch.zeros(2))),
        f"{SECOND}: unknown tensor 'extra'",
    ),
    "shape": (
        lambda s: change_tensors(s, lambda t: t.update({KEY: torch.zeros(32, 16)})),
        f"{KEY}' is [32, 16], by config.json [32, 32]",
    ),
    "twice": (
        lambda s: change_tensors(s, lambda t: t.update({"lm_head.weight": torch.zeros(4600, 32)})),
        "tensor 'lm_head.weight' is in model-00001-of-00002.safetensors too",
    ),
    "quantised, seen when half is written": (
        lambda s: change_tensors(s, lambda t: t.update({KEY: torch.zeros(32, 32).char()})),
        f"{KEY}' is torch.int8, which takes more than renaming",
    ),
    "half a shard": (lambda s: os.truncate(s / SECOND, 200_000), f"{SECOND}: the weights cannot"),
    "a pointer": (_pointer, "a Git LFS pointer, not the weights; run `git lfs pull`"),
    "a shard away": (lambda s: (s / SECOND).unlink(), f"{SECOND}: model.safetensors.index.json"),
    "index out of its folder": (_point_out, "index.json: not an index of weights"),
    "no weights": (
        lambda s: [path.unlink() for path in s.glob("model*")],
        "there are no weights (model*.safetensors or pytorch_model*.bin)",
    ),
    "no config": (lambda s: (s / "config.json").unlink(), "hf download Qwen/Qwen-Audio-Chat"),
    "half a config": (lambda s: os.truncate(s / "config.json", 50), "config.json: not JSON"),
    "native": (
        lambda s: change_config(s, model_type="qwen2_audio"),
        "model_type is 'qwen2_audio', not 'qwen' of first-generation Qwen-Audio; it is native",
    ),
    "a field": (lambda s: change_config(s, hidden_size="x"), "config.json: hidden_size: "),
    "sizes": (lambda s: change_config(s, kv_channels=8), "kv_channels x num_attention_heads"),
    "other computation": (lambda s: change_config(s, no_bias=False), "config.json: no_bias: "),
    "no pooling": (lambda s: change_config(s, audio={"avg_pool": False}), "audio.avg_pool: "),
    "text alone": (
        lambda s: (s / "config.json").write_text(
            json.dumps({**json.loads((s / "config.json").read_text()), "audio": None})
        ),
        "config.json: audio: ",
    ),
    "ranks of another model": (
        lambda s: (s / "qwen.tiktoken").write_bytes(
            b"".join(RANKS.read_bytes().splitlines(keepends=True)[:-1])
        ),
        "qwen.tiktoken: 999 tokens, by config.json (audio_start_id) 1,000",
    ),
    "there already": (lambda s: (s.parent / "native").mkdir(), "it is there already"),
    "left by a kill": (
        lambda s: (s.parent / ".native.part").mkdir(),
        "native.part: another conversion is writing here, or was killed",
    ),
    "no room for it": (
        lambda s: (s.parent / ".native.part").write_text(""),
        "native.part: another conversion is writing here",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_source_that_cannot_be_converted_leaves_one_line_and_no_folder(
    source: Path, name: str
) -> None:
    spoil, said = SPOILED[name]
    spoil(source)
    before = sorted(source.parent.iterdir())
    with pytest.raises(ModelError) as caught:
        convert(source, source.parent / "native")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(source.parent.iterdir()) == before


def test_the_command_says_what_it_made_what_falls_short_and_what_comes_next(source: Path) -> None:
    (source / "generation_config.json").write_text('{"chat_format": "raw"}')
    done = CliRunner().invoke(app, ["qwen-audio", str(source), str(source.parent / "native")])
    assert done.exit_code == 0
    assert "59 tensors" in done.stdout
    assert f"next: greaves models check qwen-audio --path {source.parent}/native" in done.stdout
    assert "warning: the source has no qwen.tiktoken" in done.stderr
    assert "looks like the base model" in done.stderr
    again = CliRunner().invoke(app, ["qwen-audio", str(source), str(source.parent / "native")])
    assert isinstance(again.exception, ModelError)
