"""`greaves agreement`: how far the judges of a run agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from greaves.errors import GreavesError
from greaves.leaderboards import terminal
from greaves.leaderboards.agreement import Agreement, agreements
from greaves.leaderboards.render import printable, rounded
from greaves.run_folder import RunFolder


def agreement(
    run: Annotated[Path, typer.Argument(help="A run folder that two judges have judged.")],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else.")
    ] = False,
) -> None:
    """Compare judges: percent agreement and Krippendorff's alpha on the responses both judged."""
    verdicts = RunFolder.open(run).verdicts()
    found = agreements(verdicts)
    if not found:
        judges = ", ".join(sorted({verdict.judge for verdict in verdicts})) or "none"
        raise GreavesError(
            f"no two judges scored the same responses (judges: {judges})",
            where=str(run),
            do="judge the run with a second judge of harmful and benign questions",
        )
    if json_output:
        typer.echo(json.dumps([rounded(one.model_dump()) for one in found], indent=1))
    else:
        terminal.console().print(_table(found))


def _table(found: list[Agreement]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("Judge A", "Judge B", "Task"):
        table.add_column(name, overflow="fold")
    for name in ("Agreement %", "95 % interval", "Alpha", "Questions", "Responses", "Left out"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            *(Text(printable(name)) for name in (one.judge_a, one.judge_b, one.task or "all")),
            f"{one.agreement:.1f}",
            Text(f"[{one.low:.1f}, {one.high:.1f}]"),
            "-" if one.alpha is None else f"{one.alpha:.2f}",
            f"{one.n_questions:,}",
            f"{one.n_responses:,}",
            f"{one.n_left_out:,}",
        )
    return table
