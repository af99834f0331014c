"""The contract can fail: a family with one fault fails the check that is about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import Tensor
from typer.testing import CliRunner

from greaves.base.conversation import Conversation, Sampling
from greaves.commands import model_checks as contract
from greaves.commands.measuring import Finding
from greaves.commands.model_checks import CHECKS, run_contract
from greaves.commands.models_check import check
from greaves.models.contract import MODELS, Generated
from greaves.models.decoder import Tokens
from greaves.models.families.qwen2_audio import Qwen2Audio
from greaves.models.feature_cache import FeatureCache

pytest_plugins = ("family_fixtures",)


class DropsTheSystemPrompt(Qwen2Audio):
    def render(self, conversation: Conversation) -> str:
        return super().render(replace(conversation, system=None))


class KeepsTheDefaultSystemPrompt(Qwen2Audio):
    system_marks = None


class NeverEndsItsTurn(Qwen2Audio):
    end_of_turn = "<|im_start|>"


class LetsUsersWriteSpecialTokens(Qwen2Audio):
    def _plain(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


class HearsNothing(Qwen2Audio):
    def features(self, clips: Sequence[str]) -> list[Tensor]:
        return [torch.zeros_like(rows) for rows in super().features(clips)]


class PutsTheClipElsewhere(Qwen2Audio):
    def features(self, clips: Sequence[str]) -> list[Tensor]:
        return [rows.flip(0) for rows in super().features(clips)]


class PadsOnTheRight(Qwen2Audio):
    def tokens(self, *args: Any) -> Tokens:
        tokens = super().tokens(*args)
        order = tokens.mask.argsort(dim=1, descending=True, stable=True)
        return replace(tokens, ids=tokens.ids.gather(1, order), mask=tokens.mask.gather(1, order))


class ReadsBeforeTheNorm(Qwen2Audio):
    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        chosen = [layer - 1 for layer in layers or [self.decoder_layers]]
        return self.layer_outputs(conversations)[0][:, chosen]


class TrainsTheWrongModules(Qwen2Audio):
    lora_targets = ("fc1", "fc2")


class ListensForEverySample(Qwen2Audio):
    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Generated]]:
        answers: list[list[Generated]] = []
        for own in seeds[0]:
            self._features.clear()
            answers += super().respond(conversations, sampling, [[own]])
        return [[answer[0] for answer in answers]]


class PrefillsForEverySample(Qwen2Audio):
    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Generated]]:
        every = [
            super(PrefillsForEverySample, self).respond(conversations, sampling, [[own]])[0]
            for own in seeds[0]
        ]
        return [[answer[0] for answer in every]]


class RefusesInTwoTokens(Qwen2Audio):
    refusal_token = "Io"


FAULTS: list[tuple[type[Qwen2Audio], str, str]] = [
    (DropsTheSystemPrompt, "chat template and system prompt", "system prompt is not in front"),
    (KeepsTheDefaultSystemPrompt, "chat template and system prompt", "puts in one of its own"),
    (NeverEndsItsTurn, "chat template and system prompt", "does not end a response"),
    (LetsUsersWriteSpecialTokens, "special tokens in a user's words stay text", "became special"),
    (HearsNothing, "audio is heard", "one and the same"),
    (PutsTheClipElsewhere, "inputs and logits equal the whole network's", "more than 1e-04"),
    (PadsOnTheRight, "a batch equals one at a time", "more than 1e-04"),
    (
        ReadsBeforeTheNorm,
        "representations are the last hidden state after the final norm",
        "more than 1e-04",
    ),
    (
        TrainsTheWrongModules,
        "LoRA on the language model only, audio tower frozen",
        "no module in layers [1, 2]",
    ),
    (
        ListensForEverySample,
        "five samples share one encoder pass and one prefill",
        "passes the audio tower more than once",
    ),
    (
        PrefillsForEverySample,
        "five samples share one encoder pass and one prefill",
        "prefilled were",
    ),
    (
        RefusesInTwoTokens,
        "the refusal token is one token of the output head",
        "it raised ModelError",
    ),
]


@pytest.mark.parametrize(("family", "name", "words"), FAULTS)
def test_a_fault_fails_the_check_that_is_about_it(
    tiny_folder: Callable[[str], Path],
    clips: Sequence[str],
    family: type[Qwen2Audio],
    name: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = family.from_checkpoint(
        tiny_folder("qwen2-audio"), name="faulty", device="cpu", dtype="float32", system="none"
    )
    monkeypatch.setattr(contract, "CHECKS", {name: CHECKS[name]})
    [(_, finding)] = run_contract(model, clips)
    assert words in finding.failure


def test_an_audio_tower_that_trains_along_fails(
    tiny_folder: Callable[[str], Path], clips: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from greaves.align.training import network

    def tower_too(model: Qwen2Audio) -> list[str]:
        return [*network.projections(model.network, model.lora_targets), "model.audio_tower.conv1"]

    monkeypatch.setattr(network, "lora_modules", tower_too)
    folder = tiny_folder("qwen2-audio")
    model = Qwen2Audio.from_checkpoint(folder, name="faulty", device="cpu", dtype="float32")
    finding = CHECKS["LoRA on the language model only, audio tower frozen"](model, clips)
    assert finding.failure == "some are in the audio tower"


def test_a_cache_that_rounds_fails(
    tiny: Callable[[str], Any], clips: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rounding(FeatureCache):
        def put(self, key: str, features: Tensor) -> None:
            super().put(key, features.bfloat16().float())

        def get(self, key: str) -> Tensor | None:
            found = super().get(key)
            return None if found is None else found + 1e-3

    monkeypatch.setattr(contract, "FeatureCache", Rounding)
    finding = CHECKS["feature cache equals no cache"](tiny("qwen2-audio"), clips)
    assert finding.failure == "cached features give other representations"


def test_below_float32_figures_are_excused_and_it_says_so(clips: Sequence[str]) -> None:
    from greaves.models.families.pocket_lalm import pocket

    finding = CHECKS["a batch equals one at a time"](pocket(dtype="bfloat16"), clips)
    assert not finding.failure
    assert "bfloat16: ties may flip" in finding.excuse


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run_check() -> Callable[..., Any]:
    app = typer.Typer()
    app.command()(check)

    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return call


def test_the_command_checks_a_users_own_checkpoint(
    run_check: Callable[..., Any], tiny_folder: Callable[[str], Path]
) -> None:
    folder = tiny_folder("qwen2-audio")
    options = ("--path", folder, "--device", "cpu", "--dtype", "float32")
    result = run_check("qwen2-audio", *options, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [row["check"] for row in found["checks"]] == list(CHECKS)
    assert {row["result"] for row in found["checks"]} == {"holds"}
    assert found["revision"].startswith("sha256:")


def test_the_command_stops_with_2_where_a_promise_is_not_kept(
    run_check: Callable[..., Any],
    tiny_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(_model: Any, _clips: Sequence[str]) -> Finding:
        return Finding("3 measured", "it is wrong\x1b[31m")

    monkeypatch.setattr(contract, "CHECKS", {"a promise": wrong})
    folder = tiny_folder("qwen2-audio")
    result = run_check("qwen2-audio", "--path", folder, "--device", "cpu", "--dtype", "float32")
    assert result.exit_code == 2
    assert "FAILS: it is wrong?[31m" in result.stdout
    assert "RRS fine-tuning" in result.stdout


def test_memory_is_said_before_weights_that_do_not_load(
    run_check: Callable[..., Any], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((tiny_folder("qwen2-audio") / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"half")
    result = run_check("qwen2-audio", "--path", tmp_path)
    assert "59,552 parameters x 2 bytes" in result.stdout
    assert "not a Qwen2-Audio checkpoint" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pocket", "--path", "x"), "pocket takes no option 'path'"),
        (("pokcet",), "did you mean 'pocket'"),
        (("voxtral", "--path", "nowhere"), "there is no config.json"),
        (("voxtral", "--path", "x", "--revision", "y"), "give one of them"),
    ],
)
def test_mistakes_of_the_command_are_one_line(
    run_check: Callable[..., Any], arguments: tuple[str, ...], words: str
) -> None:
    assert words in str(run_check(*arguments).exception)


def test_every_family_is_registered_and_says_what_it_returns() -> None:
    from tiny_families import FAMILIES

    from greaves.models.memory import family_of

    for name in FAMILIES:
        family = family_of(MODELS.get(name))
        assert family is not None
        assert "/" in family.hub
