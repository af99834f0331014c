"""Models and alignment data by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from weakref import WeakKeyDictionary

from greaves.align.method import DataKind
from greaves.base.errors import DataError, RecipeError
from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.folders import data_folder
from greaves.models.contract import LALM, MODELS
from greaves.recipe.schema import ModelSpec

POCKET = "pocket"

_LOADED: WeakKeyDictionary[LALM, ModelSpec] = WeakKeyDictionary()


def load_model(name: str, **options: Any) -> LALM:
    """Loads a model.

    Args:
        name: a name that `greaves models` lists, or `openai:MODEL@URL`.
        options: what the model takes, such as `path="/models/qwen2-audio"` or `device="cuda"`.

    Raises:
        RegistryError: there is no such model.
        RecipeError: it does not take these options.
        ModelError: it cannot be loaded.

    Example:
        >>> model = greaves.load_model("pocket")  # doctest: +SKIP
    """
    load = MODELS.get(name)
    try:
        model = load(**options)
    except TypeError as error:
        raise RecipeError(f"model {name!r}: {error}") from None
    _LOADED[model] = ModelSpec(model=name, options=options, resources=None)
    return model


def spec_of(model: LALM) -> ModelSpec:
    """How a model was loaded; for one that `load_model` did not load, only its name."""
    found = _LOADED.get(model, ModelSpec(model=model.name, resources=None))
    safe = "".join(c if c.isalnum() or c in "._+-" else "-" for c in model.name)
    return found.model_copy(update={"name": safe.strip("._+-")[:80]})


def load_data(where: str | Path, kind: DataKind | None = None, *, limit: int = 0) -> AlignmentData:
    """Loads alignment data, which methods learn from.

    Args:
        where: "basic", "mirror" or "parallel" for the embedded set of the pocket LALM; or a folder
            with `pairs.jsonl` and its clips (docs/alignment-data.md).
        kind: which of the three a folder holds; the folder's own name if it is one of them.
        limit: only the first questions; 0 takes all.

    Raises:
        DataError: there is no such folder, its kind is unknown, or a file, field or clip is broken.

    Example:
        >>> data = greaves.load_data("mirror")  # doctest: +SKIP
    """
    kinds = get_args(DataKind)
    embedded = str(where) in kinds and not Path(where).is_dir()
    found = kind or Path(where).name
    if found not in kinds:
        what = "the kind of this alignment data is not known"
        raise DataError(what, where=str(where), do=f"give `kind`: {', '.join(kinds)}")
    folder = data_folder(POCKET if embedded else str(where), found, Path.cwd())
    data = load_alignment_data(folder, found)
    return replace(data, items=data.items[:limit]) if limit else data
