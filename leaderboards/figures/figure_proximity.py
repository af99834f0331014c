"""`greaves figure proximity`: how close the benign questions are, and which were fine-tuned on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from greaves.base.errors import StoreError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, ModelName, Out, RunPath

if TYPE_CHECKING:
    from greaves.leaderboards.figures.inside_run import InsideRun


def command(
    run: RunPath, model: ModelName = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Distance of each benign question to the nearest harmful one, axis by axis."""
    RunFolder.open(run)
    from greaves.leaderboards.figures import charts
    from greaves.leaderboards.figures.inside_run import InsideRun

    inside = InsideRun(run, model)
    selections = _selections(inside)
    rows = [
        row for number, one in enumerate(selections) for row in charts.proximity_rows(number, one)
    ]
    counted = [{**one, "items": len(one["items"])} for one in selections]
    facts = {**inside.names, "selections": counted}
    charts.finish(
        charts.proximity(rows, selections),
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
