"""What the page shows beside transcripts: the wide table, categories, notes; plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greaves.base.records import MODES, Verdict
from greaves.base.run_folder import RunFacts
from greaves.leaderboards.board.categories import by_category
from greaves.leaderboards.board.notes import notes
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.estimate.metric import Level, metric_of
from greaves.leaderboards.estimate.metrics.asr import Asr
from greaves.leaderboards.page import plots
from greaves.leaderboards.show import wide
from greaves.leaderboards.show.render import as_plain, rounded

_CATEGORY = ("judge", "model", "task", "category", "method", "value", "n_questions")


def page_data(
    facts: RunFacts, verdicts: Sequence[Verdict], text: Sequence[Row] = ()
) -> dict[str, Any]:
    """Everything on the page but questions, clips and responses.

    Raises:
        GreavesError: verdicts that cannot stand in one table (see `sort_verdicts`).
    """
    rows = [*leaderboard(verdicts, label=facts.label), *text]
    return {
        "name": facts.name,
        "labels": wide.labels(rows),
        "legend": " ".join([wide.legend(rows), *wide.marks(rows)]),
        "notes": notes(verdicts),
        "hashes": facts.hashes,
        **table(rows),
        "categories": categories(verdicts),
        "plots": {
            "trade-off": _plot(plots.trade_off_plot(rows), plots.trade_off_points(rows)),
            "nsi": _plot(plots.nsi_plot(rows), plots.nsi_points(rows)),
        },
    }


def table(rows: Sequence[Row]) -> dict[str, Any]:
    """The wide table; where two judges judged the same, each has a column of its own.

    Returns:
        `columns`: metric, task, judge, title of each, and whether it has responses to read.
        `lines`: model, method and `cells`, one per column: None, or value and interval of a row,
        how they are printed, and what else is known.
    """
    sheets = sorted(wide.sheets(rows), key=lambda sheet: -len(sheet.columns))
    columns: list[dict[str, Any]] = []
    lines: dict[tuple[str, str], dict[int, Row | None]] = {}
    for sheet in sheets:
        for column in sheet.columns:
            found = {(one.model, one.method): one.rows.get(column) for one in sheet.lines}
            for name, row in found.items():
                lines.setdefault(name, {})[len(columns)] = row
            judge = next(row.judge for row in found.values() if row)
            names = {"metric": column.metric, "task": column.task, "judge": judge}
            title = column.title if len(sheets) == 1 else f"{column.title} ({judge})"
            readable = isinstance(metric_of(column.metric), Level)
            columns.append({**names, "title": title, "readable": readable})
    found_in = {
        name: [_cell(cells.get(place)) for place in range(len(columns))]
        for name, cells in lines.items()
    }
    return {
        "columns": columns,
        "lines": [
            {"model": model, "method": method, "cells": cells}
            for (model, method), cells in found_in.items()
        ],
    }


def categories(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """ASR by harm category; tasks without categories, or with a single one, have none here."""
    modes = {one.task: MODES.index(one.mode) for one in verdicts}
    rows = [row for row in by_category(verdicts) if row.metric == Asr.name and row.n_questions]
    rows.sort(key=lambda row: (row.judge, row.model, modes[row.task], row.task, row.category))
    return [{name: rounded(getattr(row, name)) for name in _CATEGORY} for row in rows]


def _cell(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    number, mark, interval, best = wide.cell(row)
    printed = {"number": number + mark, "interval": interval, "best": best}
    plain = as_plain([row])[0]
    kept = {name: plain[name] for name in ("value", "low", "high")}
    return kept | printed | {"further": _further(row)}


def _further(row: Row) -> str:
    """Counts, judge, and what else is known of a number."""
    counts = f"{row.n_questions} questions, {row.n_responses} responses, {row.n_unscored} unscored"
    parts = [counts, f"judge {row.judge}"]
    if row.rank is not None:
        parts.append(f"rank {wide.rank(row)}")
    if row.any_value is not None:
        parts.append(f"ASR-any {wide.any_rate(row)}")
    return "; ".join(parts)


def _plot(chart: plots.Plot | None, points: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Vega-Lite specification without its data, and the data, so that a filter can thin them."""
    if chart is None:
        return None
    spec = chart.to_dict()
    spec.pop("datasets", None)
    return {"spec": spec | {"data": {"values": []}}, "points": points}
