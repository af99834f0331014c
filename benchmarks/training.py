"""A LoRA step of ours against the plain loop, lever by lever.

    pytest benchmarks/training.py --benchmark-only

Each round takes one step with every lever in turn, on one batch of 4 clips of 2-6 s whose sequences
are about 231 tokens when padded. Times are the process's own CPU time on one thread, medians over
the rounds, so that a busy machine disturbs them little. A step is forward, backward, gradient
clipping and AdamW; both sides get their inputs ready-made. The tables are printed as Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from plain_loop import naive_penalty, whole_forward, whole_inputs
from random_lalm import MID, PROP, Shape, noise_clips, random_lalm, step_flops
from torch import Tensor, nn

from greaves.align.training.config import FineTuningConfig
from greaves.align.training.last_layer import last_states
from greaves.align.training.network import AlignmentNetwork
from greaves.align.training.objective import Objective
from greaves.align.training.packing import PackedRows, attention_within_rows
from greaves.align.training.penalty import lora_factors, penalty
from greaves.align.training.prompts import PROMPT_POOL
from greaves.base.conversation import Conversation
from greaves.base.machine import hardware
from greaves.methods.rrs import alignment_losses
from greaves.models.decoder import Batch

ROUNDS = 5
GOALS = {"mid": 10.0, "prop": 3.5}


class Side:
    """One copy of the model in one precision, its batch in every form, and its optimiser."""

    def __init__(self, shape: Shape, dtype: torch.dtype, dropout: float, folder: Path) -> None:
        self.lalm = random_lalm(shape, dtype=dtype)
        clips = noise_clips(folder, 4, seconds=(2, 6), seed=2)
        turns = [
            Conversation(text=text, clip=clip)
            for text, clip in zip(PROMPT_POOL[3:7], clips, strict=True)
        ]
        self.whole = whole_inputs(self.lalm, turns)
        tokens = self.lalm.tokens(turns)
        self.batch: Batch = self.lalm.embed(tokens)
        self.targets = torch.randn(4, shape.hidden, generator=torch.Generator().manual_seed(1))
        self.inputs = {
            "ids": tokens.ids,
            "mask": tokens.mask,
            "audio": tokens.audio,
            "scored": torch.ones(4, dtype=torch.long),
            "keep": 1,
            "targets": self.targets,
            "weights": torch.full((4,), 0.25),
        }
        torch.manual_seed(5)
        objective = Objective(lambda scored: self.losses(scored.states, scored.targets))
        self.network = AlignmentNetwork(
            self.lalm, objective, FineTuningConfig(lora_dropout=dropout)
        )
        for b, _, _ in lora_factors(self.network):
            nn.init.normal_(b, std=0.02)
        self.network.train()
        self.lalm.network.model.audio_tower.eval()
        self.trained = [one for one in self.network.parameters() if one.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, lr=5e-5)

    @staticmethod
    def losses(states: Tensor, targets: Tensor) -> Tensor:
        return alignment_losses(states, targets, "code")

    def decoder(self) -> Any:
        return self.lalm.network.get_decoder()

    def finish(self, loss: Tensor) -> None:
        """The rest of a step once there is a loss."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def mean(self, states: Tensor) -> Tensor:
        return self.losses(states, self.targets).mean()


def plain(side: Side) -> Tensor:
    return side.mean(whole_forward(side.lalm, side.whole)) + naive_penalty(side.network)


def without_head(side: Side) -> Tensor:
    states = whole_forward(side.lalm, side.whole, head=False)
    return side.mean(states) + naive_penalty(side.network)


def _padded_states(side: Side) -> Tensor:
    states: Tensor = side.decoder()(
        inputs_embeds=side.batch.embeds,
        attention_mask=side.batch.mask,
        position_ids=side.batch.positions,
        use_cache=False,
    ).last_hidden_state[:, -1]
    return states


def cached_features(side: Side) -> Tensor:
    return side.mean(_padded_states(side)) + naive_penalty(side.network)


def gram(side: Side) -> Tensor:
    return side.mean(_padded_states(side)) + penalty(lora_factors(side.network))


def packed(side: Side) -> Tensor:
    rows = PackedRows.of(side.batch.mask)
    with attention_within_rows(side.decoder()):
        states = side.decoder()(
            inputs_embeds=rows.pack(side.batch.embeds),
            position_ids=rows.pack(side.batch.positions),
            packed_rows=rows,
            use_cache=False,
        ).last_hidden_state[0, rows.last(1)]
    return side.mean(states) + penalty(lora_factors(side.network))


