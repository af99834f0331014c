"""`greaves status`: what the cells of a run are doing, read from its folder and nothing else."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from typer import Argument, Option

from greaves.base.run_folder import CellFolder, RunFolder
from greaves.commands.listing import AsJson, table_of
from greaves.run.cell_state import FILE, HEARTBEAT, read_state
from greaves.run.cluster.remote import local_folder

SILENT = 6 * HEARTBEAT
"""Seconds without a sign of life after which a cell at work counts as stopped."""

AT_WORK = ("aligning", "answering", "judging")

WATCHED_EVERY = 2.0
"""Seconds between two looks."""


def status(
    run: Annotated[str, Argument(help="The run folder, or its URL.")],
    as_json: AsJson = False,
    watch: Annotated[
        bool, Option("--watch", help="Look again until every cell is done or has failed.")
    ] = False,
) -> None:
    """Show what each cell of a run is doing: progress, rate, time left, failures."""
    rows = list(statuses(run))
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    console = Console()
    if not watch:
        console.print(_page(rows))
        return
    with Live(_page(rows), console=console, auto_refresh=False) as live:
        while any(row["state"] in ("waiting", "answered", *AT_WORK) for row in rows):
            time.sleep(WATCHED_EVERY)
            rows = list(statuses(run))
            live.update(_page(rows), refresh=True)


def statuses(run: str | Path) -> Iterator[dict[str, Any]]:
    """One row a cell, in the recipe's order.

    A row has model, method, seed, state (waiting, aligning, answering, judging, answered, done,
    failed, stopped), words, done and total of what it is doing, responses and wanted, per_second
    and seconds_left (null where unknown), host, and failure.

    Raises:
        StoreError: there is no run.
    """
    folder = RunFolder.open(local_folder(run, only=("run.json", FILE)))
    content = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
    for model, method, seed in content["cells"]:
        place = folder.cell(model, method, seed)
        yield {"model": model, "method": method, "seed": seed, **_row(place)}


def _row(place: CellFolder) -> dict[str, Any]:
    if (state := read_state(place.path)) is None:
        return _without_report(place)
    age = time.time() - state.updated  # as far as the machines' clocks agree
    at_work = state.stage in AT_WORK
    fresh, seconds = state.done - state.first, state.updated - state.since
    rate = fresh / seconds if at_work and fresh > 0 and seconds > 0 else None
    left = (state.total - state.done) / rate if rate else None
    return {
        "state": "stopped" if at_work and age > SILENT else state.stage,
        **{name: getattr(state, name) for name in ("words", "done", "total")},
        "responses": state.answered,
        "wanted": state.wanted,
        "per_second": round(rate, 3) if rate else None,
        "seconds_left": round(left) if left is not None else None,
        "host": state.host,
        "failure": str(state.failure.error) if state.failure else "",
    }


def _without_report(place: CellFolder) -> dict[str, Any]:
    """A cell that has not begun, or that an earlier version of Greaves ran."""
    keys = [key for item in place.questions() for key in item.keys]
    there = len(place.current_responses()) if keys else 0
    return {
        "state": "waiting" if not keys else "done" if there == len(keys) else "stopped",
        **{"words": "", "done": 0, "total": 0, "per_second": None, "seconds_left": None},
        **{"responses": there, "wanted": len(keys), "host": "", "failure": ""},
    }


def _page(rows: list[dict[str, Any]]) -> Group:
    shown = [
        {
            "Cell": f"{row['model']} / {row['method']} / seed {row['seed']}",
            "State": Text(row["state"], style=_STYLES.get(row["state"], "")),
            "Progress": _progress(row),
            "A second": f"{row['per_second']:.2f}" if row["per_second"] else "",
            "Left": _duration(row["seconds_left"]),
            "On": row["host"],
        }
        for row in rows
    ]
    table = table_of(shown, box=SIMPLE_HEAD)
    counts = Counter(row["state"] for row in rows)
    ended = ", ".join(f"{count} {state}" for state, count in counts.items())
    return Group(table, Text(f"{len(rows)} cells: {ended}"))


_STYLES = {"failed": "red", "stopped": "yellow", "done": "green"}


def _progress(row: dict[str, Any]) -> str:
    if row["failure"]:
        return str(row["failure"])
    if row["state"] in AT_WORK and row["total"]:
        return f"{row['words']} {row['done']}/{row['total']}"
    return f"{row['responses']}/{row['wanted']} responses" if row["wanted"] else ""


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
