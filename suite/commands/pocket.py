"""`greaves pocket`: train the pocket LALM, and check that it holds what it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer import Option

from greaves.commands.listing import AsJson

app = typer.Typer(help="The embedded pocket LALM: train it, check it.", no_args_is_help=True)


@app.command("train")
def train_command(
    out: Annotated[Path, Option(help="Where the model and data folders are written.")],
    work_dir: Annotated[
        Path, Option(help="Stages leave their results here (3 GB) and continue from them.")
    ] = Path("pocket-training"),
    seed: Annotated[int, Option(help="Seed of everything.")] = 0,
) -> None:
    """Train the pocket LALM from its grammar; about an hour on two cores. Needs extra `speech`."""
    import logging

    from greaves.models.pocket.recipe import Recipe, train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(replace(Recipe(), seed=seed), work_dir, out)
    print(f"written to {out}; next: greaves pocket check --weights {out / 'weights'}")


@app.command("check")
def check_command(
    weights: Annotated[Path | None, Option(help="Model folder. Default: the embedded one.")] = None,
    every: Annotated[int, Option(help="Ask only every n-th question.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure the pocket LALM, each figure beside its goal. Exits with 1 where one is missed."""
    from greaves.models.pocket.check import WEIGHTS, check

    figures = check(weights or WEIGHTS, every=every)
    if as_json:
        rows = [
            {"name": item.name, "value": round(item.value, 2), "goal": item.goal, "ok": item.ok}
            for item in figures
        ]
        print(json.dumps(rows, indent=2))
    else:
        table = Table("figure", "value", "goal", "", box=None, pad_edge=False)
        for item in figures:
            table.add_row(item.name, f"{item.value:.1f}", item.goal, "ok" if item.ok else "MISSED")
        Console().print(table)
    if not all(item.ok for item in figures):
        raise typer.Exit(1)
