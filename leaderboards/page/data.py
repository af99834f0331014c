"""What the page shows beside transcripts: the wide table, categories, notes; plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from greaves.base.records import MODES, Verdict
from greaves.base.run_folder import RunFacts
from greaves.leaderboards.board.notes import notes
from greaves.leaderboards.board.table import PERCENT, Row, leaderboard
from greaves.leaderboards.page import plots
from greaves.leaderboards.show import wide
from greaves.leaderboards.show.render import as_plain

_DECIMALS = 4


def page_data(
    facts: RunFacts, verdicts: Sequence[Verdict], text: Sequence[Row] = ()
) -> dict[str, Any]:
    """Everything on the page but questions, clips and responses.

    Args:
        facts: of the run.
        verdicts: of the run.
        text: rows of its text tasks.

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
        `columns`: metric, task, judge, title of each. `lines`: model, method and `cells`, one a
        column: None, or value and interval of a row, how they are printed, and what else is known.
    """
    sheets = sorted(wide.sheets(rows), key=lambda sheet: -len(sheet.columns))
    columns: list[dict[str, Any]] = []
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for sheet in sheets:
        for column in sheet.columns:
            place = len(columns)
            judge = ""
            for line in sheet.lines:
                cells = lines.setdefault((line.model, line.method), {})
                if column in line.rows:
                    cells[place] = line.rows[column]
                    judge = line.rows[column].judge
            title = column.title if len(sheets) == 1 else f"{column.title} ({judge})"
            columns.append(
                {"metric": column.metric, "task": column.task, "judge": judge, "title": title}
            )
    return {
        "columns": columns,
        "lines": [
            {
                "model": model,
                "method": method,
                "cells": [_cell(cells.get(place)) for place in range(len(columns))],
            }
            for (model, method), cells in lines.items()
        ],
    }


def categories(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """ASR by harm category, every question with the same weight; unscored responses are left out.

    Tasks without categories, and those with a single one, have none here.
    """
    values: dict[tuple[str, str, int, str, str, str], dict[str, list[float]]] = {}
    for one in verdicts:
        value = one.value
        if one.kind == "harmful" and one.category and value is not None:
            mode = MODES.index(one.mode)
            place = (one.judge, one.model, mode, one.task, one.category, one.method)
            values.setdefault(place, {}).setdefault(one.question_id, []).append(value)
    known: dict[tuple[str, str, str], set[str]] = {}
    for judge, model, _, task, category, _ in values:
        known.setdefault((judge, model, task), set()).add(category)
    return [
        {
            "judge": judge,
            "model": model,
            "task": task,
            "category": category,
            "method": method,
            "value": round(PERCENT * _mean([_mean(each) for each in found.values()]), _DECIMALS),
            "n_questions": len(found),
        }
        for (judge, model, _, task, category, method), found in sorted(values.items())
        if len(known[judge, model, task]) > 1
    ]


def _cell(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    plain = as_plain([row])[0]
    kept = ("value", "low", "high")
    printed = {
        "number": wide.number(row) + (wide.LIKE_BEST if wide.is_like_best(row) else ""),
        "interval": wide.interval(row),
        "best": wide.is_best(row),
        "further": _further(row),
    }
    return {name: plain[name] for name in kept} | printed


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


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
