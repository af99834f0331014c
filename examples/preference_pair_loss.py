"""Your own method with a loss on pairs of replies: DPO (arXiv 2305.18290) for safety, in short.

A harmful question prefers the set's response to the vanilla model's, a benign one to a refusal.
Run: python examples/preference_pair_loss.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor
from torch.nn.functional import logsigmoid

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, Requirements, RunContext, register_method
from greaves.align.training.config import FineTuningConfig
from greaves.align.training.fine_tuning import fine_tune
from greaves.align.training.objective import Objective, Scored
from greaves.align.training.prompts import under_pool
from greaves.align.training.supervised import own_responses, preference, response_ids, token_losses
from greaves.base.conversation import Sampling
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import EMBEDDED
from greaves.models.contract import LALM, MODELS


def losses(scored: Scored, beta: float) -> Tensor:
    """[pairs] -log sigmoid(beta ((log p - log p0)(preferred) - (log p - log p0)(rejected)))."""
    preferred, rejected = scored.pairs(token_losses(scored.frozen) - token_losses(scored))
    return -logsigmoid(beta * (preferred - rejected))


@register_method("example-dpo")
class DPO(AlignmentMethod[FineTuningConfig]):
    """Prefers safe responses to harmful questions, and answers to benign ones."""

    Config = FineTuningConfig
    requires = Requirements(data="basic", weights=True, gradients=True)

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """Fine-tune on one pair of replies per question."""
        data = self.enough(data, "DPO")
        own = own_responses(model, data.harmful, Sampling(1, 0), context, "rejected")
        bad = [ids for [ids] in own] + [response_ids(model, "I cannot help.")] * len(data.benign)
        items = data.harmful + data.benign
        good = [response_ids(model, item.response or "") for item in items]
        turns = under_pool(items, self.config.epochs, context.seed)
        examples = [preference(shown, good[index], bad[index]) for index, shown in turns]
        dpo = Objective(lambda scored: losses(scored, 0.1), per="example", frozen=True)
        adapter, notes = fine_tune(model, examples, dpo, self.config, context)
        return Defence((adapter,), notes)


if __name__ == "__main__":
    few = AlignmentData("basic", load_alignment_data(EMBEDDED / "basic", "basic").items[:64])
    method = DPO(FineTuningConfig(epochs=2, learning_rate=1e-3, penalty=False))
    with TemporaryDirectory() as folder:
        print(method.align(MODELS.get("pocket")(), few, RunContext(Path(folder))).notes)
