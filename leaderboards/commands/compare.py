"""`greaves compare`: two run folders, one against the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.table import LEVEL
from greaves.leaderboards.compare import comparison
from greaves.leaderboards.compare.comparison import Change, Comparison
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.read.run_slices import shown_verdicts
from greaves.leaderboards.show import terminal
from greaves.leaderboards.show.render import rounded

_COLUMNS = ("A", "B", "B - A", "95 % interval", "p", "p Holm", "questions")
_SHOWN_FLIPS = 8


def compare(
    run_a: Annotated[Path, typer.Argument(help="The run folder before the change.")],
    run_b: Annotated[Path, typer.Argument(help="The run folder after it.")],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else; it names every flip.")
    ] = False,
) -> None:
    """Compare two runs: paired differences, intervals, p, and the questions that flipped."""
    found = comparison.compare(*(shown_verdicts(RunFolder.open(run)) for run in (run_a, run_b)))
    if json_output:
        changes = [rounded(change.model_dump()) for change in found.changes]
        plain = {"a": str(run_a), "b": str(run_b), "changes": changes, "notes": found.notes}
        typer.echo(json.dumps(plain, indent=1, allow_nan=False))
    else:
        show(found, terminal.console())


def show(found: Comparison, to: Console) -> None:
    """Print a comparison: one line a metric, then the flips by task."""
    cells = list(dict.fromkeys((one.cell_a, one.cell_b) for one in found.changes))
    for a, b in cells:
        changes = [one for one in found.changes if (one.cell_a, one.cell_b) == (a, b)]
        title = a if a == b else f"A: {a}; B: {b}"
        to.print(_table(title, changes))
        terminal.say(to, [_told(change) for change in changes if change.flips])
    terminal.say(to, [*found.notes, *_legend(found)])


def _table(title: str, changes: list[Change]) -> Table:
    lines: list[tuple[str | Text, ...]] = []
    for one in changes:
        metric = metric_of(one.metric)
        values = (one.value_a, one.value_b)
        a, b = ("-" if each is None else metric.printed(each) for each in values)
        bold = "bold" if one.p_holm < LEVEL else ""
        difference = Text(metric.printed(one.difference, "+"), style=bold)
        interval = f"[{metric.printed(one.low)}, {metric.printed(one.high)}]"
        name = f"{metric.title} {one.task}" if one.task else metric.title
        tests = (_p(one.p), _p(one.p_holm), str(one.n_questions))
        lines.append((name, a, b, difference, interval, *tests))
    return terminal.grid(["Metric"], _COLUMNS, lines, title=title)


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"


def _told(change: Change) -> str:
    first = change.flips[:_SHOWN_FLIPS]
    shown = [f"{flip.question_id} {flip.before} -> {flip.after}" for flip in first]
    more = len(change.flips) - len(shown)
    tail = f", and {more} more (--json)" if more else ""
    return f"{change.task}: {len(change.flips)} questions flipped: {', '.join(shown)}{tail}"


def _legend(found: Comparison) -> list[str]:
    unsure = [one for one in found.changes if one.p_holm >= LEVEL and one.detectable]
    lines = [
        "B - A by question; ASR, ORR in points (lower is better), Avg. NSI in points and HS "
        f"on 0-10 (higher is better). p: sign-flip test; Holm over {len(found.changes)} changes."
    ]
    if unsure:
        named = [(one.task or metric_of(one.metric).title, one.detectable) for one in unsure]
        lines.append(
            "Not shown to differ is not shown to be equal; with 80 % power these questions show: "
            + ", ".join(f"{name} {detectable:.1f}" for name, detectable in named)
        )
    return lines
