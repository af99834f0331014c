"""Objectives that read layers, the frozen model and pairs of replies, beside plain loops.

The plain loops call transformers and peft alone, one row at a time, without padding.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from greaves.align.method import METHODS, RunContext
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune, lengths
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Example, Objective, Scored, step_weights
from greaves.align.training.penalty import lora_factors, lora_layers
from greaves.align.training.spec import TrainingSpec
from greaves.align.training.supervised import continuation, preference, token_losses
from greaves.align.training.trainer import Collator
from greaves.base.conversation import Conversation
from greaves.base.errors import TrainingError
from greaves.data.speech.clips import load_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "methods"))
import test_methods as contract

EXAMPLES = Path(__file__).parents[3] / "examples"
METHOD = {"middle_layer_loss": "example-circuit-breaking", "preference_pair_loss": "example-dpo"}
QUICK = FineTuningConfig(epochs=2, batch_size=4, rank=2, learning_rate=1e-3, lora_dropout=0)


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """One of the examples, registered for as long as a test runs."""
    METHODS.names()  # built-in methods first
    spec = importlib.util.spec_from_file_location(request.param, EXAMPLES / f"{request.param}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del METHODS._entries[METHOD[request.param]]


@pytest.fixture
def turns() -> list[Conversation]:
    return contract.turns.__wrapped__()  # type: ignore[no-any-return]


def loss_and_gradients(
    pocket: Any, examples: list[Example], objective: Objective, plain: Callable[[Any], Tensor]
) -> None:
    """Ours and `plain(network)` agree to 1e-5, with LoRA's B away from 0."""
    torch.manual_seed(5)
    network = AlignmentNetwork(pocket, objective, FineTuningConfig(penalty=False, lora_dropout=0))
    try:
        for b, _, _ in lora_factors(network):
            nn.init.normal_(b, std=0.05)
        network.train()
        rows = list(zip(examples, step_weights(examples, len(examples), objective), strict=True))
        ours = network(**Collator(pocket, objective)(rows))
        ours.backward()
        found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        network.zero_grad()
        expected = plain(network)
        expected.backward()
        wanted = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    finally:
        network.unload()
        pocket.network.eval().requires_grad_(False)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)
    assert abs(ours.item()) > 1e-3
    assert found.keys() == wanted.keys()
    assert found
    for name, gradient in found.items():
        scale = wanted[name].abs().max()
        assert (gradient - wanted[name]).abs().max() <= 1e-5 * scale, name


def plain_outputs(pocket: Any, turn: Conversation, reply: tuple[int, ...]) -> Any:
    """What transformers' own forward makes of a prompt with its clip, and a reply after it."""
    rate = pocket.processor.feature_extractor.sampling_rate
    inputs = pocket.processor(
        text=[pocket.render(turn)],
        audio=[load_clip(turn.clip, rate)],
        sampling_rate=rate,
        return_tensors="pt",
    )
    ids = torch.cat([inputs.pop("input_ids"), torch.tensor([reply], dtype=torch.long)], dim=1)
    inputs["attention_mask"] = torch.ones_like(ids)
    return pocket.network(input_ids=ids, **inputs, output_hidden_states=True, use_cache=False)


@pytest.mark.parametrize("example", ["middle_layer_loss"], indirect=True)
def test_the_loss_on_a_middle_layer_is_the_plain_loops(
    example: Any, pocket: Any, turns: list[Conversation]
) -> None:
    layer = pocket.decoder_layers // 2
    targets = [True, False, True]
    examples = [
        Example(turn, torch.tensor([one])) for turn, one in zip(turns, targets, strict=True)
    ]
    objective = Objective(
        lambda scored: example.losses(scored, layer), layers=(layer,), frozen=True
    )

    def plain(network: Any) -> Tensor:
        losses = []
        for turn, harmful in zip(turns, targets, strict=True):
            now = plain_outputs(pocket, turn, ()).hidden_states[layer][0, -1]
            with network.disable_adapter(), torch.no_grad():
                before = plain_outputs(pocket, turn, ()).hidden_states[layer][0, -1]
            cosine = (now @ before) / (now.norm() * before.norm())
            moved = (now - before).norm() / before.norm()
            losses.append(torch.clamp(cosine, min=0) if harmful else moved)
        return torch.stack(losses).mean()

    loss_and_gradients(pocket, examples, objective, plain)


