"""Files in the layout that the RRS authors released: rows `{prompt, category, path}` and clips.

Which harmful question a benign one mirrors is not in the files. It is found again by the rule that
made them: the same category, one to three words changed, the fewest first.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from greaves.base.errors import DataError
from greaves.data.alignment.beavertails import speakable
from greaves.data.alignment.rewriting import MOST_CHANGED, words_changed, words_of
from greaves.data.alignment.spec import ReleasedSpec
from greaves.data.task import field, inside, optional_field, read_json_lines

_BENIGN_NAME = re.compile(r"benign|harmless|unharm|(?<!un)safe", re.IGNORECASE)
_HARMFUL_NAME = re.compile(r"harmful|unsafe", re.IGNORECASE)


@dataclass(frozen=True)
class ReleasedRow:
    """One row; `number` counts within its kind."""

    kind: Literal["harmful", "benign"]
    number: int
    text: str
    category: str
    clip: Path
    pair: str = ""
    response: str | None = None


@dataclass(frozen=True)
class Released:
    """All rows, harmful ones first, and what a manifest says of the files."""

    rows: tuple[ReleasedRow, ...]
    about: dict[str, Any]


def read_released(spec: ReleasedSpec, set_kind: str) -> Released:
    """Read released files.

    Args:
        spec: where they lie.
        set_kind: basic (every row needs a `response`), mirror (rows are paired) or parallel.

    Raises:
        DataError: a file or field is missing or broken, or a path leaves the folder.
    """
    folder = Path(spec.folder)
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder), do="check --released")
    rows: dict[str, list[ReleasedRow]] = {}
    hashes: dict[str, str] = {}
    kinds: tuple[Literal["harmful", "benign"], ...] = ("harmful", "benign")
    for kind in kinds:
        file = _file(folder, spec, kind)
        hashes[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        rows[kind] = [
            _row(folder, spec, kind, number, content, where, set_kind)
            for number, (where, content) in enumerate(_contents(file))
        ]
        if not rows[kind]:
            raise DataError("there are no rows", where=str(file))
    if set_kind == "mirror":
        _pair(rows["harmful"], rows["benign"])
    about = {
        "name": "released files",
        "folder": folder.name,
        "sha256": hashes,
        "rows": {kind: len(found) for kind, found in rows.items()},
        "licence": spec.licence,
    }
    return Released((*rows["harmful"], *rows["benign"]), about)


def _file(folder: Path, spec: ReleasedSpec, kind: str) -> Path:
    named = spec.harmful if kind == "harmful" else spec.benign
    if named:
        file = inside(folder, named, f"source.{kind}")
        if not file.is_file():
            raise DataError("there is no such file", where=str(file), do=f"check --{kind}")
        return file
    pattern, other = _HARMFUL_NAME, _BENIGN_NAME
    if kind == "benign":
        pattern, other = other, pattern
    found = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in (".json", ".jsonl")
        and pattern.search(file.stem)
        and not other.search(file.stem)
    ]
    if len(found) != 1:
        raise DataError(
            f"which file holds the {kind} rows cannot be told from the names",
            where=str(folder),
            do=f"name it with --{kind} FILE",
        )
    return inside(folder, found[0].name, str(folder))


def _contents(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Rows of a JSON array or of JSON lines, each with where it stands."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if not text.lstrip().startswith("["):
            return read_json_lines(file)
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read ({error})", where=str(file)) from None
    rows: list[tuple[str, dict[str, Any]]] = []
    for number, row in enumerate(content):
        where = f"{file}: row {number}"
        if not isinstance(row, dict):
            raise DataError("not a JSON object", where=where)
        rows.append((where, row))
    return rows


def _row(
    folder: Path,
    spec: ReleasedSpec,
    kind: Literal["harmful", "benign"],
    number: int,
    content: dict[str, Any],
    where: str,
    set_kind: str,
) -> ReleasedRow:
    text = field(content, "prompt", where)
    if not speakable(" ".join(text.split())):
        raise DataError("the prompt is no text", where=where)
    path = field(content, "path", where)
    return ReleasedRow(
        kind=kind,
        number=number,
        text=text,
        category=optional_field(content, "category", where),
        clip=inside(folder, str(Path(spec.clips) / path), where),
        response=field(content, "response", where) if set_kind == "basic" else None,
    )


def _pair(harmful: list[ReleasedRow], benign: list[ReleasedRow]) -> None:
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
            pair = f"{chosen:04d}"
            harmful[chosen] = replace(harmful[chosen], pair=pair)
            benign[at] = replace(row, pair=pair)
