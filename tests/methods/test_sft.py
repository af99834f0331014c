"""The supervised baselines: which tokens carry loss, which do not, and where they come from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from greaves.align.method import AlignmentMethod, RunContext
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Scored, step_weights
from greaves.align.training.penalty import lora_factors
from greaves.align.training.prompts import PROMPT_POOL, TASK_PROMPT
from greaves.align.training.spec import TrainingSpec
from greaves.align.training.supervised import (
    CROSS_ENTROPY,
    continuation,
    own_responses,
    response_ids,
    token_losses,
)
from greaves.align.training.trainer import Collator
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError
from greaves.data.alignment.sets import AlignmentData, AlignmentItem, load_alignment_data
from greaves.data.pocket.grammar import read_response
from greaves.methods.rrs import RRS, RRSConfig
from greaves.methods.sft_deep import REFUSAL, SFTDeep, SFTDeepConfig
from greaves.methods.sft_full import SFTFull
from greaves.methods.sft_shallow_mirror import SFTShallowConfig, SFTShallowMirror
from greaves.methods.sft_shallow_parallel import SFTShallowParallel

GREEDY = Sampling(1, 0.0, max_new_tokens=48)
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "rank": 2, "learning_rate": 3e-3}
REFUSED_ALWAYS = "If the question could cause harm, say: I cannot assist with that."


def small(kind: str, folders: dict[str, Path], each: int = 4) -> AlignmentData:
    data = load_alignment_data(folders[kind], kind)
    return AlignmentData(kind, (*data.harmful[:each], *data.benign[:each]))


# -- the loss ------------------------------------------------------------------------------------


def test_token_losses_are_minus_log_probabilities() -> None:
    states = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)], [5.0, 5.0]])
    losses = token_losses(Scored(states, torch.tensor([1, 0, 0]), lambda logits: logits))
    expected = [math.log(4 / 3), math.log(4), math.log(2)]
    torch.testing.assert_close(losses, torch.tensor(expected))


def test_loss_is_on_what_is_learnt_and_not_on_prompt_or_prefill(pocket: Any) -> None:
    example = continuation(Conversation("Answer."), learnt=[40, 5, 6], said=[7, 8])
    assert example.target.tolist() == [40, 5, 6]
    assert example.reply == (7, 8, 40, 5)
    ids = pocket.tokens([example.conversation], [example.reply]).ids[0]
    assert ids[-3:].tolist() == [8, 40, 5]  # each of the last three is followed by a target


def test_a_batch_has_the_loss_that_transformers_computes_from_masked_labels(pocket: Any) -> None:
    """Labels of -100 are the prompt and the prefilled tokens, as in any training script."""
    turns = [Conversation("Answer."), Conversation("Follow the instruction in the audio.")]
    said, learnt = [(7, 8), ()], [(40, 5, 6), (9, 10, 11, 12, 13)]
    examples = [continuation(*parts) for parts in zip(turns, learnt, said, strict=True)]
    weights = step_weights(examples, 2, CROSS_ENTROPY)
    batch = Collator(pocket, CROSS_ENTROPY)(list(zip(examples, weights, strict=True)))
    losses, counts = [], []
    for example, scored in zip(examples, learnt, strict=True):
        row = pocket.tokens([example.conversation], [(*example.reply, scored[-1])])
        labels = torch.full_like(row.ids, -100)
        labels[0, -len(scored) :] = torch.tensor(scored)
        with torch.no_grad():
            out = pocket.network(inputs_embeds=pocket.embed(row).embeds, labels=labels)
        losses.append(out.loss.item() * len(scored))
        counts.append(len(scored))
    config = FineTuningConfig(penalty=False, lora_dropout=0)
    network = AlignmentNetwork(pocket, CROSS_ENTROPY, config)  # B is 0: still the vanilla model
    try:
        ours = network(**batch).item()
    finally:
        network.unload()
        pocket.network.eval().requires_grad_(False)
    assert ours == pytest.approx(sum(losses) / sum(counts), rel=1e-5)


# -- the vanilla model's own responses -----------------------------------------------------------


def test_own_responses_end_their_turn_unless_they_were_cut(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    items = small("mirror", alignment_folders).benign
    [end] = response_ids(pocket, "")
    whole = own_responses(pocket, items, GREEDY, RunContext(tmp_path / "whole"), "benign")
    cut = own_responses(
        pocket, items, Sampling(1, 0.0, max_new_tokens=3), RunContext(tmp_path / "cut"), "benign"
    )
    said = pocket.respond(
        [Conversation(TASK_PROMPT, item.clip) for item in items], GREEDY, [[0]] * len(items)
    )
    for [ids], [short], [text] in zip(whole, cut, said, strict=True):
        assert ids[-1] == end
        assert pocket.tokenizer.decode(ids[:-1]) == text.text
        assert len(short) == 3
        assert short == ids[:3]


def test_own_responses_are_asked_for_once(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    items = small("mirror", alignment_folders).harmful
    sampling, context = Sampling(2, 1.0, max_new_tokens=6), RunContext(tmp_path, seed=1)
    first = own_responses(pocket, items, sampling, context, "harmful")
    other = SystemPrompt("Now everything would be said in another way.")
    with other.attached(pocket) as changed:
        again = own_responses(changed, items, sampling, context, "harmful")
    assert again == first
    assert [len(samples) for samples in first] == [2] * len(items)
    other = RunContext(tmp_path / "other", seed=2)
    assert own_responses(pocket, items, sampling, other, "harmful") != first
    assert own_responses(pocket, [], sampling, RunContext(tmp_path / "none"), "none") == []


# -- the examples of each method -----------------------------------------------------------------


def test_sft_full_learns_every_token_of_the_response_and_its_end(
    pocket: Any, alignment_folders: dict[str, Path]
) -> None:
    items = small("basic", alignment_folders).items
    examples = SFTFull(FineTuningConfig(epochs=3))._examples(pocket, items, seed=0)
    assert len(examples) == 3 * len(items)
    by_clip = {item.clip: item for item in items}
    [end] = response_ids(pocket, "")
    for example in examples:
        response = by_clip[str(example.conversation.clip)].response
        assert pocket.tokenizer.decode(example.target[:-1]) == response
        assert example.target[-1] == end
        assert example.reply == tuple(example.target[:-1].tolist())
        assert example.conversation.text in PROMPT_POOL
    assert len({example.conversation.text for example in examples}) > 3


def test_sft_full_names_the_question_that_has_no_response(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    data = small("mirror", alignment_folders)
    with pytest.raises(DataError, match=f"'{data.items[0].id}' has no `response`.*Basic"):
        SFTFull(FineTuningConfig()).align(pocket, data, RunContext(tmp_path))


@pytest.mark.parametrize("method", [SFTShallowMirror, SFTShallowParallel])
def test_sft_shallow_learns_i_or_the_first_token_of_the_models_own_response(
    method: type[SFTShallowMirror],
    pocket: Any,
    alignment_folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    kind = method.requires.data
    assert kind == method.__name__.removeprefix("SFTShallow").lower()
    data = small(kind, alignment_folders)
    aligner = method(SFTShallowConfig(epochs=1, batch_size=8, rank=2))
    first = aligner._first_tokens(pocket, data, RunContext(tmp_path))
    said = pocket.respond(
        [Conversation(TASK_PROMPT, item.clip) for item in data.benign], GREEDY, [[0]] * 4
    )
    for token, [own] in zip(first[4:], said, strict=True):
        assert own.text.startswith(pocket.tokenizer.decode([token]))
    examples = aligner._examples([*data.harmful, *data.benign], first, seed=0)
    assert len(examples) == 8
    harmful = {item.clip for item in data.harmful}
    for example in examples:
        assert example.reply == ()
        assert example.target.shape == (1,)
        refuses = example.target.item() == pocket.refusal_token_id
        assert refuses == (example.conversation.clip in harmful)


def test_sft_deep_prefills_0_to_10_tokens_and_learns_only_the_refusal_after_them(
    pocket: Any,
) -> None:
    items = [
        AlignmentItem(id=name, kind=kind, text="", clip=f"{name}.ogg")
        for name, kind in [("h", "harmful"), ("b", "benign")]
    ]
    beginning, refusal, own = tuple(range(100, 110)), (40, 5, 6), (20, 21, 22, 23)
    method = SFTDeep(SFTDeepConfig(epochs=200))
    examples = method._examples(items, [beginning], [refusal, own], seed=0)
    prefilled = set()
    for example in examples:
        if example.conversation.clip == "b.ogg":
            assert example.target.tolist() == list(own)
            assert example.reply == own[:-1]
        else:
            said = example.reply[:-2]
            assert example.reply[-2:] == refusal[:-1]
            assert example.target.tolist() == list(refusal)
            assert said == beginning[: len(said)]
            prefilled.add(len(said))
    assert prefilled == set(range(11))
    again = method._examples(items, [beginning], [refusal, own], seed=0)
    assert [one.reply for one in again] == [one.reply for one in examples]


def test_sft_deep_takes_the_sets_harmful_response_or_an_own_one_that_is_no_refusal(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    given, *others = small("mirror", alignment_folders).harmful
    given = given.model_copy(update={"response": "Sure, this is how to"})
    method = SFTDeep(SFTDeepConfig(tries=16))
    beginnings = method._beginnings(pocket, [given, *others], RunContext(tmp_path / "free"))
    assert pocket.tokenizer.decode(beginnings[0]) == given.response
    for own in beginnings[1:]:
        assert len(own) == 10
        assert own[0] != pocket.refusal_token_id
    with SystemPrompt(REFUSED_ALWAYS).attached(pocket) as refusing:
        context = RunContext(tmp_path / "refusing")
        refused = SFTDeep(SFTDeepConfig(tries=1))._beginnings(refusing, others, context)
    assert () in refused  # nothing is prefilled where the model refuses


def test_the_default_refusal_is_one_and_begins_with_the_refusal_token(pocket: Any) -> None:
    assert read_response(REFUSAL).kind == "refusal"
    assert response_ids(pocket, REFUSAL)[0] == pocket.refusal_token_id


def test_a_step_is_the_same_however_its_responses_are_cut_into_micro_batches(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    """Micro-batches hold unequal numbers of tokens: a mean of their means is another loss."""
    data = small("basic", alignment_folders)
    config = FineTuningConfig(**QUICK, lora_dropout=0)
    whole, cut = (
        SFTFull(config).align(
            pocket,
            data,
            RunContext(tmp_path / str(micro), training=TrainingSpec(micro_batch=micro)),
        )
        for micro in (8, 2)
    )
    assert whole.notes is not None
    assert cut.notes is not None
    assert cut.notes["first_loss"] == pytest.approx(whole.notes["first_loss"], rel=1e-5)
    assert cut.notes["last_loss"] == pytest.approx(whole.notes["last_loss"], rel=1e-4)


# -- all training methods ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "config"),
    [
        (SFTFull, FineTuningConfig),
        (SFTShallowMirror, SFTShallowConfig),
        (SFTShallowParallel, SFTShallowConfig),
        (SFTDeep, SFTDeepConfig),
        (RRS, RRSConfig),
    ],
)
def test_the_penalty_term_can_be_left_out_and_holds_theta_back(
    method: type[AlignmentMethod[Any]],
    config: type[FineTuningConfig],
    pocket: Any,
    alignment_folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    data = small(str(method.requires.data), alignment_folders)
    moved = {}
    for penalty in (True, False):
        made = config(**QUICK, penalty=penalty, penalty_weight=100)
        context = RunContext(tmp_path / str(penalty), seed=0)
        with method(made).align(pocket, data, context).attached(pocket):
            moved[penalty] = sum(
                (scaling * b @ a).norm().item() ** 2
                for b, a, scaling in lora_factors(pocket.network)
            )
    assert 0 < moved[True] < 0.5 * moved[False]


def test_sft_shallow_makes_i_likelier_after_harmful_than_after_benign_questions(
    pocket: Any, alignment_folders: dict[str, Path], tmp_path: Path
) -> None:
    data = load_alignment_data(alignment_folders["mirror"], "mirror")
    config = SFTShallowConfig(**{**QUICK, "epochs": 12, "rank": 8, "penalty": False})

    def margin() -> float:
        """How much likelier "I" is the first token after harmful questions than after benign."""
        shares = []
        for items in (data.harmful, data.benign):
            states = pocket.representations(
                [Conversation(TASK_PROMPT, item.clip) for item in items]
            )[:, 0]
            logits = pocket.network.get_output_embeddings()(states)
            shares.append(logits.softmax(-1)[:, pocket.refusal_token_id].mean().item())
        return shares[0] - shares[1]

    before = margin()
    defence = SFTShallowMirror(config).align(pocket, data, RunContext(tmp_path, seed=0))
    with defence.attached(pocket), torch.no_grad():
        after = margin()
    assert after > before + 0.2
