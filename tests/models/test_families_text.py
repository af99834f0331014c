"""Text requests in every family of models: its own output head, and what it does after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from greaves.models.text_scores import Drawing, generate, log_likelihoods

pytest_plugins = ("family_fixtures",)

SPECIAL = ("gemma-3n", "granite-speech", "phi-4-multimodal", "qwen2.5-omni")
"""Families whose head, positions or embeddings are not plain; the pocket is Qwen2-Audio."""


@pytest.mark.parametrize("name", SPECIAL)
def test_log_likelihoods_are_those_of_the_whole_network(
    name: str, tiny: Callable[[str], Any]
) -> None:
    model = tiny(name)
    words = model.tokenizer.encode("Say it again, and then again.", add_special_tokens=False)
    pairs = [(words[:6], words[6:9]), (words, words[:2]), (words[:3], words[3:4])]
    found = log_likelihoods(model, pairs, batch_size=2, max_length=999)
    for (context, continuation), (ours, greedy) in zip(pairs, found, strict=True):
        ids = torch.tensor([[*context, *continuation]])
        positions = torch.arange(ids.shape[1])[None]
        with torch.no_grad():
            logits = model.network(input_ids=ids, position_ids=positions).logits[0]
        logs = torch.log_softmax(logits[len(context) - 1 : -1].float(), dim=-1)
        wanted = torch.tensor(continuation)
        assert ours == pytest.approx(float(logs.gather(1, wanted[:, None]).sum()), abs=1e-4)
        assert greedy == bool((logs.argmax(-1) == wanted).all())
    drawing = Drawing(max_new_tokens=4, temperature=0)
    texts = generate(model, [words, words[:3]], drawing, [0, 0], batch_size=2)
    assert texts == [
        generate(model, [one], drawing, [0], batch_size=1)[0] for one in (words, words[:3])
    ]
