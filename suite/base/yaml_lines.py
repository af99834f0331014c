"""Where in a YAML file a mistake stands: `file:line: field[0].field`, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from greaves.base.errors import RecipeError
from greaves.base.text import hint

MAX_BYTES = 1 << 20
"""Of a recipe; those of the papers have 4 KB."""

MAX_VALUES = 100_000
"""In a recipe, a value counted wherever an alias repeats it: nine lines can stand for billions."""

MAX_SCALAR = 1_000
"""Characters of a number, date or the like: reading one takes the square of its length."""


def read_yaml(path: Path) -> tuple[Any, dict[str, Any]]:
    """The file's node tree, which knows lines, and its content.

    Raises:
        RecipeError: it cannot be read, is not a mapping in YAML, or is more than a recipe can be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise RecipeError(f"longer than {MAX_BYTES:,} bytes, so no recipe", where=str(path))
        text = data.decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _values(node, {}) > MAX_VALUES:
            what = f"more than {MAX_VALUES:,} values, repeated ones counted"
            raise RecipeError(what, where=str(path))
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise RecipeError("nested too deeply to be read", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = f"not YAML ({getattr(error, 'problem', None) or error})"
        raise RecipeError(what, where=where) from None
    if not isinstance(content, dict):
        raise RecipeError("a recipe is a mapping of fields", where=str(path))
    return node, content


def _values(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out. Raises RecursionError for a loop."""
    if id(node) not in known:
        inner: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        known[id(node)] = 1 + sum(_values(one, known) for one in inner)
    return known[id(node)]


class _Loader(yaml.SafeLoader):
    """A SafeLoader that says where a value such as `2026-13-45` stands."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        no_text = isinstance(node, yaml.ScalarNode) and not node.tag.endswith((":str", ":binary"))
        if no_text and len(node.value) > MAX_SCALAR:
            raise self._unreadable(node, "it is too long")
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise self._unreadable(node, error) from None

    @staticmethod
    def _unreadable(node: yaml.Node, why: object) -> yaml.constructor.ConstructorError:
        what = f"a value that cannot be read: {why}"
        return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def explained(
    path: Path,
    node: Any,
    error: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str | int, ...] = (),
) -> RecipeError:
    """The first mistake that pydantic found, with its line and, for a misspelt field, a guess.

    Args:
        path, node: see `read_yaml`.
        error: from validating with `model`.
        model: what was validated.
        prefix: where in the file that stands.
    """
    first = error.errors()[0]
    location = (*prefix, *first["loc"])
    what, do = first["msg"].lower(), ""
    if first["type"] == "extra_forbidden":
        what = f"unknown field {location[-1]!r}"
        do = hint(str(location[-1]), _fields_at(model, first["loc"][:-1]))
    elif first["type"] == "missing":
        what = f"field {location[-1]!r} is missing"
    return RecipeError(what, where=place(path, node, location), do=do)


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        forms = [field.annotation, *get_args(field.annotation)] if field else []
        inner = [one for one in forms if isinstance(one, type) and issubclass(one, BaseModel)]
        model = inner[0] if inner else model
    return sorted(model.model_fields)


def place(path: Path, node: Any, location: Sequence[str | int]) -> str:
    """`file:line: field[0].field`, as near as the file has it."""
    shown, line = "", 1
    for part in location:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and part in range(len(node.value)):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return f"{path}:{line}: {shown}" if shown else str(path)
