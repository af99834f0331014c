"""`greaves run`: a recipe, from the command line to the run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option
from typer.core import TyperCommand

from greaves.base.errors import RecipeError, StoreError
from greaves.commands.listing import AsJson, show
from greaves.recipe.packaged import find_recipe, packaged

if TYPE_CHECKING:
    from greaves.recipe.plan import Plan


_ADDRESS = re.compile(r"^(auto|local|ray://.+|[^\s/]+:\d+)$")


class RunCommand(TyperCommand):
    """`--cluster` alone means `--cluster auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spelled: list[str] = []
        for index, word in enumerate(args):
            spelled.append(word)
            following = args[index + 1] if index + 1 < len(args) else ""
            if word == "--cluster" and not _ADDRESS.match(following):
                spelled.append("auto")
        return super().parse_args(ctx, spelled)


def _recipes(incomplete: str) -> list[str]:
    return [name for name in packaged() if name.startswith(incomplete)]


def _methods(incomplete: str) -> list[str]:
    from greaves.base.registry import registry

    return [name for name in registry("method").names() if name.startswith(incomplete)]


def run_command(
    recipe: Annotated[
        str, Argument(help="A recipe file, or the name of a packaged one.", autocompletion=_recipes)
    ],
    run_dir: Annotated[
        str | None,
        Option(help="Run folder, or with --cluster a URL. Default: runs/<name of the recipe>."),
    ] = None,
    fresh: Annotated[
        bool, Option("--fresh", help="Put an earlier run aside and start over.")
    ] = False,
    only: Annotated[
        list[str] | None,
        Option(help="Only this model, method or task; repeatable.", autocompletion=_methods),
    ] = None,
    cluster: Annotated[
        str | None,
        Option(
            metavar="[ADDRESS]",
            help="Run on the Ray cluster at HOST:PORT; without it, on the one of this machine.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        Option(help="With --cluster: a variable that workers get from here; repeatable."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Show what would run, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or carry on where the last run stopped."""
    from greaves.recipe.reading import read_plan

    plan = read_plan(find_recipe(recipe))
    folder = _run_folder(run_dir, plan, cluster)
    if fresh and isinstance(folder, Path) and Path.cwd().is_relative_to(folder.resolve()):
        do = "go elsewhere, or choose a folder of its own with --run-dir"
        raise StoreError("--fresh would put aside the folder you are in", where=str(folder), do=do)
    if dry_run:
        _show_plan(plan, folder, only or (), as_json)
        return
    from greaves.align.training.processes import rank

    if cluster is not None:
        from greaves.run.cluster.driver import run_on_cluster

        report = run_on_cluster(
            plan, folder, address=cluster, fresh=fresh, only=only or (), environment=env or ()
        )
    else:
        from greaves.run.runner import run

        report = run(plan, Path(folder), fresh=fresh, only=only or ())
    if rank() != 0:
        return
    if as_json:
        print(json.dumps({"run": str(folder), "asked": report.asked, "found": report.found}))
    else:
        print(f"{report.asked} responses asked for, {report.found} found from before, in {folder}")
        print(f"next: greaves {'leaderboard' if isinstance(folder, Path) else 'fetch'} {folder}")


def _run_folder(run_dir: str | None, plan: Plan, cluster: str | None) -> Path | str:
    from greaves.align.training.processes import world_size
    from greaves.run.cluster.remote import is_url

    if cluster is not None and world_size() > 1:
        do = "start it by `greaves run`, without torchrun, deepspeed or accelerate"
        raise RecipeError("--cluster starts its own processes", do=do)
    if run_dir is not None and is_url(run_dir):
        if cluster is None:
            what = "a URL is a run folder of a cluster only"
            raise StoreError(what, where=run_dir, do="add --cluster, or give a folder")
        return run_dir
    return Path(run_dir) if run_dir is not None else Path("runs") / plan.recipe.name


def _show_plan(plan: Plan, folder: Path | str, only: Sequence[str], as_json: bool) -> None:
    """One row a cell, in the order in which a cluster is given them."""
    from greaves.run.cell_run import selected
    from greaves.run.cluster.schedule import planned

    rows: list[dict[str, Any]] = [
        {
            "model": item.cell.model.shown,
            "method": item.cell.method.shown,
            "seed": item.cell.seed,
            "tasks": len(plan.tasks),
            "responses": item.responses,
            "gpus": item.needs.gpus,
            "memory_gb": item.needs.memory_gb,
            "gpu_hours_estimated": round(item.gpu_hours, 2),
        }
        for item in planned(plan, selected(plan, only))
    ]
    show(rows, as_json)
    if not as_json:
        hours = sum(row["gpu_hours_estimated"] for row in rows)
        print(f"would run {len(rows)} cells into {folder}")
        print(f"about {hours:.1f} GPU hours on A100s: estimated, not measured (docs/clusters.md)")
