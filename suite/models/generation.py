"""Responses: one prefill per conversation, shared by all its samples."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from greaves.base.conversation import Conversation, Sampling
from greaves.models.batches import Batch
from greaves.models.contract import Generated
from greaves.models.last_position import LayerChanges
from greaves.models.sampling import SeededGumbel
from greaves.models.spoken_prompts import SpokenPrompts


class Generation(SpokenPrompts):
    """The half of a LALM in transformers that answers."""

    @cached_property
    def _layers(self) -> LayerChanges:
        return LayerChanges(self.network.get_decoder().layers, self.hidden_size)

    @torch.no_grad()
    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
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
        seeds: Sequence[Sequence[int]],
        stopping: StoppingCriteriaList | None = None,
    ) -> Tensor:
        """Continues each row of a batch once per seed.

        Args:
            batch: prompts, one or more positions each.
            sampling: temperature, top_p, max_new_tokens.
            seeds: [batch][samples] seeds.
            stopping: further reasons to end a row.

        Returns:
            [samples of all rows, new tokens] ids, padded on the right.
        """
        cache = DynamicCache(config=self.network.config.get_text_config())
        length = batch.ids.shape[1]
        if length > 1:
            with self._layers.off():  # the last prompt position is the first that is changed
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
