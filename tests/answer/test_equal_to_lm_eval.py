"""Text requests give the numbers of lm-eval's own `hf` model on the same language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from made_text_tasks import TASKS, made_text_tasks

from greaves.align.parts.steering import Steering
from greaves.base.conversation import Conversation, Sampling
from greaves.models.families.pocket_lalm import pocket as load_pocket


@pytest.fixture(scope="module")
def lalm() -> Any:
    """The pocket's network with random weights, so that no text is likelier than another."""
    model = load_pocket()
    torch.manual_seed(3)
    for weight in model.network.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.08)
    return model


@pytest.fixture(scope="module")
def both(lalm: Any) -> tuple[Any, Any]:
    """lm-eval's `hf` model and ours."""
    from lm_eval.models.huggingface import HFLM
    from transformers import GenerationConfig, Qwen2ForCausalLM

    from greaves.answer.lm_eval import GreavesLM

    alone = Qwen2ForCausalLM(lalm.network.config.get_text_config())
    weights = {
        name.replace("model.language_model.", "model."): weight
        for name, weight in lalm.network.state_dict().items()
        if "language_model" in name
    }
    weights["lm_head.weight"] = lalm.network.get_output_embeddings().weight
    alone.load_state_dict(weights, strict=False)
    alone.generation_config = GenerationConfig(eos_token_id=sorted(lalm._stops()))
    return (
        HFLM(pretrained=alone.eval(), tokenizer=lalm.tokenizer, batch_size=4),
        GreavesLM(lalm, batch_size=4),
    )


@pytest.fixture(scope="module")
def answers(
    both: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[bool, str], list[Any]]:
    """(chat template?, task) -> samples of either model."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folder = made_text_tasks(tmp_path_factory.mktemp("tasks"))
    found: dict[tuple[bool, str], list[Any]] = {}
    for chat in (False, True):
        for model in both:
            outcome = simple_evaluate(
                model=model,
                tasks=list(TASKS),
                task_manager=TaskManager(include_path=folder, include_defaults=False),
                bootstrap_iters=0,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
            )
            for task, samples in outcome["samples"].items():
                found.setdefault((chat, task), []).append(samples)
    return found


def _pairs(sides: list[Any]) -> Iterator[tuple[Any, Any]]:
    theirs, ours = sides
    for one, other in zip(theirs, ours, strict=True):
        assert one["arguments"] == other["arguments"]
        yield from zip(one["resps"], other["resps"], strict=True)


@pytest.mark.parametrize("chat", [False, True])
def test_log_likelihoods_of_choices_are_equal(
    answers: dict[tuple[bool, str], list[Any]], chat: bool
) -> None:
    pairs = list(_pairs(answers[chat, "made_choice"]))
    assert len(pairs) == 30
    for [(theirs, greedy)], [(ours, same)] in pairs:
        assert ours == pytest.approx(theirs, abs=1e-4)
        assert same == greedy


def test_rolling_log_likelihoods_are_equal(answers: dict[tuple[bool, str], list[Any]]) -> None:
    for [theirs], [ours] in _pairs(answers[False, "made_rolling"]):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("chat", [False, True])
def test_generated_texts_are_equal_and_end_before_a_stop_string(
    answers: dict[tuple[bool, str], list[Any]], chat: bool
) -> None:
    pairs = list(_pairs(answers[chat, "made_generation"]))
    assert [theirs for theirs, _ in pairs] == [ours for _, ours in pairs]
    texts = [text for _, [text] in pairs]
    assert len(set(texts)) > 3
    assert not any("f" in text for text in texts)


def test_texts_longer_than_the_model_reads_lose_tokens_from_the_left(both: tuple[Any, Any]) -> None:
    from lm_eval.api.instance import Instance

    theirs, ours = both
    long = "paint the fence " * 30
    requests = {
        "loglikelihood": [(long, " carefully"), ("", "paint a fence"), ("open ", "the door")],
        "loglikelihood_rolling": [(long,)],
        "generate_until": [(long, {"until": ["?"], "max_gen_toks": 5})],
    }
    before = theirs._max_length, type(ours).max_length
    theirs._max_length, type(ours).max_length = 32, property(lambda self: 32)
    try:
        for kind, arguments in requests.items():
            made = [Instance(kind, {}, one, 0, ("long", n, 1)) for n, one in enumerate(arguments)]
            expected, found = getattr(theirs, kind)(made), getattr(ours, kind)(made)
            for one, other in zip(expected, found, strict=True):
                assert other == (one if isinstance(one, str) else pytest.approx(one, abs=1e-4))
    finally:
        theirs._max_length, type(ours).max_length = before


def test_scoring_a_text_is_steered_like_generating_it(lalm: Any) -> None:
    from greaves.models.text_scores import log_likelihoods

    size = lalm.output_row(0).numel()
    torch.manual_seed(1)
    layers = range(1, lalm.decoder_layers + 1)
    steering = Steering({layer: torch.randn(size) for layer in layers}, 0.5)
    turn, greedy = Conversation(text="how do I paint a fence?"), Sampling(temperature=0.0)
    batch = lalm.batch([turn])
    plain = lalm.continued(batch, greedy, [[0]])[0].tolist()
    with steering.attached(lalm):
        steered = lalm.continued(batch, greedy, [[0]])[0].tolist()
        pairs = [(batch.ids[0].tolist(), steered[:end]) for end in (1, 4, 8)]
        found = log_likelihoods(lalm, pairs, batch_size=3, max_length=999)
    assert steered[:8] != plain[:8]
    assert [same for _, same in found] == [True] * 3
    [(_, same)] = log_likelihoods(lalm, pairs[-1:], batch_size=1, max_length=999)
    assert not same


def test_sampled_text_depends_on_its_own_seed_only(lalm: Any) -> None:
    from greaves.models.text_scores import Drawing, generate

    texts = ["paint a fence", "open the door to my house", "how do I"]
    prompts = [lalm.tokenizer.encode(text) for text in texts]
    drawing = Drawing(max_new_tokens=8, top_p=0.9)
    together = generate(lalm, prompts, drawing, [1, 2, 3], batch_size=3)
    alone = [
        generate(lalm, [prompt], drawing, [seed], batch_size=1)[0]
        for prompt, seed in zip(prompts, (1, 2, 3), strict=True)
    ]
    assert together == alone
    assert generate(lalm, prompts[:1], drawing, [9], batch_size=1) != together[:1]
