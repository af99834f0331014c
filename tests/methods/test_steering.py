"""SARSteer and steering: known answers, and a slow loop that really computes everything again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from greaves.align.defence import Defence
from greaves.align.method import RunContext
from greaves.align.parts.steering import Steering
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError, ModelError
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import EMBEDDED
from greaves.methods.sarsteer import (
    REFUSAL,
    TASK_PROMPT,
    SARSteer,
    SARSteerConfig,
    ablate,
    chosen,
    refusal_direction,
    safe_space,
)
from greaves.models.contract import LALM

GREEDY = Sampling(n=1, temperature=0.0, max_new_tokens=12)


@pytest.fixture(scope="module")
def mirror() -> AlignmentData:
    """Twelve harmful and twelve safe questions."""
    data = load_alignment_data(EMBEDDED / "mirror", "mirror")
    return AlignmentData("mirror", (*data.harmful[:12], *data.benign[:12]))


@pytest.fixture(scope="module")
def turns(mirror: AlignmentData) -> list[Conversation]:
    """Turns of all modes and several lengths."""
    safe = mirror.benign[:3]
    spoken = [item.clip for item in safe]
    return [
        Conversation(TASK_PROMPT, spoken[0]),
        Conversation(clip=spoken[1]),
        Conversation(f"The audio content is: {safe[2].text} {TASK_PROMPT}"),
        Conversation(TASK_PROMPT, spoken[2], system="You are a helpful assistant."),
    ]


@pytest.fixture(scope="module")
def steering(pocket: Any) -> Steering:
    """A random push on every layer, strong enough to change what is said."""
    generator = torch.Generator().manual_seed(0)
    size = pocket.output_row(0).numel()
    layers = range(1, pocket.decoder_layers + 1)
    return Steering({layer: torch.randn(size, generator=generator) for layer in layers}, 4.0)


# -- the three moves, on hand-made tensors ---------------------------------------------------------


def test_the_direction_is_the_mean_of_what_the_refusal_changes() -> None:
    plain = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    refused = torch.tensor([[2.0, 2.0, 4.0], [6.0, 0.0, 0.0]])
    assert refusal_direction(refused, plain).tolist() == [2.0, 0.0, 2.0]


SAFE = torch.tensor([[3.0, 0.0, 7.0], [-3.0, 0.0, 7.0], [0.0, 1.0, 7.0], [0.0, -1.0, 7.0]])
"""Spread widely along the first axis, a little along the second; a constant third is no spread."""

D = torch.tensor([3.0, 4.0, 12.0])


@pytest.mark.parametrize(
    ("k", "share", "expected"),
    [
        (1, 1.0, [0.0, 4.0, 12.0]),
        (2, 1.0, [0.0, 0.0, 12.0]),
        (1, 0.5, [1.5, 4.0, 12.0]),
        (2, 0.0, [3.0, 4.0, 12.0]),
        (10, 1.0, [0.0, 0.0, 12.0]),
    ],
)
def test_the_principal_safe_directions_are_taken_out(
    k: int, share: float, expected: list[float]
) -> None:
    v = ablate(D, safe_space(SAFE, k), share)
    torch.testing.assert_close(v, torch.tensor(expected))


@pytest.mark.parametrize("k", [1, 10, 40])
def test_v_is_orthogonal_to_the_safe_space_at_lambda_1_and_d_itself_at_0(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    safe = 100 + 30 * torch.randn(100, 192, generator=generator)
    d = 50 * torch.randn(192, generator=generator)
    u = safe_space(safe, k)
    assert u.shape == (192, k)
    torch.testing.assert_close(u.T @ u, torch.eye(k, dtype=u.dtype))
    assert (u.T @ ablate(d, u, 1.0).double()).abs().max() < 1e-5 * d.norm()
    assert torch.equal(ablate(d, u, 0.0), d)


def test_a_safe_space_has_no_more_directions_than_the_states_span() -> None:
    assert safe_space(SAFE, 10).shape == (3, 2)
    assert safe_space(SAFE[:1].expand(5, 3), 10).shape == (3, 0)


def test_the_seed_draws_the_questions(mirror: AlignmentData) -> None:
    first = chosen(mirror.harmful, 5, 0)
    assert first == chosen(mirror.harmful, 5, 0)
    assert first != chosen(mirror.harmful, 5, 1)
    assert [item.id for item in first] == sorted(item.id for item in first)
    assert chosen(mirror.harmful, 100, 3) == mirror.harmful


# -- the vectors, against one item and one form at a time ------------------------------------------


def hidden(pocket: Any, turn: Conversation) -> Tensor:
    """[layers, hidden_size] at the last position, by the whole network, for one turn."""
    states: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, output: states.append(output[0, -1].clone()))
        for layer in pocket.network.get_decoder().layers
    ]
    batch = pocket.batch([turn])
    with torch.no_grad():
        pocket.network(inputs_embeds=batch.embeds, attention_mask=batch.mask)
    for hook in hooks:
        hook.remove()
    return torch.stack(states)


def text_form(item: Any, prompt: str) -> Conversation:
    return Conversation(f"The audio content is: {item.text} {prompt}")


def audio_form(item: Any, prompt: str) -> Conversation:
    return Conversation(prompt, item.clip)


@pytest.mark.parametrize(
    ("source", "form", "safe_form"),
    [
        ({}, text_form, text_form),
        ({"source": "audio"}, audio_form, audio_form),
        ({"source": "text", "safe_source": "audio"}, text_form, audio_form),
    ],
)
def test_vectors_equal_those_of_one_item_at_a_time(
    source: dict[str, str],
    form: Callable[[Any, str], Conversation],
    safe_form: Callable[[Any, str], Conversation],
    pocket: Any,
    mirror: AlignmentData,
    tmp_path: Path,
) -> None:
    refused, plain = (
        torch.stack([hidden(pocket, form(item, prompt)) for item in mirror.harmful])
        for prompt in (TASK_PROMPT + REFUSAL, TASK_PROMPT)
    )
    safe = torch.stack([hidden(pocket, safe_form(item, TASK_PROMPT)) for item in mirror.benign])
    config = SARSteerConfig.model_validate({**source, "k": 3, "batch_size": 5})
    defence = SARSteer(config).align(pocket, mirror, RunContext(tmp_path))
    (part,) = defence.parts
    assert isinstance(part, Steering)
    assert part.alpha == 0.1
    assert sorted(part.vectors) == list(range(1, pocket.decoder_layers + 1))
    for layer, v in part.vectors.items():
        d = (refused[:, layer - 1] - plain[:, layer - 1]).mean(0)
        centred = safe[:, layer - 1] - safe[:, layer - 1].mean(0)
        u = torch.linalg.svd(centred.T, full_matrices=False)[0][:, :3]
        torch.testing.assert_close(v, d - u @ (u.T @ d), atol=2e-3, rtol=1e-3)
        assert (u.T @ v).norm() < 1e-3 * d.norm()


def test_lambda_0_and_a_choice_of_layers_are_ablations_of_the_same_vectors(
    pocket: Any, mirror: AlignmentData, tmp_path: Path
) -> None:
    def vectors(**config: Any) -> dict[int, Tensor]:
        method = SARSteer(SARSteerConfig.model_validate(config))
        (part,) = method.align(pocket, mirror, RunContext(tmp_path)).parts
        assert isinstance(part, Steering)
        return dict(part.vectors)

    whole, bare, some = vectors(), vectors(**{"lambda": 0}), vectors(layers=[2, 4])
    assert all(bare[layer].norm() > whole[layer].norm() for layer in whole)
    assert sorted(some) == [2, 4]
    assert all(torch.equal(some[layer], whole[layer]) for layer in some)
    with pytest.raises(
        ModelError, match=r"layer 9 is to be steered, pocket has 5; change `layers`"
    ):
        vectors(layers=[9])


@pytest.mark.parametrize("layers", [[], [0], [2, 2]])
def test_layers_that_cannot_be_meant_are_refused(layers: list[int]) -> None:
    with pytest.raises(ValueError, match="layers"):
        SARSteerConfig.model_validate({"layers": layers})


def test_forms_that_begin_alike_share_their_beginning_and_others_do_not(
    pocket: Any, mirror: AlignmentData
) -> None:
    from greaves.models.decoder import columns_in_common

    plain = [audio_form(item, TASK_PROMPT) for item in mirror.harmful[:4]]
    refused = [audio_form(item, TASK_PROMPT + REFUSAL) for item in mirror.harmful[:4]]
    other = [text_form(item, TASK_PROMPT) for item in mirror.harmful[:4]]
    batches = [pocket.batch(form) for form in (plain, refused)]
    assert columns_in_common(batches) > 0.8 * batches[0].ids.shape[1]
    assert columns_in_common([batches[0], pocket.batch(other)]) <= 1  # the start of a turn
    assert columns_in_common(batches[:1]) == 0
    together = pocket.layer_outputs(plain, refused, other)
    for form, states in zip((plain, refused, other), together, strict=True):
        alone = torch.stack([hidden(pocket, turn) for turn in form])
        torch.testing.assert_close(states, alone, atol=1e-3, rtol=1e-4)


# -- steering while generating ---------------------------------------------------------------------


@contextmanager
def pushed(pocket: Any, part: Steering, first: int) -> Iterator[None]:
    """Add alpha v_l to every position from `first` on: what cached steering comes to."""

    def push(vector: Tensor) -> Any:
        def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
            return torch.cat([output[:, :first], output[:, first:] + part.alpha * vector], dim=1)

        return hook

    layers = pocket.network.get_decoder().layers
    hooks = [layers[n - 1].register_forward_hook(push(v)) for n, v in part.vectors.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def slowly(pocket: Any, turn: Conversation, part: Steering) -> Tensor:
    """[steps, vocabulary] of greedy decoding, the whole sequence computed anew for every token."""
    batch = pocket.batch([turn])
    embeds, length = batch.embeds, batch.ids.shape[1]
    steps: list[Tensor] = []
    with torch.no_grad(), pushed(pocket, part, length - 1):
        while len(steps) < GREEDY.max_new_tokens:
            steps.append(pocket.network(inputs_embeds=embeds, use_cache=False).logits[0, -1])
            said = steps[-1].argmax()
            if int(said) in pocket._stops():
                break
            row = pocket.network.get_input_embeddings()(said[None, None])
            embeds = torch.cat([embeds, row], dim=1)
    return torch.stack(steps)


def as_published(pocket: Any, turn: Conversation, part: Steering) -> Tensor:
    """[steps, vocabulary] as the authors run it: the whole prompt, then one token a forward."""
    inputs: dict[str, Tensor] = {"inputs_embeds": pocket.batch([turn]).embeds}
    steps: list[Tensor] = []
    cache = None
    with torch.no_grad(), part.attached(pocket):
        while len(steps) < GREEDY.max_new_tokens:
            out = pocket.network(**inputs, past_key_values=cache, use_cache=True)
            steps.append(out.logits[0, -1])
            if int(steps[-1].argmax()) in pocket._stops():
                break
            cache, inputs = out.past_key_values, {"input_ids": steps[-1].argmax()[None, None]}
    return torch.stack(steps)


def generated(pocket: Any, turn: Conversation) -> Tensor:
    """[steps, vocabulary] that `respond` goes through."""
    steps: list[Tensor] = []
    head = pocket.network.get_output_embeddings()
    hook = head.register_forward_hook(lambda _m, _i, output: steps.append(output[0, -1].clone()))
    pocket.respond([turn], GREEDY, [[0]])
    hook.remove()
    return torch.stack(steps)


def test_cached_generation_equals_a_loop_that_computes_everything_again(
    pocket: Any, turns: list[Conversation], steering: Steering
) -> None:
    for turn in turns:
        with steering.attached(pocket):
            ours = generated(pocket, turn)
        torch.testing.assert_close(ours, slowly(pocket, turn, steering), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(ours, as_published(pocket, turn, steering), atol=1e-3, rtol=1e-4)
        assert (ours[0] - generated(pocket, turn)[0]).abs().max() > 0.1


def test_a_steered_batch_equals_one_at_a_time_and_samples_keep_their_seeds(
    pocket: Any, turns: list[Conversation], steering: Steering
) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=8)
    seeds = [[10 * n, 10 * n + 1] for n in range(len(turns))]
    with steering.attached(pocket):
        together = pocket.respond(turns, sampling, seeds)
        alone = [
            pocket.respond([turn], sampling, [own])[0]
            for turn, own in zip(turns, seeds, strict=True)
        ]
        states = pocket.representations(turns)
        each = torch.cat([pocket.representations([turn]) for turn in turns])
    assert together == alone
    torch.testing.assert_close(states, each, atol=1e-3, rtol=1e-4)


def test_only_the_last_position_of_the_named_layer_moves_by_alpha_v(
    pocket: Any, turns: list[Conversation], steering: Steering
) -> None:
    one = Steering({2: steering.vectors[2]}, 0.5)
    caught: list[Tensor] = []
    layer = pocket.network.get_decoder().layers[1]
    before = pocket.layer_outputs(turns)[0]
    with one.attached(pocket):
        hook = layer.register_forward_hook(lambda _m, _i, output: caught.append(output.clone()))
        after = pocket.layer_outputs(turns)[0]
        hook.remove()
    assert torch.equal(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1] - before[:, 1], (0.5 * one.vectors[2]).expand(4, -1))
    hook = layer.register_forward_hook(lambda _m, _i, output: caught.append(output.clone()))
    pocket.layer_outputs(turns)
    hook.remove()
    assert torch.equal(caught[0][:, :-1], caught[1][:, :-1])


def hooks_of(model: Any) -> list[list[int]]:
    """Hooks of each layer; transformers leaves its own after `output_hidden_states`."""
    return [list(layer._forward_hooks) for layer in model.network.get_decoder().layers]


def test_detaching_restores_outputs_exactly_in_any_nesting_and_after_an_error(
    pocket: Any, turns: list[Conversation], steering: Steering
) -> None:
    before, hooked = pocket.layer_outputs(turns), hooks_of(pocket)
    half = Steering(steering.vectors, steering.alpha / 2)
    with steering.attached(pocket):
        whole = pocket.representations(turns)
    with half.attached(pocket):
        with half.attached(pocket):
            torch.testing.assert_close(pocket.representations(turns), whole, atol=1e-3, rtol=1e-4)
        assert not torch.allclose(pocket.representations(turns), whole)
    with pytest.raises(RuntimeError), steering.attached(pocket):
        raise RuntimeError
    assert torch.equal(pocket.layer_outputs(turns), before)
    assert hooks_of(pocket) == hooked


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ({6: torch.zeros(192)}, "layer 6 is to be changed, the model has 5"),
        ({1: torch.zeros(8)}, r"a steering vector is \[8\], the model's hidden states \[192\]"),
    ],
)
def test_vectors_of_another_model_are_refused_and_leave_no_trace(
    vectors: dict[int, Tensor], words: str, pocket: Any
) -> None:
    part, hooked = Steering({2: torch.zeros(192), **vectors}, 0.1), hooks_of(pocket)
    with pytest.raises(ModelError, match=words), part.attached(pocket):
        pass
    assert hooks_of(pocket) == hooked


# -- the part on disk ------------------------------------------------------------------------------


def test_a_saved_part_is_read_back_by_a_process_that_knows_no_method(
    steering: Steering, tmp_path: Path
) -> None:
    defence = Defence((steering,))
    defence.save(tmp_path / "saved", {})
    code = (
        "import sys; from pathlib import Path; from greaves.align.defence import Defence;"
        "print(Defence.load(Path(sys.argv[1])).hash)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "saved")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.strip() == defence.hash


def test_the_hash_follows_vectors_layers_and_strength(steering: Steering) -> None:
    first = dict(steering.vectors)
    others = [
        Steering(first, 0.5),
        Steering({layer: v for layer, v in first.items() if layer > 1}, steering.alpha),
        Steering({**first, 1: first[2], 2: first[1]}, steering.alpha),
    ]
    assert Steering(first, steering.alpha).content_hash() == steering.content_hash()
    assert len({part.content_hash() for part in [steering, *others]}) == 4


def no_tensors(folder: Path) -> None:
    (folder / "vectors.safetensors").write_bytes(b"not tensors")


def no_number(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"layer.1": torch.full((4,), torch.nan)}, folder / "vectors.safetensors")


def no_strength(folder: Path) -> None:
    (folder / "strength.json").write_text(json.dumps({"alpha": None}))


@pytest.mark.parametrize("spoil", [no_tensors, no_number, no_strength])
def test_a_spoilt_part_is_refused_in_one_line(
    spoil: Callable[[Path], None], steering: Steering, tmp_path: Path
) -> None:
    Defence((steering,)).save(tmp_path / "saved", {})
    spoil(tmp_path / "saved" / "0-steering")
    with pytest.raises(DataError) as caught:
        Defence.load(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_a_black_box_says_that_it_cannot_be_steered(steering: Steering, pocket: Any) -> None:
    words = "pocket is a black box: its weights cannot be reached"
    with pytest.raises(ModelError, match=words):
        LALM.changed(pocket, steering.inside())
    with pytest.raises(ModelError, match="pocket is a black box: its hidden states"):
        LALM.layer_outputs(pocket, [])
