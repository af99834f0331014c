"""Names to things: methods, tasks, models, judges, kinds of parts.

Three ways in, one way out:

* built in: a module of a package (`greaves.methods`, `greaves.models.families` ...) that registers
  something under a literal name. Names and summaries are read from its source; it is imported when
  its thing is asked for. Adding a method is adding one file;
* from an installed package: an entry point in the group `greaves.methods` (or `.tasks`, `.models`,
  `.judges`, `.parts`), loaded when it is asked for or listed;
* from a script or notebook: the decorators `register_method` and so on.

A cell of a notebook that is run again replaces what it registered. Any other name that is taken
raises.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from greaves.base.errors import RegistryError
from greaves.base.sources import registered_in
from greaves.base.text import hint

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing.

    Attributes:
        name: as recipes have it.
        target: the thing; None while its module has not been imported.
        source: the module it comes from.
        doc: its docstring, where the module has not been imported.
    """

    name: str
    target: T | None
    source: str
    doc: str = ""

    @property
    def summary(self) -> str:
        """First line of the docstring, without its full stop."""
        doc = self.doc or inspect.getdoc(self.target) or ""
        return doc.strip().split("\n", 1)[0].rstrip(".")


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
        self._unread: list[str] = []
        self._points: list[importlib.metadata.EntryPoint] | None = None  # not loaded so far

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
        first, colon, address = name.partition(":")
        if colon and getattr(self._find(first), "takes_address", False):
            return cast(T, functools.partial(cast(Any, self._find(first)), address))
        if (target := self._find(name)) is not None:
            return target
        if name in self._broken:
            what = f"{self.kind} {name!r} could not be loaded: {self._broken[name]}"
            raise RegistryError(what, do="repair or uninstall the package that provides it")
        raise RegistryError(f"unknown {self.kind} {name!r}", do=hint(name, self.names()))

    def names(self) -> list[str]:
        """All names, sorted."""
        return [entry.name for entry in self.entries()]

    def entries(self) -> list[Entry[T]]:
        """All entries, sorted by name. Imports no built-in module, but loads entry points."""
        known = self.built_in
        self._import_unread()
        self._load_points()
        found = {**known, **self._entries}
        return sorted(found.values(), key=lambda entry: entry.name)

    def broken(self) -> dict[str, str]:
        """Entry points that could not be loaded, with the reason."""
        self._load_points()
        return dict(self._broken)

    def _find(self, name: str) -> T | None:
        if name in self.built_in and self.built_in[name].target is None:
            importlib.import_module(self.built_in[name].source)
        self._import_unread()
        self._load_points(name)
        entry = self.built_in.get(name) or self._entries.get(name)
        return entry.target if entry is not None else None

    def _add(self, name: str, target: T, source: str = "") -> None:
        source = source or getattr(target, "__module__", "")
        present = self.built_in.get(name) or self._entries.get(name)
        if present is not None and not _same(present, target, source):
            what = f"{self.kind} {name!r} is registered twice, by {present.source} and by {source}"
            raise RegistryError(what, do="rename one of them")
        home = self.built_in if name in self.built_in else self._entries
        home[name] = Entry(name, target, source)

    @functools.cached_property
    def built_in(self) -> dict[str, Entry[T]]:
        """What the package's modules register, by name; read from their source."""
        found: dict[str, Entry[T]] = {}
        package = importlib.import_module(self.package)
        for item in pkgutil.iter_modules(package.__path__):
            module = f"{self.package}.{item.name}"
            docs = dict(registered_in(module))
            if not docs or not all(docs.values()):
                self._unread.append(module)
            found |= {name: Entry(name, None, module, doc) for name, doc in docs.items() if doc}
        return found

    def _import_unread(self) -> None:
        while self._unread:
            importlib.import_module(self._unread.pop())

    def _load_points(self, name: str | None = None) -> None:
        if self._points is None:
            self._points = list(importlib.metadata.entry_points(group=self.group))
        for point in [one for one in self._points if name in (None, one.name)]:
            self._points.remove(point)
            try:
                if (target := self.try_to_load(point)) is not None:
                    self._add(point.name, target, point.value.partition(":")[0])
            except RegistryError:
                self._points.append(point)  # it is told again, every time
                raise

    def try_to_load(self, point: importlib.metadata.EntryPoint) -> T | None:
        """What an entry point names; None if it cannot be loaded, for the reason in `broken`."""
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


PACKAGES = {
    "method": "greaves.methods",
    "task": "greaves.tasks",
    "model": "greaves.models.families",
    "judge": "greaves.judge.judges",
    "part": "greaves.align.parts",
    "metric": "greaves.leaderboards.estimate.metrics",
}
"""Kind of thing -> package of the built-in ones."""


@functools.cache
def registry(kind: str) -> Registry[Any]:
    """The one registry of a kind in `PACKAGES`; the kind's contract need not be imported for it."""
    return Registry(kind, PACKAGES[kind], f"greaves.{kind}s")


def _same(present: Entry[Any], target: object, source: str) -> bool:
    """Whether a thing is the one that is known: it stands where the known one was defined."""
    if present.target is None:
        return present.source == source
    return _origin(present.target) == _origin(target)


def _origin(target: object) -> str:
    """Where a thing is defined: the same for a cell of a notebook that is run again."""
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', repr(target))}"
