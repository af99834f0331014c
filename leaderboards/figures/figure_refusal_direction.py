"""`greaves figure refusal-direction`: hidden states on the refusal direction, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, Benchmark, ModelName, Out, RunPath, Seed
from greaves.leaderboards.read.slices import VANILLA

if TYPE_CHECKING:
    import altair as alt

    from greaves.leaderboards.figures.drawing import Rows

_WIDTH, _HEIGHT = 300, 190  # pixels of one panel
_AFTER = "with the method"
_COLUMNS = {"gap": ("scaled", "scaled_low", "scaled_high"), "raw": ("projection", "low", "high")}
_Y_TITLES = {
    "gap": ["mean projection", "(vanilla: benign 0, harmful 1)"],
    "raw": ["mean projection", "(length in hidden space)"],
}


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
    from greaves.leaderboards.figures import drawing
    from greaves.leaderboards.figures.layers import look

    rows, facts = look(
        run,
        methods=methods,
        seed=seed,
        model=model,
        benchmark=benchmark,
        direction=direction,
        split_seed=split_seed,
    )
    blind = noisy_layers(facts, direction)
    note = "Grey: layers where the direction does not hold on questions it was not taken from"
    drawing.finish(
        _chart(rows, scale, blind),
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


def noisy_layers(facts: dict[str, Any], direction: str) -> list[int]:
    """Layers whose direction is noise: on held-out questions less than half of vanilla's gap is
    left."""
    (held_out,) = (
        one["gap"] for one in facts["apart"] if (one["method"], one["mode"]) == (VANILLA, direction)
    )
    pairs = zip(held_out, facts["direction"]["gap"], strict=True)
    return [layer for layer, (left, gap) in enumerate(pairs, start=1) if left < gap / 2]


def _chart(rows: Rows, scale: str, blind: list[int]) -> alt.ConcatChart:
    """One line of panels a method, one column a mode; vanilla is dashed in each of them."""
    import altair as alt

    mean, low, high = _COLUMNS[scale]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    clear = [row for row in rows if row["layer"] not in blind] or rows
    ends = [row[name] for row in clear for name in (low, high)]
    margin = 0.04 * (max(ends) - min(ends))
    frame = alt.Scale(domain=[min(ends) - margin, max(ends) + margin], nice=False)
    panels = []
    for method in [name for name in methods if name != VANILLA] or methods:
        title: list[str] | None = _Y_TITLES[scale]
        for mode in modes:
            shown = [
                {
                    "kind": row["kind"],
                    "layer": row["layer"],
                    "state": VANILLA if row["method"] == VANILLA else _AFTER,
                    "mean": row[mean],
                    "low": row[low],
                    "high": row[high],
                }
                for row in rows
                if row["mode"] == mode and row["method"] in (VANILLA, method)
            ]
            panel = _panel(shown, frame, title, blind)
            panels.append(panel.properties(title=f"{method}: {mode}"))
            title = None
    return alt.concat(*panels, columns=len(modes))


def _panel(
    rows: list[dict[str, Any]], frame: alt.Scale, y_title: list[str] | None, blind: list[int]
) -> alt.LayerChart:
    import altair as alt

    from greaves.leaderboards.figures.drawing import kind_colour, legend

    last = max(row["layer"] for row in rows)
    layers = alt.Scale(domain=[0.5, last + 0.5], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    x = alt.X("layer:Q", title="decoder layer", scale=layers, axis=axis)
    states = alt.Scale(domain=[VANILLA, _AFTER], range=[[5, 4], [1, 0]])
    colour = kind_colour(legend(symbolType="stroke", symbolStrokeWidth=3))
    dashes = legend(symbolType="stroke", symbolStrokeWidth=2)
    base = alt.Chart(alt.InlineData(values=rows), width=_WIDTH, height=_HEIGHT)
    band = base.mark_area(opacity=0.18, clip=True).encode(
        x=x,
        y=alt.Y("low:Q").title(y_title).scale(frame),
        y2="high:Q",
        color=colour,
        detail="state:N",
    )
    mean = alt.Y("mean:Q").title(y_title).scale(frame)
    dash = alt.StrokeDash("state:N", scale=states, legend=dashes)
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        x=x, y=mean, color=colour, strokeDash=dash
    )
    dots = base.mark_point(filled=True, size=18, opacity=1, clip=True).encode(
        x=x, y=mean, color=colour
    )
    noise = (
        alt.Chart(alt.InlineData(values=[{"from": each - 0.5, "to": each + 0.5} for each in blind]))
        .mark_rect(color="#e6e6e6")
        .encode(x=alt.X("from:Q", scale=layers, title="decoder layer", axis=axis), x2="to:Q")
    )
    return alt.LayerChart(layer=[*([noise] if blind else []), band, line, dots])
