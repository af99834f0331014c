"""`greaves page`: a run folder as one offline HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.figures.options import RunPath
from greaves.leaderboards.read.run_slices import shown_verdicts


def page(
    run: RunPath,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; leaderboard.html in the run if unset.")
    ] = None,
    clips: Annotated[
        bool, typer.Option("--clips/--no-clips", help="Embed the clips of the questions.")
    ] = True,
    clips_dir: Annotated[
        Path | None, typer.Option(help="Copy the clips into this folder instead of embedding them.")
    ] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(help="Also write the plot of ASR against ORR: .svg or .png; repeatable."),
    ] = None,
) -> None:
    """Write the leaderboard, its plots and all transcripts as one offline HTML page."""
    from greaves.leaderboards.page import trade_off_plot, write_page, write_plot

    folder = RunFolder.open(run)
    target = write_page(folder, out or run / "leaderboard.html", clips=clips, assets_dir=clips_dir)
    typer.echo(f"Written: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    if plot:
        write_plot(trade_off_plot(leaderboard(shown_verdicts(folder))), *plot)
        typer.echo(f"Written: {', '.join(map(str, plot))}")
