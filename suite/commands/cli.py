"""The command line: `greaves ...`.

A command is imported when it is called, so that `--help`, listings and mistakes are quick. Those of
leaderboards and plug-ins are mounted by the entry-point group `greaves.commands`.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer import Argument, Option

from greaves import __version__
from greaves.base.errors import GreavesError
from greaves.base.text import printable
from greaves.commands import listing
from greaves.commands.lazy import ANY_ARGUMENTS, CommandGroup
from greaves.commands.run import RunCommand, run_command

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

app = typer.Typer(
    name="greaves",
    help="Evaluate and align large audio language models (LALMs).",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
new = typer.Typer(help="Write a skeleton of your own.", no_args_is_help=True)
app.command("run", cls=RunCommand)(run_command)
app.command()(listing.methods)
app.command()(listing.judges)
app.command()(listing.recipes)
app.add_typer(listing.models, name="models")
app.add_typer(listing.tasks, name="tasks")
app.add_typer(new, name="new")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"greaves {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    os.environ["GREAVES_DEBUG"] = "1" if debug else ""


@app.command("lm-eval", **ANY_ARGUMENTS)
def lm_eval_command(context: typer.Context) -> None:
    """lm-eval's own command line, with `--model greaves` known to it."""
    from greaves.answer.lm_eval import command_line

    command_line(context.args)


@new.command("method")
def new_method(
    name: Annotated[str, Argument(help="Name of the method, such as refusal-steering.")],
    parent: Annotated[
        Path, Option("--dir", help="Where to put the package's own folder.")
    ] = Path(),
) -> None:
    """Write a plug-in package: one method, its config and its test."""
    from greaves.commands.scaffold import write_method

    folder = write_method(name, parent)
    print(f"Written: {folder}")
    print(f"next: cd {shlex.quote(str(folder))} && pip install --editable '.[test]' && pytest")


def main() -> None:
    """Entry point: 0 done, 2 a mistake of the user's, 1 one of ours, 130 or 143 interrupted."""
    status: Any = INTERRUPTED
    with _terminated_as_interrupted() as terminated:
        try:
            status = app(prog_name="greaves", standalone_mode=False)
        except KeyboardInterrupt:  # typer catches it in a command, not before
            pass
        except GreavesError as error:
            _stop(f"greaves: {error}", 2, error)
        except Exception as error:
            if isinstance(error, USAGE_ERRORS):
                _stop(f"greaves: {_message(error)}; see: greaves --help", 2, error)
            line = " ".join(str(error).split())[:300]
            what = f"internal error: {type(error).__name__}: {line}"
            _stop(f"greaves: {what}; --debug shows where", 1, error)
    if status == INTERRUPTED:
        print("greaves: interrupted; run the same command again to carry on", file=sys.stderr)
        status = TERMINATED if terminated else INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)


INTERRUPTED, TERMINATED = 130, 143


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """Lets SIGTERM (a scheduler's notice, a shutdown) end a command in the block as Ctrl-C does.

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
"""What typer raises for a wrong command, option or value; it exports only the most specific one."""


def _message(error: Any) -> str:
    return str(error.format_message()).rstrip(".")


def _stop(line: str, status: int, error: Exception) -> NoReturn:
    if os.environ.get("GREAVES_DEBUG"):
        raise error
    print(printable(line), file=sys.stderr)
    sys.exit(status)
