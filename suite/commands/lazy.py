"""Commands that are imported when they are called; help and completion only read their sources."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from greaves.base.errors import GreavesError, RegistryError
from greaves.base.sources import doc_of, keyword_of

GROUPS = ("models", "tasks")
"""Commands with commands below: the entry point `models.check` is `greaves models check`."""

ANY_ARGUMENTS: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}


class Pending(TyperCommand):
    """One of our own commands, not imported so far."""

    def __init__(self, name: str, point: importlib.metadata.EntryPoint) -> None:
        super().__init__(name)
        self.point = point

    @property
    def ours(self) -> bool:
        """Whether Greaves itself brings it."""
        return self.point.dist is not None and self.point.dist.name == "greaves"

    def with_help(self) -> Pending:
        """Itself, with what its source says of it."""
        where = self.point.module, self.point.attr
        self.help = doc_of(*where) or str(keyword_of(where[0], "Typer", "help") or "")
        return self


class CommandGroup(TyperGroup):
    """The commands that are registered here, and those of the entry points `greaves.commands`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for point in importlib.metadata.entry_points(group="greaves.commands"):
            first, _, last = point.name.partition(".")
            group = first if last and first in GROUPS else "greaves"
            if group == self.name:
                name = last or first
                self.commands.setdefault(name, Pending(name, point))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, good enough to be listed; a stranger's is loaded."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, Pending):
            return command.with_help() if command.ours else loaded(command)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, loaded(command) if isinstance(command, Pending) else command, rest


def loaded(pending: Pending) -> Any:
    """The command itself; one that raises RegistryError when called if it cannot be loaded."""
    try:
        target = pending.point.load()
        if isinstance(target, typer.Typer):
            command: Any = typer.main.get_group(target)
        elif callable(target):
            command = _alone(target)
        else:
            raise TypeError("not a function")
    except GreavesError:
        raise
    except Exception as error:  # a stranger's package must not break ours
        command = _alone(_broken(pending.point, error), **ANY_ARGUMENTS)
    command.name = pending.name
    return command


def _alone(function: Callable[..., Any], **options: Any) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(**options)(function)
    return typer.main.get_command(app)


def _broken(point: importlib.metadata.EntryPoint, error: Exception) -> Callable[[], None]:
    """Stands in for a command that cannot be loaded, and says so when it is used."""

    def command() -> None:
        """Could not be loaded."""
        what = f"command {point.name!r} could not be loaded: {type(error).__name__}: {error}"
        do = "repair or uninstall the package that provides it"
        raise RegistryError(what, where=point.value, do=do)

    return command
