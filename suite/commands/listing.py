"""`greaves methods`, `tasks`, `models`, `judges`, `recipes`: lists what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Option

from greaves.base.registry import registry
from greaves.base.text import printable
from greaves.commands.lazy import CommandGroup

AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]

models = typer.Typer(help="List the models, or check one.", cls=CommandGroup)
tasks = typer.Typer(help="List the tasks, or show one.", cls=CommandGroup)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    Console().print(table_of(rows, box=None))


def table_of(rows: Sequence[Mapping[str, object]], **options: Any) -> Table:
    """Rows as a table for the terminal; None is a dash, numbers with a unit are texts already."""
    table = Table(pad_edge=False, **options)
    for column in rows[0] if rows else ["nothing"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        shown = ("-" if value is None else value for value in row.values())
        cells = (one if isinstance(one, Text) else Text(printable(str(one))) for one in shown)
        table.add_row(*cells)
    return table


def _show_registered(kind: str, as_json: bool) -> None:
    names = registry(kind)
    rows = [(entry.name, entry.summary, entry.source) for entry in names.entries()]
    rows += [(name, f"could not be loaded: {why}", "") for name, why in names.broken().items()]
    show([dict(zip(("name", "summary", "from"), row, strict=True)) for row in rows], as_json)


def methods(as_json: AsJson = False) -> None:
    """List the alignment methods."""
    _show_registered("method", as_json)


def judges(as_json: AsJson = False) -> None:
    """List the judges."""
    _show_registered("judge", as_json)


@tasks.callback(invoke_without_command=True)
def list_tasks(
    context: typer.Context,
    as_json: AsJson = False,
    lm_eval_path: Annotated[
        bool, Option("--lm-eval-path", help="Print the folder for lm_eval --include_path.")
    ] = False,
) -> None:
    """List the tasks, or show one."""
    if context.invoked_subcommand:
        return
    if lm_eval_path:
        print(Path(str(resources.files("greaves.tasks.lm_eval_yaml"))).resolve())
        return
    _show_registered("task", as_json)


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models, or check one."""
    if not context.invoked_subcommand:
        _show_registered("model", as_json)


def recipes(as_json: AsJson = False) -> None:
    """List the packaged recipes, and what those of the papers need before they can run."""
    from greaves.recipe.packaged import outline, packaged

    show([outline(name) for name in packaged()], as_json)
