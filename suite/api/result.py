"""What an evaluation or a run found: the table, its rows, its page."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.notes import notes_on, stress_notes
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import board_of
from greaves.leaderboards.board.text_rows import text_notes, text_rows
from greaves.leaderboards.page import write_page
from greaves.leaderboards.read.run_slices import slices_of
from greaves.leaderboards.show import render, terminal

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Result:
    """Every number of a run, with its 95 % interval. Printed, it is the table.

    Attributes:
        folder: the run folder; `greaves leaderboard`, `page`, `compare`, `judge` take it.
        rows: one metric of one method each (see `Row`).
        notes: what a reader of the table must be told.
        asked: responses that were asked for now.
        found: responses that were there from before.
    """

    folder: Path
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    asked: int = 0
    found: int = 0

    @classmethod
    def of(
        cls, folder: str | Path, judge: str | None = None, *, asked: int = 0, found: int = 0
    ) -> Self:
        """The result that stands in a run folder.

        Args:
            folder: as `greaves run` or `evaluate` left it.
            judge: whose verdicts count (name or name@version); by default the recipe's judges.
            asked, found: responses, for the result.

        Raises:
            StoreError: there is no run in the folder, or it is broken.
            GreavesError: nothing has been judged.
        """
        run = RunFolder.open(Path(folder))
        slices, label = slices_of(run, judge), run.facts().label
        rows = [*board_of(slices, label=label).rows, *text_rows(run, label=label)]
        notes = [*notes_on(slices), *stress_notes(cell.facts() for cell in run.cells())]
        return cls(run.path, tuple(rows), (*notes, *text_notes(run)), asked, found)

    def __str__(self) -> str:
        out = io.StringIO()
        width = terminal.PLAIN_WIDTH
        terminal.show(self.rows, Console(file=out, width=width), notes=self.notes)
        return out.getvalue().rstrip()

    def frame(self) -> DataFrame:
        """The rows as a pandas DataFrame, one column for each field of `Row`."""
        from pandas import DataFrame

        return DataFrame(render.as_plain(self.rows))

    def page(self, out: str | Path, *, clips: bool = True) -> Path:
        """Writes one offline HTML page with the table, plots and all transcripts.

        Args:
            out: the file.
            clips: embed the clips of the questions.
        """
        return write_page(RunFolder.open(self.folder), Path(out), clips=clips)
