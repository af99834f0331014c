"""`greaves figure refusal-direction`: hidden states on the refusal direction, layer by layer."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, Benchmark, ModelName, Out, RunPath, Seed


def command(
    run: RunPath,
    methods: Annotated[
        str | None, typer.Option(help="Methods beside vanilla, with commas; all if unset.")
    ] = None,
    seed: Seed = None,
    model: ModelName = None,
    benchmark: Benchmark = None,
    direction: Annotated[
        Literal["audio-text", "text-only"],
        typer.Option(help="Mode whose questions the direction is taken from."),
    ] = "audio-text",
    scale: Annotated[
        Literal["gap", "raw"],
        typer.Option(help="Unit of the picture: vanilla's gap at that layer, or hidden space."),
    ] = "gap",
    split_seed: Annotated[int, typer.Option(help="Of the halves and of the bootstrap.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Harmful and benign questions on the refusal direction, layer by layer, text against audio."""
    RunFolder.open(run)
    from greaves.leaderboards.figures import charts
    from greaves.leaderboards.figures.refusal_direction import look

    rows, facts = look(
        run,
        methods=methods,
        seed=seed,
        model=model,
        benchmark=benchmark,
        direction=direction,
        split_seed=split_seed,
    )
    blind = charts.noisy_layers(facts, direction)
    note = "Grey: layers where the direction does not hold on questions it was not taken from"
    charts.finish(
        charts.refusal_direction(rows, scale, blind),
        rows,
        facts,
        run=run,
        out=out,
        name=f"refusal-direction-{facts['model']}-{direction}",
        title="Projection on the refusal direction: ",
        note=note if blind else "",
        lines=(
            f"{one['method']:<14}  {one['mode']:<10}  last layer: harmful - benign"
            f" {one['gap'][-1]:.2f}, AUC {one['auc'][-1]:.3f}"
            for one in facts["apart"]
        ),
        json_only=as_json,
    )
