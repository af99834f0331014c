"""Text tasks on the language model of a LALM: how likely a continuation is, and free generation.

There is no clip and no chat text here: tokens in, numbers or text out. Defences that are attached
(adapters, steering) are in effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from greaves.base.conversation import Sampling
from greaves.models.transformers_lalm import TransformersLALM

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a context, and of the continuation whose likelihood is asked for."""


@torch.no_grad()
def log_likelihoods(
    model: TransformersLALM, pairs: Sequence[Pair], *, batch_size: int, max_length: int
) -> list[tuple[float, bool]]:
    """Log-likelihood of every continuation after its context.

    A context that several continuations of one token share (as in multiple choice by letter)
    passes the model once. Steering begins at the last position of the context, as in generation.

    Args:
        model: under its defence.
        pairs: [pairs] neither part may be empty.
        batch_size: rows at a time, of similar length.
        max_length: what is longer loses tokens from the left, as in lm-eval.

    Returns:
        [pairs] natural log-likelihood, and whether greedy decoding would have said the same.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, (context, continuation) in enumerate(pairs):
        whole = tuple([*context, *continuation][-(max_length + 1) :])
        rows.setdefault(whole[:-1], []).append(number)
    found: dict[int, tuple[float, bool]] = {}
    longest_first = sorted(rows, key=lambda row: (-len(row), row))
    for start in range(0, len(longest_first), batch_size):
        part = longest_first[start : start + batch_size]
        spans = [max(len(pairs[number][1]) for number in rows[row]) for row in part]
        states = _last_states(model, part, spans)
        for row, own in zip(part, states, strict=True):
            logits = _logits(model, own).float()
            logs, greedy = torch.log_softmax(logits, dim=-1), logits.argmax(dim=-1)
            for number in rows[row]:
                wanted = torch.tensor(list(pairs[number][1]), device=logits.device)
                wanted, last = wanted[-len(row) :], slice(-len(wanted), None)
                total = logs[last].gather(1, wanted[:, None]).sum()
                found[number] = float(total), bool((greedy[last] == wanted).all())
    return [found[number] for number in range(len(pairs))]


def _last_states(
    model: TransformersLALM, rows: Sequence[Sequence[int]], spans: Sequence[int]
) -> list[Tensor]:
    """After the final norm, at the last `spans` positions of every row: [span, hidden_size]."""
    batch = model.embed(model.padded(rows))
    length = batch.ids.shape[1]
    ends = torch.tensor(spans, device=model.device)
    spoken = torch.arange(length, device=model.device) >= length - ends[:, None]
    with model.generated_from(spoken):
        out = model.network.get_decoder()(**batch.inputs(), use_cache=False)
    return [
        states[-min(span, len(row)) :]
        for states, span, row in zip(out.last_hidden_state, spans, rows, strict=True)
    ]


def _logits(model: TransformersLALM, states: Tensor) -> Tensor:
    """The output head, and the bound that Gemma puts on its output."""
    logits: Tensor = model.network.get_output_embeddings()(states)
    cap = getattr(model.network.config.get_text_config(), "final_logit_softcapping", None)
    if cap:
        logits = cap * torch.tanh(logits / cap)
    return logits


@dataclass(frozen=True)
class Drawing(Sampling):
    """How text is generated; `n` and `seed` are not used.

    Attributes:
        until: a response ends before the first of these.
    """

    until: tuple[str, ...] = ()


@torch.no_grad()
def generate(
    model: TransformersLALM,
    prompts: Sequence[Sequence[int]],
    drawing: Drawing,
    seeds: Sequence[int],
    *,
    batch_size: int,
) -> list[str]:
    """Continue every prompt once.

    Args:
        model: under its defence.
        prompts: [prompts] token ids; none may be empty.
        drawing: how.
        seeds: [prompts] a text depends on its own seed only; of no matter if greedy.
        batch_size: prompts at a time, of similar length.

    Returns:
        [prompts] texts, special tokens and what comes from a stop string on left out.
    """
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    texts: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        batch = model.embed(model.padded([prompts[number] for number in part]))
        stops = _StopStrings(model.tokenizer, drawing.until, batch.ids.shape[1])
        own, until = [[seeds[number]] for number in part], [stops] if drawing.until else []
        found = model.continued(batch, drawing, own, StoppingCriteriaList(until))
        said = model.tokenizer.batch_decode(found, skip_special_tokens=True)
        for number, text in zip(part, said, strict=True):
            texts[number] = before(text, drawing.until)
    return [texts[number] for number in range(len(prompts))]


def before(text: str, until: Sequence[str]) -> str:
    """The text up to the first of some stop strings."""
    for stop in until:
        if stop:
            text = text.split(stop, 1)[0]
    return text


class _StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends a row once its response holds a stop string; what is after it is cut off later."""

    def __init__(self, tokenizer: Any, until: Sequence[str], prompt_length: int) -> None:
        self.tokenizer = tokenizer
        self.until, self.prompt_length = [stop for stop in until if stop], prompt_length
        lengths = [len(tokenizer.encode(stop, add_special_tokens=False)) for stop in self.until]
        self.window = max(lengths, default=0) + 2  # a stop may begin or end within a token

    def __call__(self, input_ids: Tensor, _scores: Tensor, **_options: Any) -> Tensor:
        recent = input_ids[:, self.prompt_length :][:, -self.window :]
        said = self.tokenizer.batch_decode(recent, skip_special_tokens=True)
        done = [any(stop in text for stop in self.until) for text in said]
        return torch.tensor(done, device=input_ids.device)
