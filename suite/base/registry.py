"""Names to things: methods, tasks, models, judges, kinds of parts.

Three ways in, one way out:

* built in: every module of a package (`greaves.methods`, `greaves.models.families` ...) is imported
  the first time its registry is asked, so that adding a method is adding one file;
* from an installed package: an entry point in the group `greaves.methods` (or `.tasks`, `.models`,
  `.judges`, `.parts`);
* from a script or notebook: the decorators `register_method` and so on.

A name that is taken raises, unless the same thing is defined again, as by a cell of a notebook.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from greaves.base.errors import RegistryError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing: its name, the thing, and the module it came from."""

    name: str
    target: T
    source: str

    @property
    def summary(self) -> str:
        """First line of the docstring, without its full stop."""
        return (inspect.getdoc(self.target) or "").split("\n", 1)[0].rstrip(".")


class Registry(Generic[T]):
    """Names of one kind of thing.

    Args:
        kind: what messages call it, e.g. "method".
        package: built-in package whose modules register themselves when imported.
        group: entry-point group that other packages use.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind, self.package, self.group = kind, package, group
        self._entries: dict[str, Entry[T]] = {}
        self._broken: dict[str, str] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers its target under `name`. Raises RegistryError if it is taken."""

        def decorate(target: T) -> T:
            self._add(name, target)
            return target

        return decorate

    def get(self, name: str) -> T:
        """The thing called `name`. Raises RegistryError, naming the nearest, if there is none.

        `NAME:ADDRESS` is the thing called NAME with ADDRESS as its first argument, where it takes
        one (`takes_address`), such as the model `openai:MODEL@URL`.
        """
        self._load()
        first, colon, address = name.partition(":")
        if colon and getattr(self._target(first), "takes_address", False):
            return cast(T, functools.partial(cast(Any, self._target(first)), address))
        if name in self._entries:
            return self._entries[name].target
        if name in self._broken:
            raise RegistryError(
                f"{self.kind} {name!r} could not be loaded: {self._broken[name]}",
                do="repair or uninstall the package that provides it",
            )
        near = difflib.get_close_matches(name, self._entries, n=1)
        raise RegistryError(
            f"unknown {self.kind} {name!r}",
            do=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names())}",
        )

    def names(self) -> list[str]:
        """All names, sorted."""
        return [entry.name for entry in self.entries()]

    def entries(self) -> list[Entry[T]]:
        """All entries, sorted by name."""
        self._load()
        return sorted(self._entries.values(), key=lambda entry: entry.name)

    def broken(self) -> dict[str, str]:
        """Entry points that could not be loaded, with the reason."""
        self._load()
        return dict(self._broken)

    def _target(self, name: str) -> T | None:
        return self._entries[name].target if name in self._entries else None

    def _add(self, name: str, target: T, source: str = "") -> None:
        source = source or getattr(target, "__module__", "")
        present = self._entries.get(name)
        if present is not None and _origin(present.target) != _origin(target):
            raise RegistryError(
                f"{self.kind} {name!r} is registered twice, by {present.source} and by {source}",
                do="rename one of them",
            )
        self._entries[name] = Entry(name, target, source)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            self._load_built_in()
            self._load_entry_points()
        except RegistryError:
            self._loaded = False
            raise

    def _load_built_in(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")

    def _load_entry_points(self) -> None:
        for point in importlib.metadata.entry_points(group=self.group):
            if (target := self.try_to_load(point)) is not None:
                self._add(point.name, target, point.value.partition(":")[0])

    def try_to_load(self, point: importlib.metadata.EntryPoint) -> T | None:
        """What an entry point names; None where it cannot be loaded, which `broken` then tells."""
        try:
            target = point.load()
            if not callable(target):
                raise TypeError(f"{point.value} is not a class or function")
        except RegistryError:
            raise
        except Exception as error:  # a stranger's package must not break ours
            self._broken[point.name] = f"{type(error).__name__}: {error}"
            return None
        return cast(T, target)


def _origin(target: object) -> str:
    """Where a thing is defined: the same for a cell of a notebook that is run again."""
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', repr(target))}"