@pytest.mark.parametrize("example", ["preference_pair_loss"], indirect=True)
def test_the_loss_on_pairs_of_replies_is_the_plain_loops(
    example: Any, pocket: Any, turns: list[Conversation]
) -> None:
    preferred = [(40, 5, 6), (9, 10), (11, 12, 13, 14, 15)]
    rejected = [(7,), (20, 21, 22, 23), (30, 31)]
    examples = [preference(*parts) for parts in zip(turns, preferred, rejected, strict=True)]
    objective = Objective(
        lambda scored: example.losses(scored, beta=0.5), per="example", frozen=True
    )

    def log_probability(turn: Conversation, ids: tuple[int, ...]) -> Tensor:
        logits = plain_outputs(pocket, turn, ids[:-1]).logits[0, -len(ids) :]
        return logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].sum()

    def plain(network: Any) -> Tensor:
        losses = []
        for turn, good, bad in zip(turns, preferred, rejected, strict=True):
            with network.disable_adapter(), torch.no_grad():
                before = log_probability(turn, good) - log_probability(turn, bad)
            now = log_probability(turn, good) - log_probability(turn, bad)
            losses.append(-functional.logsigmoid(0.5 * (now - before)))
        return torch.stack(losses).mean()

    loss_and_gradients(pocket, examples, objective, plain)


@pytest.mark.parametrize("example", METHOD, indirect=True)
def test_an_example_keeps_the_contract_of_a_method(
    example: ModuleType,
    pocket: Any,
    alignment_folders: dict[str, Path],
    tmp_path: Path,
    turns: list[Conversation],
) -> None:
    name = METHOD[example.__name__]
    contract.test_config_round_trips_and_refuses_foreign_fields(name)
    contract.test_same_seed_same_artefact_base_unchanged_and_detaching_restores(
        name, pocket, alignment_folders, tmp_path, turns
    )
    contract.test_another_seed_gives_another_artefact(name, pocket, alignment_folders, tmp_path)


