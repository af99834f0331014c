"""`greaves figure representations`: t-SNE and PCA through fine-tuning (RRS, figure 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from greaves.base.errors import RecipeError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, Benchmark, ModelName, Out, RunPath, Seed

if TYPE_CHECKING:
    import altair as alt

    from greaves.leaderboards.figures.drawing import Rows

_SIDE = 200  # pixels of one panel


def command(
    run: RunPath,
    method: Annotated[
        str, typer.Option(help="Method to follow, by its name in the recipe.")
    ] = "rrs",
    seed: Seed = None,
    model: ModelName = None,
    benchmark: Benchmark = None,
    epochs: Annotated[
        str | None, typer.Option(help="Which epochs, such as 0,1,3,10; all that the run kept.")
    ] = None,
    plot_seed: Annotated[int, typer.Option(help="Of t-SNE and of the probe's folds.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Harmful and benign representations epoch by epoch, with ASR, ORR and separability."""
    RunFolder.open(run)
    wanted = None if epochs is None else _numbers(epochs)
    from greaves.leaderboards.figures import drawing
    from greaves.leaderboards.figures.representations import look

    rows, facts = look(
        run,
        method=method,
        seed=seed,
        model=model,
        benchmark=benchmark,
        epochs=wanted,
        plot_seed=plot_seed,
    )
    drawing.finish(
        _chart(rows, facts),
        rows,
        facts,
        run=run,
        out=out,
        name=f"representations-{facts['model']}-{facts['method']}-seed-{facts['seed']}",
        title=f"Representations: {facts['method']} on ",
        note="t-SNE, each state alone, above; PCA, all states together, below",
        lines=("  ".join([f"{one['state']:<18}", *_lines(one)]) for one in facts["states"]),
        json_only=as_json,
    )


def _numbers(epochs: str) -> list[int]:
    try:
        return [int(part) for part in epochs.split(",")]
    except ValueError:
        raise RecipeError(
            f"--epochs {epochs}: not numbers", do="give them with commas, such as 0,1,3,10"
        ) from None


def _lines(state: dict[str, Any]) -> list[str]:
    """What stands above a panel."""
    return [
        f"ASR {_percent(state['asr'])}, ORR {_percent(state['orr'])}",
        f"probe AUC {state['auc']:.3f}, silhouette {state['silhouette']:.2f}",
    ]


def _percent(rate: dict[str, float] | None) -> str:
    return "not judged" if rate is None else f"{rate['value']:.1f} %"


def _chart(rows: Rows, facts: dict[str, Any]) -> alt.ConcatChart:
    """t-SNE above PCA, one column a state. PCA's axes are the same in all columns."""
    import altair as alt

    share_1, share_2 = (100 * share for share in facts["pca_variance"])
    across = alt.X("pca_1:Q").title(f"component 1 ({share_1:.0f} % of variance)")
    up = alt.Y("pca_2:Q").title(f"component 2 ({share_2:.0f} %)")
    t_sne: list[alt.Chart] = []
    pca: list[alt.Chart] = []
    for state in facts["states"]:
        own = [row for row in rows if row["state"] == state["state"]]
        data = alt.InlineData(values=[dict(row) for row in own])
        x = alt.X("tsne_1:Q").axis(None).scale(_frame(own, "tsne_1"))
        y = alt.Y("tsne_2:Q").axis(None).scale(_frame(own, "tsne_2"))
        heading = alt.Title(state["state"], subtitle=_lines(state), subtitlePadding=4)
        t_sne.append(_panel(data, x, y).properties(title=heading))
        pca.append(
            _panel(data, across.scale(_frame(rows, "pca_1")), up.scale(_frame(rows, "pca_2")))
        )
        up = up.title(None)
    return alt.concat(*t_sne, *pca, columns=len(t_sne))


def _panel(data: alt.InlineData, x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    from greaves.leaderboards.figures.drawing import kind_colour, kind_shape, legend

    view = alt.ViewBackground(stroke="#cccccc")
    chart = alt.Chart(data, width=_SIDE, height=_SIDE, view=view)
    points: alt.Chart = chart.mark_point(filled=True, size=26, opacity=0.65)
    return points.encode(x=x, y=y, color=kind_colour(legend()), shape=kind_shape(legend()))


def _frame(rows: Rows, axis: str) -> alt.Scale:
    """All values of an axis, with a margin."""
    import altair as alt

    low, high = (end(row[axis] for row in rows) for end in (min, max))
    margin = 0.05 * (high - low) or 1.0
    return alt.Scale(domain=[low - margin, high + margin], nice=False)
