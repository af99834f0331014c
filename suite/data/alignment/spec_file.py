"""A spec from a YAML recipe, from options of the command line, or from both."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from greaves.base.errors import RecipeError
from greaves.base.yaml_lines import read_yaml
from greaves.data.alignment.spec import (
    BeaverTailsSpec,
    BuildSpec,
    ReleasedSpec,
    RewriterSpec,
    VoiceSpec,
)

_VARIANTS = ("beavertails", "pocket", "released")


def read_spec(path: Path | None, options: dict[str, Any]) -> BuildSpec:
    """A recipe file with the command line's options laid over it.

    Args:
        path: YAML; its folders are relative to it. None for options alone.
        options: fields, nested as in the recipe; folders are relative to the working folder.

    Raises:
        RecipeError: not YAML, or a field is unknown or wrong; names file and field.
    """
    content = _anchored(_content(path), path.parent) if path else {}
    where = str(path) if path else "options"
    merged = _laid_over(content, _anchored(options, Path.cwd()))
    source = merged.setdefault("source", {})
    if isinstance(source, dict):
        source.setdefault("from", "beavertails")
    try:
        return BuildSpec.model_validate(merged)
    except ValidationError as error:
        raise _in_words(error, where) from None


def _content(path: Path) -> dict[str, Any]:
    _, content = read_yaml(path)
    if not isinstance(content, dict):
        raise RecipeError("a recipe is a mapping of fields", where=str(path))
    return content


def _anchored(content: dict[str, Any], base: Path) -> dict[str, Any]:
    """Relative folders become absolute."""

    def anchored(name: Any) -> Any:
        return str((base / Path(name).expanduser()).resolve()) if isinstance(name, str) else name

    source = content.get("source")
    if isinstance(source, dict):
        source = dict(source)
        dataset = source.get("dataset")
        if isinstance(dataset, str) and dataset.startswith((".", "~")):
            source["dataset"] = anchored(dataset)
        if source.get("folder"):
            source["folder"] = anchored(source["folder"])
        content = {**content, "source": source}
    mirror = content.get("mirror")
    if isinstance(mirror, str) and mirror and Path(mirror).parts[:1] != ("pocket",):
        content = {**content, "mirror": anchored(mirror)}
    return content


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        both = isinstance(value, dict) and isinstance(under, dict)
        merged[name] = _laid_over(under, value) if both and under is not None else value
    return merged


def _in_words(error: ValidationError, where: str) -> RecipeError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in _VARIANTS]
    what, do = first["msg"].removeprefix("Value error, "), ""
    if first["type"] == "extra_forbidden":
        what = f"unknown field {place[-1]!r}"
        forms = (BuildSpec, BeaverTailsSpec, ReleasedSpec, RewriterSpec, VoiceSpec)
        known = {name for form in forms for name in form.model_fields} - {"origin"}
        near = difflib.get_close_matches(place[-1], sorted(known), n=1)
        do = f"did you mean {near[0]!r}?" if near else "see docs/alignment-data.md"
    elif first["type"] == "missing":
        what = f"field {place[-1]!r} is missing"
    field = ".".join(place)
    return RecipeError(
        what[0].lower() + what[1:], where=f"{where}: {field}" if field else where, do=do
    )
