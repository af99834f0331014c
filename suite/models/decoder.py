"""What goes into the language model, and what its layers put out at the last position.

With left padding the last position of every row of a batch is its last real token, so that reading
and changing layers need not know about padding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from greaves.base.errors import ModelError
from greaves.models.points import TensorChange


@dataclass(frozen=True)
class Tokens:
    """Left-padded token ids, and the features that go where the audio placeholders are.

    Attributes:
        ids: [batch, length] token ids, audio placeholders expanded.
        mask: [batch, length] 1 on tokens, 0 on padding.
        audio: [audio tokens of the batch, hidden_size], clip after clip; no rows without clips.
    """

    ids: Tensor
    mask: Tensor
    audio: Tensor


@dataclass(frozen=True)
class Batch:
    """Left-padded inputs of the language model.

    Attributes:
        ids: [batch, length] token ids, audio placeholders expanded.
        embeds: [batch, length, hidden_size] with the clips' features in place.
        mask: [batch, length] 1 on tokens, 0 on padding.
        positions: [batch, length] position of each token in its own row.
        beside: what a family's decoder wants beside them, each [batch, length, ...].
    """

    ids: Tensor
    embeds: Tensor
    mask: Tensor
    positions: Tensor
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def inputs(self, start: int = 0, end: int | None = None) -> dict[str, Tensor]:
        """Arguments of the decoder for the positions from `start` to before `end`.

        Those before `start` are to be in its cache.
        """
        return {
            "inputs_embeds": self.embeds[:, start:end],
            "attention_mask": self.mask[:, :end],
            "position_ids": self.positions[:, start:end],
            **{name: tensor[:, start:end] for name, tensor in self.beside.items()},
        }


@dataclass
class LayerChanges:
    """Changes of what decoder layers put out where they are generated from, until detached.

    Attributes:
        layers: the model's decoder layers.
        hidden_size: of the model.
        where: index of the outputs [batch, length] that are changed; None for none.
    """

    layers: Sequence[nn.Module]
    hidden_size: int
    where: Any = field(default=(slice(None), -1), init=False)

    @contextmanager
    def changed(self, changes: Mapping[int, TensorChange]) -> Iterator[None]:
        """Change the output of every layer named until the context is left.

        Args:
            changes: layer, counted from 1 -> change of [rows, hidden_size]. Each is tried first.

        Raises:
            ModelError: the model has no such layer, or the change gives another shape.
        """
        with ExitStack() as stack:
            for number, change in changes.items():
                if not 1 <= number <= len(self.layers):
                    what = f"layer {number} is to be changed, the model has {len(self.layers)}"
                    raise ModelError(what, do="use a part that was made for this model")
                layer = self.layers[number - 1]
                weight = next(layer.parameters())
                probe = torch.zeros(2, self.hidden_size, dtype=weight.dtype, device=weight.device)
                if (shape := change(probe).shape) != probe.shape:
                    what = f"the change of layer {number} turns {[*probe.shape]} into {[*shape]}"
                    raise ModelError(what, do="keep the shape of hidden states")
                stack.callback(layer.register_forward_hook(self._hook(change)).remove)
            yield

    def _hook(self, change: TensorChange) -> Any:
        def apply(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            hidden = _hidden(output)  # changed in place: a copy of all positions would cost time
            if self.where is not None:
                hidden[self.where] = change(hidden[self.where]).to(hidden.dtype)

        return apply

    @contextmanager
    def at(self, where: Tensor | None) -> Iterator[None]:
        """Change other positions of every forward pass than the last, until the context is left.

        Args:
            where: [batch, length] true where a token is said, or the last one before it; None
                leaves forward passes alone.
        """
        before, self.where = self.where, where
        try:
            yield
        finally:
            self.where = before


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects the output of every layer at the last position of one forward pass.

    Yields:
        A list that fills up, layer by layer, with [batch, hidden_size] in float32.
    """
    found: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        found.append(_hidden(output)[:, -1].detach().to(torch.float32, copy=True))

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(keep).remove)
        yield found


def last_outputs(decoder: Any, batches: Sequence[Batch]) -> Tensor:
    """What every decoder layer puts out at the last position of each batch.

    Args:
        decoder: the language model without its output head.
        batches: the same turns in several forms, row by row; they may be of any lengths.

    Returns:
        [forms, batch, layers, hidden_size] in float32.
    """
    common = columns_in_common(batches)
    cache = None
    if common:
        cache = DynamicCache(config=decoder.config)
        _forward(decoder, batches[0], 0, common, cache)
    found = []
    for batch in batches:
        own = copy.deepcopy(cache) if batch is not batches[-1] else cache
        with recorded(decoder.layers) as states:
            _forward(decoder, batch, common, batch.ids.shape[1], own)
        found.append(torch.stack(states, dim=1))
    return torch.stack(found)


def columns_in_common(batches: Sequence[Batch]) -> int:
    """How many positions, from the left, are the same in all batches; 0 for a single one.

    Rows are padded on the left, so that forms which differ by equally many tokens in every row line
    up; where they do not, little is in common. At least one position of each is left over.
    """
    if len(batches) < 2:
        return 0
    first, length = batches[0], min(batch.ids.shape[1] for batch in batches) - 1
    same = torch.ones(length, dtype=torch.bool, device=first.ids.device)
    for other in batches[1:]:
        same &= (first.mask[:, :length] == other.mask[:, :length]).all(dim=0)
        same &= (first.embeds[:, :length] == other.embeds[:, :length]).all(dim=-1).all(dim=0)
    return int(same.cumprod(dim=0).sum())


def _forward(decoder: Any, batch: Batch, start: int, end: int, cache: DynamicCache | None) -> None:
    decoder(**batch.inputs(start, end), past_key_values=cache, use_cache=cache is not None)


def _hidden(output: Any) -> Tensor:
    """Hidden states of a decoder layer; some families return them first in a tuple."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
