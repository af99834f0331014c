"""What SARSteer costs: extracting its vectors, and steering while generating.

    OMP_NUM_THREADS=1 python benchmarks/steering.py [--items 100] [--rounds 5]

Extraction is compared, in one run, with going item by item: the whole network (audio tower,
language model, output head) for every item and prompt form, as the released code does. That code
runs four forms (harmful and safe, each with and without the refusal), of which three are needed;
both counts are shown. "again" is extraction where the clips have been heard before. Times are CPU
seconds of this process, the least of the rounds. Steering is measured with strength 0, so that both
sides generate the same tokens.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from greaves.align.method import RunContext
from greaves.align.parts.steering import Steering
from greaves.base.conversation import Conversation, Sampling
from greaves.data.alignment.sets import AlignmentData, AlignmentItem, load_alignment_data
from greaves.data.folders import EMBEDDED
from greaves.data.speech.clips import load_clip
from greaves.methods.sarsteer import REFUSAL, TASK_PROMPT, SARSteer, SARSteerConfig
from greaves.models.decoder import recorded
from greaves.models.families.pocket_lalm import pocket
from greaves.models.transformers_lalm import TransformersLALM


def seconds(work: Callable[..., object], *arguments: Any) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def item_by_item(
    model: TransformersLALM, items: list[AlignmentItem], prompt: str, source: str
) -> Tensor:
    """[items, layers, hidden_size]: the whole network, once for every item."""
    found, rate = [], model.processor.feature_extractor.sampling_rate
    for item in items:
        if source == "audio":
            turn = Conversation(prompt, item.clip)
            extra = {"audio": [load_clip(item.clip, rate)], "sampling_rate": rate}
        else:
            turn = Conversation(f"The audio content is: {item.text} {prompt}")
            extra = {}
        inputs = model.processor(text=[model.render(turn)], return_tensors="pt", **extra)
        with torch.no_grad(), recorded(model.network.get_decoder().layers) as states:
            model.network(**inputs)
        found.append(torch.stack(states, dim=1))
    return torch.cat(found)


def extraction(data: AlignmentData, items: int, rounds: int) -> Iterator[str]:
    """Rows of the table of extraction times."""
    few = AlignmentData("mirror", (*data.harmful[:items], *data.benign[:items]))
    for source in ("text", "audio"):
        found = [_one_extraction(few, source) for _ in range(rounds)]
        four, three, ours, again = (min(side) for side in zip(*found, strict=True))
        yield (
            f"| {source} | {four:.2f} | {three:.2f} | {ours:.2f} | {again:.2f} |"
            f" {four / ours:.1f}x | {three / ours:.1f}x | {four / again:.1f}x |"
        )


def _one_extraction(few: AlignmentData, source: str) -> tuple[float, float, float, float]:
    """Seconds of the released loop, of its three needed forms, of ours, and of ours once more."""
    model = pocket()
    forms = [
        seconds(item_by_item, model, items, prompt, source)
        for items in (few.harmful, few.benign)
        for prompt in (TASK_PROMPT, TASK_PROMPT + REFUSAL)
    ]
    method = SARSteer(SARSteerConfig.model_validate({"source": source}))
    context = RunContext(Path("unused"))  # SARSteer leaves nothing in its folder
    ours, again = (seconds(method.align, model, few, context) for _ in range(2))
    return sum(forms), sum(forms[:3]), ours, again


def generation(data: AlignmentData, rounds: int) -> Iterator[str]:
    """Rows of the table of generation times."""
    model = pocket()
    size = model.output_row(0).numel()
    idle = Steering({n: torch.ones(size) for n in range(1, model.decoder_layers + 1)}, 0.0)
    sampling = Sampling(temperature=1.0, max_new_tokens=32)
    for count in (1, 8, 32):
        turns = [Conversation(TASK_PROMPT, item.clip) for item in data.benign[:count]]
        seeds = [[5 * row + n for n in range(5)] for row in range(count)]
        model.respond(turns, sampling, seeds)
        pairs = []
        for number in range(4 * rounds):
            found = {}
            for steered in (True, False) if number % 2 else (False, True):
                with idle.attached(model) if steered else nullcontext():
                    found[steered] = seconds(model.respond, turns, sampling, seeds)
            pairs.append((found[False], found[True]))
        plain, after = (min(side) for side in zip(*pairs, strict=True))
        share = statistics.median(two / one for one, two in pairs) - 1
        yield (
            f"| {count} x 5 | {plain:.3f} | {after:.3f} |"
            f" {100 * (after / plain - 1):+.1f} % | {100 * share:+.1f} % |"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = load_alignment_data(EMBEDDED / "mirror", "mirror")
    print("| source | released loop, s | three forms, s | ours, s | again, s |", end="")
    print(" faster than the loop | than three forms | again |")
    print("|---|" + " ---: |" * 7)
    for line in extraction(data, options.items, options.rounds):
        print(line, flush=True)
    print("\n| questions x samples | plain, s | steered, s | of the least | of pairs, median |")
    print("|---|" + " ---: |" * 4)
    for line in generation(data, options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
