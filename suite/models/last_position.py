"""Reading and changing what decoder layers put out at the last position of a forward pass.

With left padding the last position of every row of a batch is its last real token, so that nothing
here has to know about padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from greaves.base.errors import ModelError


@dataclass
class Steering:
    """Adds vectors to the last position of decoder layers, at every forward pass until detached.

    Attributes:
        layers: the model's decoder layers.
        hidden_size: of the model.
        paused: while true, forward passes are left alone.
    """

    layers: Sequence[nn.Module]
    hidden_size: int
    paused: bool = field(default=False, init=False)
    positions: Tensor | None = field(default=None, init=False)

    @contextmanager
    def attached(self, vectors: Mapping[int, Tensor], alpha: float) -> Iterator[None]:
        """Add alpha * v_l to the output of every layer l until the context is left.

        Args:
            vectors: layer, counted from 1 -> v_l, [hidden_size].
            alpha: their strength.

        Raises:
            ModelError: the model has no such layer, or is of another size.
        """
        with ExitStack() as stack:
            for number, vector in vectors.items():
                if not 1 <= number <= len(self.layers):
                    raise ModelError(
                        f"a vector steers layer {number}, the model has {len(self.layers)}",
                        do="use vectors that were made for this model",
                    )
                if vector.shape != (self.hidden_size,):
                    raise ModelError(
                        f"a steering vector is {[*vector.shape]}, the model's hidden states"
                        f" [{self.hidden_size}]",
                        do="use vectors that were made for this model",
                    )
                layer = self.layers[number - 1]
                weight = next(layer.parameters())
                step = (alpha * vector.float()).to(weight.device)
                handle = layer.register_forward_hook(self._adder(step))
                stack.callback(handle.remove)
            yield

    def _adder(self, step: Tensor) -> Any:
        def add(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            if self.positions is not None:
                hidden = _hidden(output)
                hidden.add_(self.positions[..., None].to(hidden.dtype) * step)
            elif not self.paused:  # in place: a copy of all positions would cost time
                hidden = _hidden(output)
                last = hidden if hidden.shape[1] == 1 else hidden[:, -1]  # decoding needs no view
                last.add_(step)

        return add

    @contextmanager
    def off(self) -> Iterator[None]:
        """Leave forward passes alone until the context is left."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    @contextmanager
    def at(self, positions: Tensor) -> Iterator[None]:
        """Steer these positions of every forward pass, not the last, until the context is left.

        Args:
            positions: [batch, length] true where a token is said, or the last one before it.
        """
        self.positions = positions
        try:
            yield
        finally:
            self.positions = None


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what every layer puts out at the last position of one forward pass.

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


def _hidden(output: Any) -> Tensor:
    """Hidden states of a decoder layer; some families return them first in a tuple."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
