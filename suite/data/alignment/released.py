"""Files in the layout that the RRS authors released: rows `{prompt, category, path}` and clips.

Which harmful question a benign one mirrors is not in the files. It is found again by the rule that
made them: the same category, one to three words changed, the fewest first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem, SetPlan
from greaves.data.alignment.rewriting import MOST_CHANGED, words_changed, words_of
from greaves.data.alignment.source import speakable
from greaves.data.alignment.spec import BuildSpec, ReleasedSpec
from greaves.data.tables import file_hash, read_table
from greaves.data.task import field, inside, optional_field

_NAMES = {
    "benign": re.compile(r"benign|harmless|unharm|(?<!un)safe", re.IGNORECASE),
    "harmful": re.compile(r"harmful|unsafe", re.IGNORECASE),
}


def released_plan(spec: BuildSpec, source: ReleasedSpec) -> SetPlan:
    """The questions of released files: in Basic every row needs a `response`, Mirror pairs rows.

    Raises:
        DataError: a file or field is missing or broken, or a path leaves the folder.
    """
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
            _item(source, f"{spec.kind}-{kind}-{number:04d}", kind, row, where)
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


def _item(
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
