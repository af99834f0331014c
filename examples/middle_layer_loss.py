"""Your own method with a loss on a middle layer: circuit breaking (arXiv 2406.04313), in short.

Where a harmful question is read, the layer's state turns away from the frozen model's (cosine below
0); where a benign one is read, it stays. Run: python examples/middle_layer_loss.py
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, relu

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Example, Objective, Scored
from greaves.align.training.prompts import under_pool
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import EMBEDDED
from greaves.models.contract import LALM, MODELS


def losses(scored: Scored, layer: int) -> Tensor:
    """[positions] one per question: targets are true where it is harmful."""
    now, before = scored.layer(layer), scored.frozen.layer(layer)
    turn_away = relu(cosine_similarity(now, before, dim=-1))
    stay = (now - before).norm(dim=-1) / before.norm(dim=-1)
    return torch.where(scored.targets, turn_away, stay)


@register_method("example-circuit-breaking")
class CircuitBreaking(AlignmentMethod[FineTuningConfig]):
    """Turns the middle layer's states of harmful questions away from where they were."""

    Config = FineTuningConfig
    requires = Requirements(data="mirror", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """Fine-tune on the last prompt position of every question of the set."""
        data = self.enough(data, "circuit breaking")
        layer = model.decoder_layers // 2
        shown = under_pool(data.items, self.config.epochs, context.seed)
        harmful = [torch.tensor([item.kind == "harmful"]) for item in data.items]
        examples = [Example(conversation, harmful[index]) for index, conversation in shown]
        objective = Objective(partial(losses, layer=layer), layers=(layer,), frozen=True)
        adapter, notes = fine_tune(model, examples, objective, self.config, context)
        return Defence((adapter,), notes)


if __name__ == "__main__":
    few = AlignmentData("mirror", load_alignment_data(EMBEDDED / "mirror", "mirror").items[:64])
    method = CircuitBreaking(FineTuningConfig(epochs=4, learning_rate=3e-3, penalty=False))
    with TemporaryDirectory() as folder:
        print(method.align(MODELS.get("pocket")(), few, RunContext(Path(folder))).notes)
