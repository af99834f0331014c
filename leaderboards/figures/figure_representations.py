"""`greaves figure representations`: t-SNE and PCA through fine-tuning (RRS, figure 2)."""

from __future__ import annotations

from typing import Annotated

import typer

from greaves.base.errors import RecipeError
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.figures.options import AsJson, Benchmark, ModelName, Out, RunPath, Seed


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
    from greaves.leaderboards.figures import charts
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
    charts.finish(
        charts.representations(rows, facts),
        rows,
        facts,
        run=run,
        out=out,
        name=f"representations-{facts['model']}-{facts['method']}-seed-{facts['seed']}",
        title=f"Representations: {facts['method']} on ",
        note="t-SNE, each state alone, above; PCA, all states together, below",
        lines=(
            "  ".join([f"{one['state']:<18}", *charts.state_lines(one)]) for one in facts["states"]
        ),
        json_only=as_json,
    )


def _numbers(epochs: str) -> list[int]:
    try:
        return [int(part) for part in epochs.split(",")]
    except ValueError:
        do = "give them with commas, such as 0,1,3,10"
        raise RecipeError(f"--epochs {epochs}: not numbers", do=do) from None
