"""The published RRS fine-tuning at full size on one GPU: seconds, and share of its matmul rate.

    python benchmarks/gpu_training.py            # Qwen2-Audio-7B's shape on the first GPU
    python benchmarks/gpu_training.py --tiny     # the same road on a CPU in a few seconds

Random weights are drawn on the device and clips are noise, so nothing is fetched; the work does
not depend on their values. 700 harmful and 700 benign clips of 2-6 s, 10 epochs, batches of 16,
LoRA and penalty as published: 35 minutes on two A100 in the paper. Goal: 150 s on one H200.

With OUT set in the environment the figures are also written to $OUT/gpu_training.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from random_lalm import REAL, TINY, noise_clips, random_lalm, step_flops
from torch import nn

from greaves.align.method import RunContext
from greaves.align.training.prompts import PROMPT_POOL, TASK_PROMPT, under_pool
from greaves.align.training.spec import TrainingSpec
from greaves.base.machine import hardware, versions
from greaves.data.alignment.sets import AlignmentData, AlignmentItem
from greaves.methods.rrs import REFUSAL_PROMPT, RRS, RRSConfig
from greaves.models.transformers_lalm import TransformersLALM

TEMPLATE = ("system", "user\n", "assistant\n", "Audio 1: ", "\n")
"""What the chat template adds, so that it costs as many tokens as with Qwen's tokenizer."""

Figures = dict[str, Any]


class Watch:
    """Wall-clock seconds of the phases, the device's work included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, phase: str) -> None:
        """End a phase."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[phase], self._since = now - self._since, now


def matmul_rate(device: str, size: int) -> float:
    """FLOP/s of square bf16 matrix products on random data; the mean of ten after three."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    watch = Watch()
    watch.lap("warm")
    for _ in range(10):
        left @ right
    watch.lap("ten")
    return 10 * 2.0 * size**3 / watch.seconds["ten"]


def mirror_of(clips: Sequence[str]) -> AlignmentData:
    """A Mirror set in which every other clip counts as harmful."""
    return AlignmentData(
        "mirror",
        tuple(
            AlignmentItem(
                id=str(number), kind=("harmful", "benign")[number % 2], text="noise", clip=clip
            )
            for number, clip in enumerate(clips)
        ),
    )


def epoch_lengths(model: TransformersLALM, data: AlignmentData, seed: int) -> list[int]:
    """Tokens of every example of the first epoch."""
    turns = [turn for _, turn in under_pool(data.items, 1, seed)]
    return [
        int(length)
        for start in range(0, len(turns), 100)
        for length in model.tokens(turns[start : start + 100]).mask.sum(dim=1)
    ]


def measure(options: argparse.Namespace) -> Figures:
    """Build, train, count."""
    tiny = options.tiny
    device, shape = ("cpu", TINY) if tiny else ("cuda", REAL)
    config = RRSConfig(epochs=options.epochs, batch_size=options.batch_size)
    spec = TrainingSpec(micro_batch=options.micro_batch, precision="bf16")
    steps: list[float] = []
    rate = matmul_rate(device, 256 if tiny else 8192)
    with tempfile.TemporaryDirectory() as place:
        seconds = (0.5, 1.0) if tiny else (2.0, 6.0)
        data = mirror_of(noise_clips(Path(place) / "clips", options.clips, seconds=seconds, seed=1))
        watch = Watch()
        words = [*PROMPT_POOL, TASK_PROMPT, REFUSAL_PROMPT, *TEMPLATE]
        model = random_lalm(shape, words=words, device=device, dtype=torch.bfloat16)
        watch.lap("build the model")
        model.features([item.clip for item in data.items])
        watch.lap("features of the clips")
        context = RunContext(
            Path(place) / "run",
            seed=options.seed,
            report=lambda _done, _all, _words: steps.append(time.perf_counter()),
            training=spec,
        )
        defence = RRS(config).align(model, data, context)
        watch.lap("align")
        lengths = epoch_lengths(model, data, options.seed)
    parameters = sum(one.numel() for one in nn.Module.parameters(model.network))
    flops = config.epochs * sum(step_flops(shape, [length], config.rank) for length in lengths)
    step = (steps[-1] - steps[0]) / (len(steps) - 1)
    training = step * len(steps)
    return {
        "hardware": hardware().model_dump(mode="json"),
        "versions": versions(),
        "options": vars(options),
        "parameters": parameters,
        "seconds": {
            **{phase: round(took, 2) for phase, took in watch.seconds.items()},
            "fine-tuning (part of align)": round(training, 2),
        },
        "steps": len(steps),
        "tokens_per_s": round(config.epochs * sum(lengths) / training),
        "tflop_per_s": round(flops / training / 1e12, 3),
        "matmul_tflop_per_s": round(rate / 1e12, 3),
        "share_of_matmul_rate": float(f"{flops / training / rate:.3g}"),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1)
        if torch.cuda.is_available()
        else None,
        "notes": defence.notes,
    }


def main(arguments: Sequence[str] | None = None) -> Figures:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--clips", type=int, help="default: 1400; tiny: 8")
    parser.add_argument("--epochs", type=int, help="default: 10; tiny: 2")
    parser.add_argument("--batch-size", type=int, help="default: 16; tiny: 4")
    parser.add_argument("--micro-batch", type=int, help="default: the whole batch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    defaults = (8, 2, 4) if options.tiny else (1400, 10, 16)
    for name, value in zip(("clips", "epochs", "batch_size"), defaults, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    if not options.tiny and not torch.cuda.is_available():
        sys.exit("no GPU is visible here; --tiny runs the same road on a CPU")
    figures = measure(options)
    text = json.dumps(figures, indent=2)
    print(text)
    if "OUT" in os.environ:
        (Path(os.environ["OUT"]) / "gpu_training.json").write_text(text + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    main()
