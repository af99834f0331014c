"""The contract of a task: what a model is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import jsonlines

from greaves.base.errors import DataError
from greaves.base.records import Kind, Mode, Question
from greaves.base.registry import Registry, registry


class Task(ABC):
    """A set of questions in one mode. Its docstring's first line is what `greaves tasks` prints.

    Attributes:
        name: name in recipes and tables; `register_task` gives it.
        version: changes whenever the task would ask differently.
        benchmark: whose data it reads; a recipe gives data, judge and sampling per benchmark.
        kind: harmful (ASR), benign (ORR) or chat (HS).
        mode: how its questions reach the model.
        licence: of the data, and of what it was made from.
        citation: the paper to cite, in one line.
        homepage: where the benchmark's authors tell of it.
        layout: what lies in a data folder, in a few words.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    benchmark: ClassVar[str]
    kind: ClassVar[Kind]
    mode: ClassVar[Mode]
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    layout: ClassVar[str] = ""

    @abstractmethod
    def questions(self, data: Path) -> list[Question]:
        """Read the questions from a data folder in the benchmark's own layout.

        Raises:
            DataError: a file, field or clip is missing or broken.
        """

    def left_out(self, data: Path) -> dict[str, str]:
        """Items of a data folder that are not asked, as their clips are broken: id -> why.

        Raises:
            DataError: as `questions`.
        """
        return {}


T = TypeVar("T", bound=Task)


TASKS: Registry[type[Task]] = registry("task")


def register_task(name: str) -> Callable[[type[T]], type[T]]:
    """Decorator that registers a task, which needs no `name` of its own then."""

    def decorate(task: type[T]) -> type[T]:
        if "name" not in vars(task):
            task.name = name
        TASKS.register(name)(task)
        return task

    return decorate


def read_json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Lines of a JSON-lines data file as (where, object), where = "file:line".

    Raises:
        DataError: the file is missing, or a line is not a JSON object.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    number = 0

    def lines(file: Iterable[str]) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(file, start=1):  # noqa: B007 - it says where a row stands
            yield line

    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            reader = jsonlines.Reader(lines(file))
            for row in reader.iter(type=dict, skip_empty=True):
                rows.append((f"{path}:{number}", row))
    except FileNotFoundError:
        do = "check the data folder in the recipe"
        raise DataError("there is no such file", where=str(path), do=do) from None
    except jsonlines.InvalidLineError as error:
        what = f"not JSON ({error.__cause__})" if error.__cause__ else "not a JSON object"
        raise DataError(what, where=f"{path}:{error.lineno}") from None
    except RecursionError:
        raise DataError("nested too deeply to be read", where=f"{path}:{number}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None
    return rows


def field(row: dict[str, Any], name: str, where: str) -> str:
    """A text field of a data row. Raises DataError if it is missing or not text."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise DataError(f"field {name!r} is missing or not text", where=where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"field {name!r} holds half a surrogate pair", where=where) from None
    return value


def optional_field(row: dict[str, Any], name: str, where: str) -> str:
    """A text field that may be left out, null or empty. Raises DataError if it is not text."""
    return field(row, name, where) if row.get(name) not in (None, "") else ""


def inside(folder: Path, name: str, where: str) -> Path:
    """A file named by a data row, there or not.

    Raises:
        DataError: the path leaves the data folder, or cannot be one.
    """
    try:
        path = (folder / name).resolve()
        path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, a loop of links
        what = f"{name[:80]!r} cannot be a path ({type(error).__name__})"
        raise DataError(what, where=where) from None
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"path {name!r} leaves the data folder", where=where, do="keep clips in it")
    return path


def kind_of(row: dict[str, Any], where: str) -> Literal["harmful", "benign"]:
    """The `kind` of a data row. Raises DataError if it is neither harmful nor benign."""
    kind = field(row, "kind", where)
    if kind == "harmful":
        return "harmful"
    if kind == "benign":
        return "benign"
    raise DataError(f"kind is {kind[:80]!r}, not harmful or benign", where=where)