@pytest.mark.parametrize("name", METHOD)
def test_an_example_runs_as_a_script(name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "last_loss" in done.stdout
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60


# -- what an objective is shown, and what it may not do ------------------------------------------


def pairs(turns: list[Conversation], count: int = 9) -> list[Example]:
    return [preference(turns[n % 3], [40, 5, 6 + n], [7, 8][: 1 + n % 2]) for n in range(count)]


def preferred_losses(scored: Scored) -> Tensor:
    gained = token_losses(scored.frozen) - token_losses(scored)
    preferred, rejected = scored.pairs(gained)
    return -functional.logsigmoid(preferred - rejected)


DPO = Objective(preferred_losses, per="example", frozen=True)


def test_a_step_on_pairs_is_the_same_however_it_is_cut(
    pocket: Any, turns: list[Conversation], tmp_path: Path
) -> None:
    course = []
    for micro in (4, 2, 1):
        context = RunContext(tmp_path / str(micro), training=TrainingSpec(micro_batch=micro))
        adapter, _ = fine_tune(pocket, pairs(turns), DPO, QUICK, context)
        steps = json.loads((adapter.folder / "losses.json").read_text())["steps"]
        course.append([step["loss"] for step in steps])
    assert len(course[0]) == 3  # 9 pairs in batches of 4, the last one not full
    assert course[1] == pytest.approx(course[0], rel=1e-4)
    assert course[2] == pytest.approx(course[0], rel=1e-4)


def test_an_untrained_adapter_is_the_frozen_model(pocket: Any, turns: list[Conversation]) -> None:
    seen: list[Scored] = []

    def look(scored: Scored) -> Tensor:
        seen.append(scored)
        return scored.states.sum(dim=-1)

    last = pocket.decoder_layers
    objective = Objective(look, layers=(1, last), frozen=True)
    network = AlignmentNetwork(pocket, objective, FineTuningConfig(lora_dropout=0.5))
    try:
        network.train()
        rows = [(Example(turn, torch.zeros(1)), 1.0) for turn in turns]
        network(**Collator(pocket, objective)(rows))
        assert network.training
        assert all(not layer.disable_adapters for layer in lora_layers(network))
    finally:
        network.unload()
        pocket.network.eval().requires_grad_(False)
    [scored] = seen
    expected = pocket.representations(turns, [1, last])
    for number, place in ((1, 0), (last, 1)):
        for one in (scored, scored.frozen):
            torch.testing.assert_close(one.layer(number), expected[:, place], rtol=1e-5, atol=1e-5)
    assert scored.layer(1).requires_grad
    assert not scored.frozen.layer(1).requires_grad
    assert torch.equal(scored.layer(last), scored.states)


def test_sums_over_rows_are_those_of_each_row() -> None:
    suffix = torch.tensor([[False, True, True], [False, False, True], [True, True, True]])
    scored = Scored(torch.zeros(6, 2), torch.zeros(6), torch.nn.Identity(), suffix=suffix)
    assert scored.per_row(torch.tensor([1.0, 2, 4, 8, 16, 32])).tolist() == [3, 4, 56]


REFUSED: dict[str, tuple[Any, str]] = {
    "a scalar": (
        Objective(lambda scored: scored.states.mean()),
        r"the loss of objective '.*<lambda>' is of shape \[\], not of shape \[4\]: one number per"
        " scored position; take no mean or sum",
    ),
    "one per dimension": (
        Objective(lambda scored: scored.states**2),
        r"is of shape \[4, 192\], not of shape \[4\]: one number per scored position",
    ),
    "one per position, where one per example was promised": (
        Objective(lambda scored: scored.states.sum(-1)[:3], per="example"),
        r"is of shape \[3\], not of shape \[4\]: one number per example",
    ),
    "no tensor": (Objective(lambda _scored: 0.5), r"is float, not of shape \[4\]"),  # type: ignore[arg-type, return-value]
    "no gradient": (
        Objective(lambda scored: scored.states.detach().sum(-1)),
        "does not depend on what is trained; compute it from the states",
    ),
    "a layer that was not asked for": (
        Objective(lambda scored: scored.layer(2).sum(-1), layers=(1,)),
        r"layer 2, which its objective did not ask for; make it with .*layers=\(2,\)",
    ),
    "the frozen model, not asked for": (
        Objective(lambda scored: scored.frozen.states.sum(-1)),
        r"frozen model, which its objective did not ask for; make it with .*frozen=True",
    ),
    "pairs of single replies": (
        Objective(lambda scored: scored.pairs(scored.states.sum(-1))[0], per="example"),
        "the examples are not pairs; give each Example the reply that is `rejected`",
    ),
    "a layer that the model lacks": (
        Objective(lambda scored: scored.layer(99).sum(-1), layers=(99,)),
        r"reads layer 99, the model has \d+ \(counted from 1\)",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_wrong_objective_is_refused_by_name(
    wrong: str, pocket: Any, turns: list[Conversation], tmp_path: Path
) -> None:
    objective, words = REFUSED[wrong]
    examples = [Example(turns[n % 3], torch.zeros(1)) for n in range(4)]
    with pytest.raises(TrainingError, match=words) as refused:
        fine_tune(pocket, examples, objective, QUICK, RunContext(tmp_path))
    assert len(str(refused.value).splitlines()) == 1
    assert not any("lora" in name for name, _ in pocket.network.named_modules())


def test_pairs_and_single_replies_do_not_mix(
    pocket: Any, turns: list[Conversation], tmp_path: Path
) -> None:
    mixed = [*pairs(turns, 2), continuation(turns[0], [40, 5])]
    with pytest.raises(TrainingError, match="some examples are pairs of replies and others"):
        fine_tune(pocket, mixed, DPO, QUICK, RunContext(tmp_path))


def test_a_loss_of_the_first_release_still_works_and_says_what_to_change() -> None:
    def squares(states: Tensor, targets: Tensor, head: Any) -> Tensor:
        return ((head(states) - targets) ** 2).mean(-1)

    with pytest.warns(DeprecationWarning, match="squares': a loss takes one `Scored`"):
        old = Objective(squares)  # type: ignore[arg-type]
    states, targets = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2)
    scored = Scored(states, targets, lambda one: 2 * one, suffix=torch.ones(3, 1).bool())
    torch.testing.assert_close(old(scored), ((2 * states - targets) ** 2).mean(-1))
    assert old.name.endswith("squares")


def test_lengths_are_those_of_the_tokens_though_each_prompt_is_tokenised_once(
    pocket: Any, turns: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Conversation("Hello.")
    examples = [
        *(continuation(turn, [40, 5, 6][: 1 + n]) for n, turn in enumerate(turns)),
        *(continuation(replace(turn, text="Reply."), [40]) for turn in turns),
        continuation(written, [1, 2], said=[3]),
    ]
    clips = {turn.clip: len(pocket.features([turn.clip])[0]) for turn in turns}
    expected = [
        max(int(pocket.tokens([row.conversation], [row.reply]).mask.sum()) for row in example.rows)
        for example in [*examples, *pairs(turns, 2)]
    ]
    asked: list[int] = []
    whole = pocket.tokens
    monkeypatch.setattr(pocket, "tokens", lambda *args: (asked.append(1), whole(*args))[1])
    assert lengths(pocket, [*examples, *pairs(turns, 2)], clips) == expected
    assert len(asked) == 3  # two prompts with a clip, one without


def test_a_standing_prompt_stands_in_both_conversations_of_a_pair() -> None:
    pair = preference(Conversation("Question?"), (1, 2), (3,))
    turned = pair.turned(lambda turn: turn.with_system("Be careful."))
    assert [row.conversation.system for row in turned.rows] == ["Be careful."] * 2
    assert [row.reply for row in turned.rows] == [row.reply for row in pair.rows]
