"""Responses: one prefill per conversation, shared by all its samples.

Sampling depends on a sample's own seed, not on the batch it happens to be in. Drawing from
softmax(logits / T) equals taking the argmax of logits / T + g with g ~ Gumbel(0, 1) (Gumbel-max).
Here g is a pure function of (seed, step, token), so that batches can be cut, resumed and mixed at
will, and two methods that are compared see the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteriaList,
    TopPLogitsWarper,
)

from greaves.base.conversation import Conversation, Sampling
from greaves.models.contract import Generated, Seeds
from greaves.models.decoder import Batch, LayerChanges
from greaves.models.spoken_prompts import SpokenPrompts


class Generation(SpokenPrompts):
    """The half of a LALM in transformers that answers."""

    @cached_property
    def _layers(self) -> LayerChanges:
        return LayerChanges(self.network.get_decoder().layers, self.hidden_size)

    @torch.no_grad()
    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Seeds
    ) -> list[list[Generated]]:
        batch, stops = self.batch(conversations), self._stops()
        output = self.continued(batch, sampling, seeds)
        read: list[int] = batch.mask.sum(dim=1).tolist()
        rows = [row for row, own in enumerate(seeds) for _ in own]
        answers: list[list[Generated]] = [[] for _ in conversations]
        texts = self.tokenizer.batch_decode(output, skip_special_tokens=True)
        for row, ids, text in zip(rows, output.tolist(), texts, strict=True):
            ends = (place for place, token in enumerate(ids, start=1) if token in stops)
            written = next(ends, len(ids))
            cut = written == sampling.max_new_tokens and ids[-1] not in stops
            answers[row].append(Generated(text.strip(), cut, read[row], written))
        return answers

    @torch.no_grad()
    def continued(
        self,
        batch: Batch,
        sampling: Sampling,
        seeds: Seeds,
        stopping: StoppingCriteriaList | None = None,
    ) -> Tensor:
        """Continues each row of a batch once per seed.

        Args:
            batch: prompts, one or more positions each.
            sampling: temperature, top_p, max_new_tokens.
            seeds: [batch][samples].
            stopping: further reasons to end a row.

        Returns:
            [samples of all rows, new tokens] ids, padded on the right.
        """
        cache = DynamicCache(config=self.network.config.get_text_config())
        length = batch.ids.shape[1]
        if length > 1:
            with self._layers.at(None):  # the last prompt position is the first that is changed
                self.network.get_decoder()(
                    **batch.inputs(end=length - 1), past_key_values=cache, use_cache=True
                )
        rows = [row for row, own in enumerate(seeds) for _ in own]
        index = torch.tensor(rows, device=self.device)
        cache.batch_select_indices(index)
        flat = [seed for own in seeds for seed in own]
        output: Tensor = self.network.generate(
            input_ids=batch.ids[index],
            attention_mask=batch.mask[index],
            # Said outright: Qwen's Omni models would take them from their last forward pass.
            position_ids=batch.positions[index],
            past_key_values=cache,
            logits_processor=LogitsProcessorList([SeededGumbel(flat, length, sampling)]),
            stopping_criteria=stopping,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=sorted(self._stops()),
                pad_token_id=self.tokenizer.pad_token_id,
            ),
        )
        return output[:, length:]

    def generated_from(self, positions: Tensor) -> AbstractContextManager[None]:
        """Let parts act on these positions, [batch, length] bool, instead of the last one."""
        return self._layers.at(positions)

    def _stops(self) -> set[int]:
        ids = self.network.generation_config.eos_token_id
        stops = {*(ids if isinstance(ids, list) else [ids]), self.tokenizer.eos_token_id}
        return {stop for stop in stops if stop is not None} | {self.tokenizer.pad_token_id}


def _signed(number: int) -> int:
    """The low 64 bits of `number` as int64 holds them."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)

_BLOCK = {"cpu": 1 << 18}
_LARGE_BLOCK = 1 << 26
"""Numbers drawn at a time: what stays in a core's cache; on a GPU, half a GiB. Without blocks, 80
rows of 152 k tokens take eight times as long on a CPU; the numbers are the same."""


def _shift_right_(x: Tensor, bits: int) -> Tensor:
    return x.bitwise_right_shift_(bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix_(x: Tensor) -> Tensor:
    """splitmix64 finaliser on int64 with wrap-around, in place (Steele, Lea and Flood, 2014)."""
    x.bitwise_xor_(_shift_right_(x.clone(), 30)).mul_(_MIX_1)
    x.bitwise_xor_(_shift_right_(x.clone(), 27)).mul_(_MIX_2)
    return x.bitwise_xor_(_shift_right_(x.clone(), 31))


def uniform(seeds: Tensor, step: int, size: int, first: int = 0) -> Tensor:
    """Uniform numbers in (0, 1), the same on every device.

    Args:
        seeds: [batch] int64.
        step: position in the response, from 0.
        size: numbers per row.
        first: how many numbers of each row to leave out in front.

    Returns:
        [batch, size] float64.
    """
    rows = _mix_(_mix_(seeds + _GAMMA) + _signed((step + 1) * _GAMMA))
    columns = torch.arange(first + 1, first + size + 1, device=seeds.device) * _GAMMA
    bits = _shift_right_(_mix_(rows[:, None] + columns[None, :]), 11)
    return bits.to(torch.float64).add_(0.5).mul_(2.0**-53)


class SeededGumbel(LogitsProcessor):  # type: ignore[misc]
    """Turns greedy decoding into sampling with one seed a row.

    Args:
        seeds: [rows] one seed per sequence being generated.
        prompt_length: tokens before the first generated one.
        sampling: temperature and top_p.
    """

    def __init__(self, seeds: list[int], prompt_length: int, sampling: Sampling) -> None:
        self.seeds = torch.tensor(seeds, dtype=torch.int64)
        self.prompt_length = prompt_length
        self.temperature = sampling.temperature
        self.top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """[rows, vocabulary] scores with the noise of this step added."""
        if self.temperature == 0:
            return scores
        scores = scores.float() / self.temperature
        if self.top_p is not None:
            scores = self.top_p(input_ids, scores)
        self.seeds = self.seeds.to(scores.device)
        step = input_ids.shape[1] - self.prompt_length
        block = _BLOCK.get(scores.device.type, _LARGE_BLOCK)
        size = max(1, block // len(scores))
        for first in range(0, scores.shape[1], size):
            part = scores[:, first : first + size]
            noise = uniform(self.seeds, step, part.shape[1], first).log_().neg_().log_()
            part -= noise.to(part.dtype)  # `scores` is ours: the division made it
        return scores
