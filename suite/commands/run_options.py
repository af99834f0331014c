"""What `greaves run` asks of a cluster before it starts: where to write, and the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greaves.align.training.processes import world_size
from greaves.base.errors import RecipeError, StoreError
from greaves.recipe.plan import Plan
from greaves.run.cluster.remote import is_url


def run_folder(run_dir: str | None, plan: Plan, cluster: str | None) -> Path | str:
    """The folder of a run: a path, or a URL on a cluster.

    Raises:
        StoreError: a URL without a cluster.
        RecipeError: a cluster, and an outer launcher too.
    """
    if cluster is not None and world_size() > 1:
        raise RecipeError(
            "--cluster starts its own processes",
            do="start it by `greaves run`, without torchrun, deepspeed or accelerate",
        )
    if run_dir is not None and is_url(run_dir):
        if cluster is None:
            raise StoreError(
                "a URL is a run folder of a cluster only",
                where=run_dir,
                do="add --cluster, or give a folder",
            )
        return run_dir
    return Path(run_dir) if run_dir is not None else Path("runs") / plan.recipe.name


def plan_rows(plan: Plan, only: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row a cell, in the order in which a cluster is given them, for `--dry-run`."""
    from greaves.run.cell_run import selected
    from greaves.run.cluster.schedule import planned

    return [
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
