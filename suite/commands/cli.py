"""The command line: `greaves ...`.

Commands of other parts (leaderboards, plug-ins) are mounted by the entry-point group
`greaves.commands`, so that nothing here depends on them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greaves import __version__
from greaves.align.method import METHODS
from greaves.base import registry
from greaves.base.errors import GreavesError, RecipeError, RegistryError, StoreError
from greaves.base.text import printable
from greaves.commands.cluster_option import RunCommand
from greaves.data.task import TASKS
from greaves.judge.contract import JUDGES
from greaves.models.contract import MODELS

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

app = typer.Typer(
    name="greaves",
    help="Evaluate and align large audio language models (LALMs).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
new = typer.Typer(help="Write a skeleton of your own.", no_args_is_help=True)
app.add_typer(new, name="new")
models = typer.Typer(help="List the models, or check one.")
app.add_typer(models, name="models")
tasks = typer.Typer(help="List the tasks, or show one.")
app.add_typer(tasks, name="tasks")

ANY_ARGUMENTS: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"greaves {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    os.environ["GREAVES_DEBUG"] = "1" if debug else ""


@app.command("run", cls=RunCommand)
def run_command(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a packaged one.")],
    run_dir: Annotated[
        str | None,
        typer.Option(
            help="Run folder, or with --cluster a URL. Default: runs/<name of the recipe>."
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Put an earlier run aside and start over.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this model, method or task; repeatable.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run on the Ray cluster at HOST:PORT; without it, on the one of this machine.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="With --cluster: a variable that workers get from here; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or carry on where the last run stopped."""
    from greaves.commands.run_options import run_folder
    from greaves.recipe.reading import find_recipe, read_plan

    plan = read_plan(find_recipe(recipe))
    folder = run_folder(run_dir, plan, cluster)
    if fresh and isinstance(folder, Path) and Path.cwd().is_relative_to(folder.resolve()):
        raise StoreError(
            "--fresh would put aside the folder you are in",
            where=str(folder),
            do="go elsewhere, or choose a folder of its own with --run-dir",
        )
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


def _show_plan(plan: Any, folder: Path | str, only: Sequence[str], as_json: bool) -> None:
    from greaves.commands.run_options import plan_rows

    rows = plan_rows(plan, tuple(only))
    _show(rows, as_json)
    if not as_json:
        hours = sum(row["gpu_hours_estimated"] for row in rows)
        print(f"would run {len(rows)} cells into {folder}")
        print(f"about {hours:.1f} GPU hours on A100s: estimated, not measured (docs/clusters.md)")


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ["nothing"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        shown = ("-" if value is None else str(value) for value in row.values())
        table.add_row(*(Text(printable(text)) for text in shown))
    Console().print(table)


def _listing(names: registry.Registry[Any], as_json: bool) -> None:
    rows = [
        {"name": entry.name, "summary": entry.summary, "from": entry.source}
        for entry in names.entries()
    ]
    rows += [
        {"name": name, "summary": f"could not be loaded: {reason}", "from": ""}
        for name, reason in names.broken().items()
    ]
    _show(rows, as_json)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the alignment methods."""
    _listing(METHODS, as_json)


@tasks.callback(invoke_without_command=True)
def list_tasks(
    context: typer.Context,
    as_json: AsJson = False,
    lm_eval_path: Annotated[
        bool, typer.Option("--lm-eval-path", help="Print the folder for lm_eval --include_path.")
    ] = False,
) -> None:
    """List the tasks, or show one."""
    if context.invoked_subcommand:
        return
    if lm_eval_path:
        print(Path(str(resources.files("greaves.tasks.lm_eval_yaml"))).resolve())
        return
    _listing(TASKS, as_json)


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models, or check one."""
    if not context.invoked_subcommand:
        _listing(MODELS, as_json)


@app.command()
def judges(as_json: AsJson = False) -> None:
    """List the judges."""
    _listing(JUDGES, as_json)


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the packaged recipes, and what those of the papers need before they can run."""
    from greaves.recipe.reading import find_recipe, packaged, read_plan

    rows: list[dict[str, Any]] = []
    for name in packaged():
        try:
            plan = read_plan(find_recipe(name))
        except RecipeError as error:  # a paper's data are not in the package
            rows.append({"name": name, "cells": "", "tasks": "", "needs": error.what})
        else:
            counts = {"cells": len(plan.cells), "tasks": len(plan.tasks)}
            rows.append({"name": name, **counts, "needs": ""})
    _show(rows, as_json)


@app.command("lm-eval", **ANY_ARGUMENTS)
def lm_eval_command(context: typer.Context) -> None:
    """lm-eval's own command line, with `--model greaves` known to it."""
    from greaves.answer.lm_eval import command_line

    command_line(context.args)


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method, such as refusal-steering.")],
    parent: Annotated[
        Path, typer.Option("--dir", help="Where to put the package's own folder.")
    ] = Path(),
) -> None:
    """Write a plug-in package: one method, its config and its test."""
    from greaves.commands.scaffold import write_method

    folder = write_method(name, parent)
    print(f"Written: {folder}")
    print(f"next: cd {shlex.quote(str(folder))} && pip install --editable '.[test]' && pytest")


