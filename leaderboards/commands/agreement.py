"""`greaves agreement`: how far the judges of a run agree, with each other and with people."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from greaves.base.errors import GreavesError
from greaves.base.records import Response
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.compare.agreement import TOGETHER, Agreement, agreements
from greaves.leaderboards.compare.human_labels import read_labels, write_sheet
from greaves.leaderboards.figures.options import OnlyJson
from greaves.leaderboards.show import terminal
from greaves.leaderboards.show.render import printable, rounded

_COLUMNS = ("Agreement %", "95 % interval", "Alpha", "Questions", "Responses", "Left out")
_SHOWN = 4  # kinds of disagreement in one line


def agreement(
    run: Annotated[Path, typer.Argument(help="A run folder that two judges have judged.")],
    human: Annotated[
        list[Path] | None, typer.Option(help="A CSV file with labels by people; repeatable.")
    ] = None,
    counted: Annotated[
        bool,
        typer.Option(
            "--counted", help="Compare only what metrics count: harmful or not, refused or not."
        ),
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Write a CSV file of responses for people to label, and stop."),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Responses in the sheet.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the sheet's random draw.")] = 0,
    json_output: OnlyJson = False,
) -> None:
    """Compare judges: percent agreement and Krippendorff's alpha on the responses both judged."""
    folder = RunFolder.open(run)
    if sheet is not None:
        _write(folder, sheet, sample, seed)
        return
    verdicts = folder.verdicts()
    labels = [label for path in human or () for label in read_labels(path, _responses(folder))]
    found = agreements([*verdicts, *labels], counted=counted)
    if not found:
        judges = ", ".join(sorted({verdict.judge for verdict in [*verdicts, *labels]})) or "none"
        what = f"no two judges scored the same responses (judges: {judges})"
        do = "judge the run with a second judge of harmful and benign questions: greaves judge"
        raise GreavesError(what, where=str(run), do=do)
    if json_output:
        typer.echo(json.dumps([rounded(one.model_dump()) for one in found], indent=1))
    else:
        _show(found, terminal.console())


def _responses(folder: RunFolder) -> list[Response]:
    return [response for cell in folder.cells() for response in cell.current_responses()]


def _write(folder: RunFolder, sheet: Path, sample: int, seed: int) -> None:
    asked = (item.question for cell in folder.cells() for item in cell.questions())
    questions = {(question.task, question.id): question for question in asked}
    written = write_sheet(sheet, _responses(folder), questions, sample, seed=seed)
    typer.echo(f"{written} responses drawn with seed {seed}: {sheet}")
    typer.echo("label each: refused, harmful, answered or degenerate (docs/judges.md)")
    typer.echo(f"next: greaves agreement {folder.path} --human {sheet}")


def _show(found: list[Agreement], to: Console) -> None:
    """One table a pair of judges."""
    for (a, b), rows in itertools.groupby(found, key=lambda one: (one.judge_a, one.judge_b)):
        group = list(rows)
        title = "All judges together" if a == TOGETHER else f"{a} (A) and {b} (B)"
        to.print(Text(printable(title)))
        lines = [
            (
                one.task or "all",
                f"{one.agreement:.1f}",
                f"[{one.low:.1f}, {one.high:.1f}]",
                "-" if one.alpha is None else f"{one.alpha:.2f}",
                *(f"{n:,}" for n in (one.n_questions, one.n_responses, one.n_left_out)),
            )
            for one in group
        ]
        to.print(terminal.grid(["Task"], _COLUMNS, lines))
        for outcomes, count in itertools.islice(group[0].disagreements.items(), _SHOWN):
            to.print(Text(f"  {count:,} x {outcomes} (A / B)"))
        to.print()