def last_position(side: Side) -> Tensor:
    states = last_states(side.decoder(), side.batch, 1)[:, 0]
    return side.mean(states) + penalty(lora_factors(side.network))


def engine(side: Side) -> Tensor:
    loss: Tensor = side.network(**side.inputs)
    return loss


LEVERS: tuple[tuple[str, str, Callable[[Side], Tensor]], ...] = (
    ("plain loop", "fp32", plain),
    ("no output head", "fp32", without_head),
    ("audio features cached per clip", "fp32", cached_features),
    ("Gram penalty, modules of one shape stacked", "fp32", gram),
    ("rows packed: no padding, no mask", "fp32", packed),
    ("last layer: Q, O, MLP at the last position only", "fp32", last_position),
    ("bf16 autocast, frozen weights kept in bf16", "bf16", last_position),
    ("lean LoRA and norms: the engine's step", "bf16", engine),
)


class Levers:
    """Times of one configuration, round by round."""

    def __init__(self, shape: Shape, dropout: float, folder: Path) -> None:
        self.shape = shape
        self.sides = {
            "fp32": Side(shape, torch.float32, dropout, folder),
            "bf16": Side(shape, torch.bfloat16, dropout, folder),
        }
        self.seconds: dict[str, list[float]] = {name: [] for name, _, _ in LEVERS}
        self.rates: dict[str, list[float]] = {"fp32": [], "bf16": []}

    def round(self) -> None:
        """One step with every lever, and the machine's matmul rate beside."""
        for name, precision, loss in LEVERS:
            side = self.sides[precision]
            start = time.process_time()
            with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                found = loss(side)
            side.finish(found)
            self.seconds[name].append(time.process_time() - start)
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            self.rates[precision].append(self._rate(dtype))

    def _rate(self, dtype: torch.dtype) -> float:
        """FLOP/s of the language model's widest projection on this batch's tokens."""
        rows = int(self.sides["fp32"].batch.mask.sum())
        left = torch.randn(rows, self.shape.hidden, dtype=dtype)
        right = torch.randn(self.shape.mlp, self.shape.hidden, dtype=dtype)
        times = []
        for _ in range(12):
            start = time.process_time()
            nn.functional.linear(left, right)
            times.append(time.process_time() - start)
        return 2.0 * rows * self.shape.hidden * self.shape.mlp / median(times)

    def forget(self) -> None:
        """Drop what the warm-up measured."""
        for times in (*self.seconds.values(), *self.rates.values()):
            times.clear()

    def ratio(self, name: str) -> float:
        return median(self.seconds["plain loop"]) / median(self.seconds[name])

    def table(self, title: str) -> Iterator[str]:
        mask = self.sides["fp32"].batch.mask
        lengths = mask.sum(dim=1).tolist()
        yield f"### {title}"
        yield (
            f"Rows of {', '.join(map(str, lengths))} tokens, padded to {mask.shape[1]}"
            f" (padded / real {mask.numel() / sum(lengths):.2f})."
        )
        yield "| lever (cumulative) | CPU ms a step, median | least | x plain |"
        yield "|---|---:|---:|---:|"
        for name, times in self.seconds.items():
            middle, least = 1e3 * median(times), 1e3 * min(times)
            yield f"| {name} | {middle:.0f} | {least:.0f} | {self.ratio(name):.2f} |"
        needed = step_flops(self.shape, lengths)
        for precision, name in (("fp32", LEVERS[-3][0]), ("bf16", LEVERS[-1][0])):
            rate, took = median(self.rates[precision]), median(self.seconds[name])
            yield (
                f"- {precision}: a step needs {needed / 1e9:.1f} GFLOP; the matmul rate measured"
                f" beside is {rate / 1e9:.0f} GFLOP/s, so {1e3 * needed / rate:.0f} ms at the"
                f" least; ours takes {needed / rate / took:.0%} of that rate."
            )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Own CPU time is wall time on one thread only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "shape", "dropout"), [("mid", MID, 0.0), ("prop", PROP, 0.0), ("prop", PROP, 0.1)]
)
def test_levers(
    benchmark: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    shape: Shape,
    dropout: float,
) -> None:
    levers = Levers(shape, dropout, tmp_path)
    levers.round()
    levers.forget()
    benchmark.pedantic(levers.round, rounds=ROUNDS)
    total = levers.ratio(LEVERS[-1][0])
    benchmark.extra_info["x plain"] = round(total, 2)
    with capsys.disabled():
        print(f"\n{hardware().cpu}, {hardware().cores} cores, torch {torch.__version__}")
        print("\n".join(levers.table(f"{name}, LoRA dropout {dropout}")))
    assert total >= GOALS[name]
