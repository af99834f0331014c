"""The questions of a set, drawn or released, before anything is rewritten or spoken.

Files in the layout that the RRS authors released are rows `{prompt, category, path}` and clips.
Which harmful question a benign one mirrors is not in them. It is found again by the rule that made
them: the same category, one to three words changed, the fewest first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.data.alignment.rewriting import MOST_CHANGED, words_changed, words_of
from greaves.data.alignment.sets import Item, load_alignment_data, read_manifest
from greaves.data.alignment.source import SourceQuestion, load_beavertails, pocket_source, speakable
from greaves.data.alignment.spec import BeaverTailsSpec, BuildSpec, ReleasedSpec
from greaves.data.folders import data_folder
from greaves.data.tables import file_hash, read_table
from greaves.data.task import field, inside, optional_field


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
    if isinstance(spec.source, ReleasedSpec):
        return _released_plan(spec, spec.source)
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


_NAMES = {
    "benign": re.compile(r"benign|harmless|unharm|(?<!un)safe", re.IGNORECASE),
    "harmful": re.compile(r"harmful|unsafe", re.IGNORECASE),
}


def _released_plan(spec: BuildSpec, source: ReleasedSpec) -> SetPlan:
    """The questions of released files: in Basic every row needs a `response`, Mirror pairs rows."""
    folder = Path(source.folder)
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder), do="check --released")
    rows: dict[str, list[PlannedItem]] = {}
    hashes: dict[str, str] = {}
    kinds: tuple[Literal["harmful", "benign"], ...] = ("harmful", "benign")
    for kind in kinds:
        file = _file(folder, source, kind)
        hashes[file.name] = file_hash(file)
        rows[kind] = [
            _released_item(source, f"{spec.kind}-{kind}-{number:04d}", kind, row, where)
            for number, (where, row) in enumerate(read_table(file))
        ]
        if not rows[kind]:
            raise DataError("there are no rows", where=str(file))
    if spec.kind == "mirror":
        _pair(rows["harmful"], rows["benign"])
    about = {
        "name": "released files",
        "folder": folder.name,
        "sha256": hashes,
        "rows": {kind: len(found) for kind, found in rows.items()},
        "licence": source.licence,
    }
    items = (*rows["harmful"], *rows["benign"])
    return SetPlan(identity=spec.identity(), sources=[about], items=items)


def _file(folder: Path, source: ReleasedSpec, kind: str) -> Path:
    named = source.harmful if kind == "harmful" else source.benign
    if named:
        file = inside(folder, named, f"source.{kind}")
        if not file.is_file():
            raise DataError("there is no such file", where=str(file), do=f"check --{kind}")
        return file
    tables = [file for file in sorted(folder.iterdir()) if file.suffix in (".json", ".jsonl")]
    other = "benign" if kind == "harmful" else "harmful"
    found = [f for f in tables if _NAMES[kind].search(f.stem) and not _NAMES[other].search(f.stem)]
    if len(found) != 1:
        what = f"which file holds the {kind} rows cannot be told from the names"
        raise DataError(what, where=str(folder), do=f"name it with --{kind} FILE")
    return inside(folder, found[0].name, str(folder))


def _released_item(
    source: ReleasedSpec,
    name: str,
    kind: Literal["harmful", "benign"],
    row: dict[str, Any],
    where: str,
) -> PlannedItem:
    text = field(row, "prompt", where)
    if not speakable(" ".join(text.split())):
        raise DataError("the prompt is not text", where=where)
    path = str(Path(source.clips) / field(row, "path", where))
    return PlannedItem(
        id=name,
        kind=kind,
        category=optional_field(row, "category", where),
        text=text,
        response=field(row, "response", where) if name.startswith("basic") else None,
        clip_from=str(inside(Path(source.folder), path, where)),
    )


def _pair(harmful: list[PlannedItem], benign: list[PlannedItem]) -> None:
    """Give each harmful row and its rewrite the same `pair`; rows without one keep ""."""
    free = set(range(len(harmful)))
    words = [set(words_of(row.text)) for row in harmful]
    for at, row in enumerate(benign):
        own = set(words_of(row.text))
        near = [
            (words_changed(harmful[n].text, row.text), n)
            for n in sorted(free)
            # A cheap bound: more words than that cannot differ.
            if harmful[n].category == row.category and len(words[n] - own) <= MOST_CHANGED
        ]
        near = [(changed, n) for changed, n in near if 1 <= changed <= MOST_CHANGED]
        if near:
            _, chosen = min(near)
            free.discard(chosen)
            pair = {"pair": f"{chosen:04d}"}
            harmful[chosen] = harmful[chosen].model_copy(update=pair)
            benign[at] = row.model_copy(update=pair)
