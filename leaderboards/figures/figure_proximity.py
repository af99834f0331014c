"""`greaves figure proximity`: how close the benign questions are, and which were fine-tuned on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from greaves.base.errors import StoreError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, ModelName, Out, RunPath

if TYPE_CHECKING:
    import altair as alt

    from greaves.leaderboards.figures.drawing import Rows
    from greaves.leaderboards.figures.inside_run import InsideRun

_WIDTH, _HEIGHT, _BINS = 340, 150, 30
_FATES = ("fine-tuned on", "left", "filtered out")
_COLOURS = ("#e4572e", "#4c78a8", "#b0b0b0")


def command(
    run: RunPath, model: ModelName = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Distance of each benign question to the nearest harmful one, axis by axis."""
    RunFolder.open(run)
    from greaves.leaderboards.figures import drawing
    from greaves.leaderboards.figures.inside_run import InsideRun

    inside = InsideRun(run, model)
    selections = _selections(inside)
    rows = [row for number, one in enumerate(selections) for row in _rows(number, one)]
    facts = {
        "run": inside.facts.name,
        "label": inside.facts.label,
        "model": inside.spec.shown,
        "selections": [{**one, "items": len(one["items"])} for one in selections],
    }
    drawing.finish(
        _chart(rows, selections),
        rows,
        facts,
        run=run,
        out=out,
        name=f"proximity-{facts['model']}",
        title="Proximity of benign questions to harmful ones: ",
        note="Least cosine distance to the harmful reference set; benign fine-tuning takes a share",
        lines=(
            f"{', '.join(one['cells'])}: {one['questions']} of {one['of']} questions,"
            f" {one['side']} on the {one['axis']} axis"
            for one in selections
        ),
        json_only=as_json,
    )


def _selections(inside: InsideRun) -> list[dict[str, Any]]:
    """What the stressed cells of a model were fine-tuned on; equal selections once.

    Raises:
        StoreError: no stressed cell measured proximity.
    """
    from greaves.leaderboards.figures.inside_run import saved_defence

    found: dict[str, dict[str, Any]] = {}
    for cell in inside.folder.cells():
        facts = cell.facts()
        if "stresses" not in facts or facts["model"] != inside.spec.shown:
            continue
        for path in sorted(saved_defence(cell).glob("*/selection.json")):
            text = path.read_text(encoding="utf-8")
            selection = found.setdefault(text, {"cells": [], **json.loads(text)})
            name = facts["stresses"]
            selection["cells"] += [name] if name not in selection["cells"] else []
    measured = [one for one in found.values() if one["encoders"]]
    if not measured:
        raise StoreError(
            f"no cell of model {inside.spec.shown!r} was fine-tuned on questions chosen by"
            " proximity",
            where=str(inside.path),
            do="give a method `stress: benign-finetuning` in the recipe and run it",
        )
    return measured


def _rows(number: int, selection: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a question and axis."""
    return [
        {
            "selection": number,
            "methods": " ".join(selection["cells"]),
            "axis": axis,
            "encoder": encoder,
            "id": item["id"],
            "distance": item[axis],
            "fate": _FATES[0] if item["taken"] else _FATES[1] if item["kept"] else _FATES[2],
        }
        for axis, encoder in selection["encoders"].items()
        for item in selection["items"]
    ]


def _chart(rows: Rows, selections: list[dict[str, Any]]) -> alt.ConcatChart:
    """One panel a selection and axis; panels of one axis and encoder share their scale."""
    import altair as alt

    panels = []
    for number, selection in enumerate(selections):
        for axis, encoder in selection["encoders"].items():
            own = [row for row in rows if (row["selection"], row["axis"]) == (number, axis)]
            alike = [
                row["distance"] for row in rows if (row["axis"], row["encoder"]) == (axis, encoder)
            ]
            panels.append(
                _panel(own, min(alike), max(alike), f"{axis} distance ({encoder})").properties(
                    title=_heading(selection)
                )
            )
    return alt.concat(*panels, columns=2)


def _heading(selection: dict[str, Any]) -> alt.Title:
    import altair as alt

    names = selection["cells"]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    chosen = f"{selection['side']} {100 * selection['fraction']:g} %, {selection['axis']} axis"
    return alt.Title(chosen, subtitle=shown)


def _panel(rows: Rows, low: float, high: float, title: str) -> alt.Chart:
    import altair as alt

    from greaves.leaderboards.figures.drawing import legend

    span = high - low or 1.0
    ends = alt.Bin(extent=[low, low + span], step=span / _BINS)
    colour = alt.Color(
        "fate:N", scale=alt.Scale(domain=_FATES, range=_COLOURS), sort=_FATES, legend=legend()
    )
    data = alt.InlineData(values=[{"d": row["distance"], "fate": row["fate"]} for row in rows])
    chart: alt.Chart = (
        alt.Chart(data, width=_WIDTH, height=_HEIGHT)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("d:Q", bin=ends, title=title),
            y=alt.Y("count():Q", title="benign questions"),
            color=colour,
        )
    )
    return chart
