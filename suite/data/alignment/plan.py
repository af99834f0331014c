"""From a source to the questions of a set, before anything is rewritten or spoken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.data.alignment.sets import Item, load_alignment_data, read_manifest
from greaves.data.alignment.source import SourceQuestion, load_beavertails, pocket_source
from greaves.data.alignment.spec import BeaverTailsSpec, BuildSpec
from greaves.data.folders import data_folder


class PlannedItem(Item):
    """One question that a set is to have; its id becomes the name of its clip.

    Attributes:
        clip_from: a clip to copy; "" to speak the text.
    """

    clip_from: str = ""


class SetPlan(Record):
    """What was drawn, kept so that an interrupted build goes on with the same questions.

    Attributes:
        identity: of the recipe (`BuildSpec.identity`).
        sources: for the manifest.
        items: without the rewrites, which are still to be made.
        missing: by how many questions a category falls short.
    """

    identity: dict[str, Any]
    sources: list[dict[str, Any]]
    items: tuple[PlannedItem, ...]
    missing: dict[str, int] = Field(default_factory=dict)


def draw_plan(spec: BuildSpec) -> SetPlan:
    """Draw a set's questions.

    Raises:
        DataError: the source cannot be read, or has no question of a kind.
    """
    if isinstance(spec.source, BeaverTailsSpec):
        source = load_beavertails(spec.source, spec.seed, answered=spec.kind == "basic")
    else:
        source = pocket_source(spec.seed)
    sources = [dict(source.about)]
    missing: dict[str, int] = {}
    used: set[str] = set()
    if spec.mirror:
        items, used, about = _mirrored(spec)
        sources.append(about)
    else:
        drawn, missing = source.draw_harmful(spec.per_category)
        items = [_item(spec.kind, "harmful", n, q) for n, q in enumerate(drawn)]
    if not items:
        raise DataError("the source has no harmful question", where=str(sources[0]["name"]))
    if spec.kind == "mirror":
        items = [item.model_copy(update={"pair": f"{n:04d}"}) for n, item in enumerate(items)]
    else:
        wanted = len(items)
        used |= {item.text for item in items}
        benign = source.draw_benign(wanted, used)
        if not benign:
            raise DataError("the source has no benign question", where=str(sources[0]["name"]))
        if len(benign) < wanted:
            missing["benign"] = wanted - len(benign)
        items += [_item(spec.kind, "benign", n, q) for n, q in enumerate(benign)]
    return SetPlan(identity=spec.identity(), sources=sources, items=tuple(items), missing=missing)


def _item(
    set_kind: str, kind: Literal["harmful", "benign"], number: int, question: SourceQuestion
) -> PlannedItem:
    return PlannedItem(
        id=f"{set_kind}-{kind}-{number:04d}",
        kind=kind,
        category=question.category,
        text=question.text,
        response=question.response if set_kind == "basic" else None,
    )


def _mirrored(spec: BuildSpec) -> tuple[list[PlannedItem], set[str], dict[str, Any]]:
    """A Mirror set's harmful questions, all its texts, and what a manifest says of it."""
    folder = data_folder(spec.mirror, "mirror", Path.cwd())
    data = load_alignment_data(folder, "mirror")
    items = [
        PlannedItem(
            id=f"parallel-harmful-{number:04d}",
            kind="harmful",
            category=item.category,
            text=item.text,
            clip_from=item.clip,
        )
        for number, item in enumerate(data.harmful)
    ]
    about = {
        "name": f"Mirror set {Path(spec.mirror).name}",
        "sha256": data.hash,
        "licence": read_manifest(folder).get("licence", "see that set"),
    }
    return items, {item.text for item in data.items}, about
