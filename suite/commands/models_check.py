"""`greaves models check`: the contract on a user's own checkpoint, and the memory it needs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from greaves.base.errors import ModelError
from greaves.base.text import printable
from greaves.commands.listing import AsJson, table_of
from greaves.commands.measuring import Finding
from greaves.commands.model_checks import run_contract
from greaves.data.folders import EMBEDDED
from greaves.data.task import read_json_lines
from greaves.models.contract import MODELS
from greaves.models.memory import (
    RESPONSE,
    ROW,
    Memory,
    family_of,
    memory_of_checkpoint,
    memory_of_network,
)
from greaves.models.transformers_lalm import TransformersLALM, opened

CLIPS = 3


def check(
    model: Annotated[str, Argument(help="A registered model; see: greaves models.")],
    path: Annotated[
        str | None, Option(help="Folder of the checkpoint; default: from the hub.")
    ] = None,
    revision: Annotated[str | None, Option(help="Of the hub's repository.")] = None,
    device: Annotated[
        str | None, Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")
    ] = None,
    dtype: Annotated[str | None, Option(help="float32 holds all checks to their figures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a checkpoint to what every model promises, and say what it needs in memory.

    Exits with status 2 if a promise is not kept.
    """
    target = MODELS.get(model)
    if not getattr(getattr(target, "func", target), "white_box", True):
        raise ModelError(f"{model} is a black box: there is nothing to check inside")
    given = {"path": path, "revision": revision, "device": device, "dtype": dtype}
    options = {name: value for name, value in given.items() if value is not None}
    for name in sorted(options.keys() - inspect.signature(target).parameters.keys()):
        raise ModelError(f"{model} takes no option {name!r}", do="leave it out")
    memory = _before_loading(target, options)
    console = Console(quiet=as_json)
    if memory is not None:  # said even if it then does not fit
        console.print(_memory_table(memory))
    lalm = opened(target(**options), "is a black box: there is nothing to check inside")
    if memory is None:
        memory = memory_of_network(lalm.network, lalm.lora_targets)
        console.print(_memory_table(memory))
    findings = dict(run_contract(lalm, built_in_clips()))
    console.print(_findings_table(findings))
    if as_json:
        print(json.dumps(_as_json(lalm, memory, findings), indent=2))
    if any(finding.failure for finding in findings.values()):
        raise typer.Exit(2)


def built_in_clips() -> list[str]:
    """A few clips of spoken everyday questions that ship with the package."""
    folder = EMBEDDED / "aiah"
    rows = [row for _, row in read_json_lines(folder / "questions.jsonl")]
    benign = [row for row in rows if row["kind"] == "benign"]
    return [str(folder / row["clip"]) for row in benign[:CLIPS]]


def _before_loading(target: Any, options: dict[str, Any]) -> Memory | None:
    family = family_of(target)
    if family is None or "path" not in inspect.signature(target).parameters:
        return None
    folder = family.checkpoint_folder(options.get("path"), options.get("revision"))
    return memory_of_checkpoint(family, folder)


def _memory_table(memory: Memory) -> Table:
    batch = f"16 questions x 5 samples, {ROW} + {RESPONSE} tokens each"
    rows: Sequence[tuple[str, int, str]] = (
        ("weights", memory.weights, f"{memory.parameters:,} parameters x 2 bytes"),
        ("keys and values", memory.cache_per_1000_tokens, "1,000 tokens of one row"),
        ("the same, of a batch", memory.cache_of_a_batch, batch),
        ("answering", memory.answering, "weights + keys and values of a batch"),
        ("LoRA", memory.lora, f"{memory.lora_parameters:,} parameters at r = 16, x 16 bytes"),
        ("activations", memory.activations, f"roughly, 16 rows x {ROW} tokens at once"),
        ("RRS fine-tuning", memory.fine_tuning, "weights + LoRA + activations"),
    )
    shown = [
        {"for": name, "GiB": f"{size / 2**30:7.2f}", "how it is counted": how}
        for name, size, how in rows
    ]
    return table_of(shown, box=SIMPLE_HEAD, title="Memory in bfloat16", title_justify="left")


def _findings_table(findings: dict[str, Finding]) -> Table:
    rows = []
    for name, finding in findings.items():
        result = Text("holds", style="green")
        if finding.failure:
            result = Text(printable(f"FAILS: {finding.failure}"), style="red")
        elif finding.excuse:
            result = Text(f"cannot hold: {finding.excuse}", style="yellow")
        rows.append({"check": name, "result": result, "measured": finding.measured})
    return table_of(rows, box=SIMPLE_HEAD)


def _as_json(
    model: TransformersLALM, memory: Memory, findings: dict[str, Finding]
) -> dict[str, Any]:
    return {
        "model": model.name,
        "revision": model.revision,
        "dtype": str(model.network.dtype).removeprefix("torch."),
        "device": model.device.type,
        "memory": asdict(memory),
        "checks": [
            {
                "check": name,
                "result": "fails" if one.failure else "cannot hold" if one.excuse else "holds",
                "measured": one.measured,
                "why": one.failure or one.excuse,
            }
            for name, one in findings.items()
        ],
    }
