"""Several submissions on one board.

Numbers are ranked side by side only where they measure the same: same judge and version, same tasks
and versions, same questions and clips, same sampling. That is a row's *basis*; one table holds one
basis a column, and what does not fit goes to a table of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greaves.base.errors import GreavesError
from greaves.base.records import content_hash
from greaves.leaderboards.board.notes import notes
from greaves.leaderboards.board.row import Row, task_keys
from greaves.leaderboards.estimate.metric import metric_of
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.show import render
from greaves.leaderboards.submission.contents import Submission
from greaves.leaderboards.submission.record_checks import asked


@dataclass(frozen=True)
class Entry:
    """One row of a board.

    Attributes:
        submission: where it comes from.
        basis: hash of all that it must share with a row to be ranked beside it.
        table: number of the table it stands in, from 1.
        row: as `greaves.leaderboards.board.table.leaderboard` gives it.
    """

    submission: str
    basis: str
    table: int
    row: Row


@dataclass(frozen=True)
class Board:
    """Entries of all submissions, and what a reader must be told beside them."""

    entries: Sequence[Entry]
    notes: Sequence[str]
    hashes: Mapping[str, str]


def merge(submissions: Sequence[Submission]) -> Board:
    """Join valid submissions.

    Raises:
        GreavesError: the same submission twice, or two of one name.
    """
    _check_distinct(submissions)
    found: list[tuple[str, str, Row]] = []
    for one in submissions:
        rows = one.table()
        bases = _bases(one, rows)
        found += [(one.manifest.name, bases[_place(row)], row) for row in rows]
    shared: dict[tuple[str, str], set[str]] = {}
    for name, basis, row in found:
        shared.setdefault((basis, row.model), set()).add(name)
    return Board(
        [
            Entry(name, basis, table, row if len(shared[basis, row.model]) == 1 else _unranked(row))
            for (name, basis, row), table in zip(found, _tables(found), strict=True)
        ],
        _notes(submissions),
        {f"submission {one.manifest.name}": one.sha256 for one in submissions},
    )


def markdown(board: Board) -> str:
    """A page with one section a table; every line names its submission."""
    pages = []
    tables: dict[int, list[Row]] = {}
    for entry in board.entries:
        name = {"method": f"{entry.row.method} ({entry.submission})"}
        tables.setdefault(entry.table, []).append(entry.row.model_copy(update=name))
    for table, rows in sorted(tables.items()):
        title = "Merged leaderboard" if len(tables) == 1 else f"Merged leaderboard, table {table}"
        last = table == max(tables)
        notes, hashes = (board.notes, board.hashes) if last else ((), None)
        pages.append(render.markdown(rows, title=title, notes=notes, hashes=hashes))
    return "\n".join(pages)


def as_plain(board: Board) -> list[dict[str, Any]]:
    """Rows as plain values with the fields `submission`, `table` and `basis` before them."""
    rows = render.as_plain([entry.row for entry in board.entries])
    return [
        {"submission": entry.submission, "table": entry.table, "basis": entry.basis, **row}
        for entry, row in zip(board.entries, rows, strict=True)
    ]


def _check_distinct(submissions: Sequence[Submission]) -> None:
    for place, one in enumerate(submissions):
        for other in submissions[:place]:
            if one.sha256 == other.sha256:
                what = f"submission {one.manifest.name!r} is given twice"
                raise GreavesError(what, do="give each file once")
            if one.manifest.name == other.manifest.name:
                do = "pack one of them again under another name: greaves submit RUN --name NAME"
                raise GreavesError(f"two submissions are called {one.manifest.name!r}", do=do)


def _unranked(row: Row) -> Row:
    """A row without its place and tests: they hold among the methods of its own submission."""
    ranks = ("rank", "rank_low", "rank_high", "p_best", "distinguishable_from_best")
    return row.model_copy(update=dict.fromkeys(ranks))


def _place(row: Row) -> tuple[str, str, str | None]:
    return row.judge, row.metric, row.task


def _bases(submission: Submission, rows: Sequence[Row]) -> dict[tuple[str, str, str | None], str]:
    """(judge, metric, task) -> basis."""
    judges = {row.judge for row in rows}
    tasks_of = {name: task_keys(row for row in rows if row.judge == name) for name in judges}
    facts = {name: _task(submission, name) for name in submission.manifest.tasks}
    under = [dict(spec.stress) for spec in submission.manifest.recipe.methods if spec.stress]
    stresses = sorted({content_hash(stress) for stress in under})
    found = {}
    for row in rows:
        harmful, benign = nsi_tasks(tasks_of[row.judge])
        names: set[str | None] = {row.task} if row.task else {*harmful.values()}
        metric = metric_of(row.metric)
        if metric.against_vanilla:
            names.add(benign)
        measured: dict[str, Any] = {name: facts[name] for name in names if name}
        basis: dict[str, Any] = {"judge": row.judge, "tasks": measured}
        if metric.stressed:
            basis["stresses"] = stresses
        found[_place(row)] = content_hash(basis)[:12]
    return found


def _task(submission: Submission, name: str) -> dict[str, Any]:
    """What a task asked: version, questions, and how responses were drawn."""
    manifest = submission.manifest
    task = manifest.tasks[name]
    benchmark = manifest.recipe.benchmarks[task.benchmark]
    return {
        "version": task.version,
        "questions": asked(submission.cells[0].questions)[name],
        "sampling": benchmark.model_dump(mode="json", exclude={"data", "judge"}),
    }


def _tables(found: Sequence[tuple[str, str, Row]]) -> list[int]:
    """A table for every row: the first where its column is free or of the same basis."""
    tables: list[dict[tuple[str, str | None], str]] = []
    numbers = []
    for _, basis, row in found:
        column = (row.metric, row.task)
        fitting = (place for place, held in enumerate(tables) if held.get(column, basis) == basis)
        place = next(fitting, len(tables))
        if place == len(tables):
            tables.append({})
        tables[place][column] = basis
        numbers.append(place + 1)
    return numbers


def _notes(submissions: Sequence[Submission]) -> list[str]:
    lines = []
    weights: dict[str, dict[str, str]] = {}
    for one in submissions:
        name, git = one.manifest.name, one.manifest.git
        if git is not None and git.dirty:
            lines.append(f"{name}: run from a changed checkout of commit {git.commit[:12]}")
        lines += [f"{name}: {line}" for line in notes(one.verdicts())]
        for cell in one.cells:
            weights.setdefault(cell.facts.model, {})[name] = cell.facts.fingerprint
    for model, prints in weights.items():
        if len(set(prints.values())) > 1:
            each = ", ".join(f"{name} {value[:12]}" for name, value in prints.items())
            lines.append(f"Model {model} is not the same weights everywhere: {each}")
    return lines
