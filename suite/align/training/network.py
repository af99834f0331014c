"""The network that is trained: a LALM's language model with LoRA, whose forward is the loss.

All that touches a parameter happens inside `forward`, and by calling modules: so the same code runs
on one process, under DistributedDataParallel, and where ZeRO-3 has taken the parameters apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, distributed

from greaves.align.training.config import FineTuningConfig
from greaves.align.training.last_layer import layer_states
from greaves.align.training.lean import lean_lora, lean_norms
from greaves.align.training.objective import Objective, Scored
from greaves.align.training.penalty import captured_factors, lora_layers, penalty
from greaves.models.adapters import projections
from greaves.models.decoder import Tokens
from greaves.models.transformers_lalm import TransformersLALM


class AlignmentNetwork(PeftModel):  # type: ignore[misc]
    """A PeftModel whose forward returns the alignment loss of a batch.

    Args:
        model: its network gets LoRA modules in place; `unload()` takes them off again.
        objective: the alignment loss.
        config: LoRA and penalty.
    """

    def __init__(
        self, model: TransformersLALM, objective: Objective, config: FineTuningConfig
    ) -> None:
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=lora_modules(model),
        )
        super().__init__(model.network, lora)
        self.lalm, self._objective, self._config = model, objective, config

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        audio: Tensor,
        scored: Tensor,
        targets: Tensor,
        weights: Tensor,
        keep: int,
        paired: bool = False,
    ) -> Tensor:
        """The batch's part of the step's loss, penalty included; a scalar.

        Args:
            ids, mask, audio: see `Tokens`.
            scored: [batch] scored positions of each row.
            targets: [positions, ...] targets of all rows, row after row.
            weights: [positions] or [examples] weight of each of the objective's losses.
            keep: the largest of `scored`, a plain number so that no GPU has to be asked for it.
            paired: whether rows alternate between preferred and rejected replies.
        """
        objective, decoder = self._objective, self.lalm.network.get_decoder()
        batch = self.lalm.embed(Tokens(ids, mask, audio))
        suffix = torch.arange(keep, device=ids.device) >= keep - scored[:, None]
        head = self.lalm.network.get_output_embeddings()

        def seen(before: Scored | None = None) -> Scored:
            with self._lean():
                states, layers = layer_states(decoder, batch, keep, objective.layers)
            chosen = {number: one[suffix] for number, one in layers.items()}
            return Scored(states[suffix], targets, head, chosen, before, suffix, paired)

        frozen = None
        if objective.frozen:
            with self._frozen():
                frozen = seen()
        with captured_factors(self) as factors:
            found = seen(frozen)
        loss = (objective(found) * weights).sum()
        if objective.layers and distributed.is_initialized():
            # DDP and ZeRO-3 want a gradient, if only 0, from the layers behind those that are read.
            loss = loss + (0.0 * found.states).sum()
        if self._config.penalty:
            loss = loss + self._config.penalty_weight * penalty(factors)
        return loss

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """The model as it was, inside: no adapter, no dropout, no gradients.

        peft's own switch turns `requires_grad` off and on again, which DDP and ZeRO would see.
        """
        layers = list(lora_layers(self))
        training = self.training
        for layer in layers:
            layer._disable_adapters = True
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)
            for layer in layers:
                layer._disable_adapters = False

    @contextmanager
    def _lean(self) -> Iterator[None]:
        """Below float32 peft's LoRA and the norms spend most of their time on casts: save them.

        In float32 they stay as they are, and so does their dropout noise.
        """
        kind = self.lalm.device.type
        if not torch.is_autocast_enabled(kind) and self.lalm.network.dtype == torch.float32:
            yield
            return
        with lean_lora(self), lean_norms(self.lalm.network.get_decoder()):
            yield


def lora_modules(model: TransformersLALM) -> list[str]:
    """Full names of the language model's projections; never those of the audio tower.

    Which they are, the family says (`TransformersLALM.lora_targets`).
    """
    return projections(model.network, model.lora_targets)