def _mount_commands(words: Sequence[str]) -> None:
    """Mount the command that is called; all of them where it is none, as for --help.

    Some commands import what takes seconds to load.
    """
    points = importlib.metadata.entry_points(group="greaves.commands")
    called = next((word for word in words if not word.startswith("-")), "")
    own = {info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands}
    known = own | {*GROUPS, "new"} | {point.name.partition(".")[0] for point in points}
    for point in points:
        first, dot, last = point.name.partition(".")  # "models.check" is `greaves models check`
        if called in known and first != called:
            continue
        group = GROUPS.get(first, app) if dot else app
        name = last or first
        try:
            command = point.load()
            alone = command if isinstance(command, typer.Typer) else _only(command)
            typer.main.get_command(alone)  # what typer cannot build would end every command
        except GreavesError:
            raise
        except Exception as error:  # a stranger's package must not break ours
            group.command(name, **ANY_ARGUMENTS)(_broken(point, error))
            continue
        if isinstance(command, typer.Typer):
            group.add_typer(command, name=name)
        else:
            group.command(name)(command)


GROUPS = {"models": models, "tasks": tasks}


def _only(command: Any) -> typer.Typer:
    if not callable(command):
        raise TypeError("no function")
    alone = typer.Typer()
    alone.command()(command)
    return alone


def _broken(point: importlib.metadata.EntryPoint, error: Exception) -> Callable[[], None]:
    """Stands in for a command that cannot be loaded, and says so when it is used."""

    def command() -> None:
        raise RegistryError(
            f"command {point.name!r} could not be loaded: {type(error).__name__}: {error}",
            where=point.value,
            do="repair or uninstall the package that provides it",
        )

    command.__doc__ = "Could not be loaded."
    return command


def main() -> None:
    """Entry point: 0 done, 2 a mistake of the user's, 1 one of ours, 130 or 143 interrupted."""
    status: Any = INTERRUPTED
    with _terminated_as_interrupted() as terminated:
        try:
            _mount_commands(sys.argv[1:])
            status = app(standalone_mode=False)
        except KeyboardInterrupt:  # typer catches it in a command, not before
            pass
        except GreavesError as error:
            _stop(f"greaves: {error}", 2, error)
        except Exception as error:
            if isinstance(error, USAGE_ERRORS):
                _stop(f"greaves: {_message(error)}; see: greaves --help", 2, error)
            line = " ".join(str(error).split())[:300]
            _stop(
                f"greaves: internal error: {type(error).__name__}: {line}; --debug shows where",
                1,
                error,
            )
    if status == INTERRUPTED:
        print("greaves: interrupted; run the same command again to carry on", file=sys.stderr)
        status = TERMINATED if terminated else INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)


INTERRUPTED, TERMINATED = 130, 143


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """Inside, SIGTERM (a scheduler's notice, a shutdown) ends a command as Ctrl-C does.

    Yields:
        The signal, once it has come.
    """
    came: list[int] = []

    def end(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


USAGE_ERRORS = tuple(kind for kind in typer.BadParameter.__mro__ if hasattr(kind, "format_message"))
"""What typer raises for a wrong command, option or value; it exports only the most special one."""


def _message(error: Any) -> str:
    return str(error.format_message()).rstrip(".")


def _stop(line: str, status: int, error: Exception) -> NoReturn:
    if os.environ.get("GREAVES_DEBUG"):
        raise error
    print(printable(line), file=sys.stderr)
    sys.exit(status)
