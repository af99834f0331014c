"""`greaves.align`: a model and a method in, a defence out."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from greaves.align.composition import find_method
from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, RunContext
from greaves.api.loading import POCKET, load_data
from greaves.base.errors import ModelError, RecipeError
from greaves.base.machine import versions
from greaves.base.progress import Steps
from greaves.base.yaml_lines import explained
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM


def align(
    model: LALM,
    method: str | AlignmentMethod[Any],
    data: AlignmentData | str | Path | None = None,
    *,
    seed: int = 0,
    config: dict[str, Any] | None = None,
    folder: str | Path | None = None,
) -> Defence:
    """Makes a defence for a model, which is left as it was.

    Args:
        model: the vanilla model.
        method: a name that `greaves methods` lists, several joined by "+", or a method object.
        data: alignment data, or what `load_data` takes. Left out, the pocket LALM's embedded set.
        seed: of every random choice.
        config: fields of the method's config; the others keep their defaults.
        folder: where a killed training leaves its checkpoints and goes on; by default a temporary
            folder that is removed when Python ends. `Defence.save` keeps the defence.

    Returns:
        The defence; it knows how it was made.

    Raises:
        RegistryError: there is no such method.
        RecipeError: the config is wrong, or the method needs data of another kind.
        ModelError: the method needs the weights of a model that is a black box.

    Example:
        >>> defence = greaves.align(model, "rrs", data, seed=0)  # doctest: +SKIP
        >>> defence.save("defences/rrs")  # doctest: +SKIP
    """
    aligner = _configured(method, config) if isinstance(method, str) else method
    name = method if isinstance(method, str) else type(method).__name__
    needs = aligner.requires
    if (needs.weights or needs.gradients) and not model.white_box:
        raise ModelError(f"method {name!r} needs the weights of {model.name!r}, a black box")
    found = _data(model, name, needs.data, data)
    work = Path(folder) if folder else Path(tempfile.mkdtemp(dir=_kept().name))
    work.mkdir(parents=True, exist_ok=True)
    with Steps() as steps:

        def report(done: int, total: int, words: str) -> None:
            steps.update(f"{name}: {words}", done, total)

        defence = aligner.align(model, found, RunContext(work, seed, report))
    provenance = {
        "method": name,
        "version": aligner.version,
        "config": aligner.config.model_dump(mode="json"),
        "seed": seed,
        "model": model.name,
        "revision": model.revision,
        "fingerprint": model.fingerprint,
        "data_hash": found.hash if found else None,
        "versions": versions(),
    }
    return replace(defence, provenance=provenance)


def _configured(name: str, config: dict[str, Any] | None) -> AlignmentMethod[Any]:
    method = find_method(name)
    try:
        return method(method.Config.model_validate(config or {}))
    except ValidationError as error:
        wrong = explained(Path("config"), None, error, method.Config)
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise RecipeError(wrong.what, where=f"config of {name}: {field}", do=wrong.do) from None


def _data(
    model: LALM, method: str, kind: str | None, given: AlignmentData | str | Path | None
) -> AlignmentData | None:
    if kind is None:
        return None
    if given is None and model.name != POCKET:
        what = f"method {method!r} needs alignment data of kind {kind!r}"
        raise RecipeError(what, do="give a folder as `data` (docs/alignment-data.md)")
    data = given if isinstance(given, AlignmentData) else load_data(given or kind)
    if data.kind != kind:
        what = f"method {method!r} needs alignment data of kind {kind!r}, not {data.kind!r}"
        raise RecipeError(what, do=f"load it: greaves.load_data({kind!r})")
    return data


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """Holds adapters of defences that are not saved; removed when Python ends."""
    return tempfile.TemporaryDirectory(prefix="greaves-")
