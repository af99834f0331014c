"""Alignment data: questions, harmful and benign, spoken, that methods learn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from greaves.base.errors import DataError
from greaves.base.records import Record, content_hash
from greaves.data.speech.clips import clip_hash
from greaves.data.tables import label_field, read_object
from greaves.data.task import field, inside, kind_of, optional_field, read_json_lines

PAIRS = "pairs.jsonl"
MANIFEST = "manifest.json"


class Item(Record):
    """One question of a set, spoken or planned.

    Attributes:
        id: unique within the set.
        kind: harmful or benign.
        pair: joins a harmful question to its benign mirror; "" where there is none.
        category: harm category.
        text: the question in words.
        response: a response to learn (Basic), or a harmful one to begin with (sft-deep, Mirror).
    """

    id: str
    kind: Literal["harmful", "benign"]
    pair: str = ""
    category: str = ""
    text: str
    response: str | None = None


class AlignmentItem(Item):
    """One question of an alignment set; `clip` is the path of the clip that speaks it."""

    clip: str


@dataclass(frozen=True)
class AlignmentData:
    """A set: Basic, Mirror or Parallel (RRS, section 4).

    Attributes:
        kind: which of the three.
        items: in the file's order.
    """

    kind: str
    items: tuple[AlignmentItem, ...]

    @property
    def harmful(self) -> list[AlignmentItem]:
        """The harmful questions."""
        return [item for item in self.items if item.kind == "harmful"]

    @property
    def benign(self) -> list[AlignmentItem]:
        """The benign questions."""
        return [item for item in self.items if item.kind == "benign"]

    @cached_property
    def hash(self) -> str:
        """Hash of all texts and clips; not of where they lie."""
        rows = [
            [item.model_dump(exclude={"clip"}, mode="json"), clip_hash(item.clip)]
            for item in self.items
        ]
        return content_hash({"kind": self.kind, "items": rows})


def load_alignment_data(folder: Path, kind: str) -> AlignmentData:
    """Read a set: `pairs.jsonl` and its clips.

    Lines of `pairs.jsonl` are `{id, kind, pair, category, prompt, path}` (prompt and path as in the
    authors' released files), with `response` in Basic.

    Raises:
        DataError: a file, field or clip is missing, or a path leaves the folder.
    """
    items: dict[str, AlignmentItem] = {}
    for where, row in read_json_lines(folder / PAIRS):
        name = field(row, "id", where)
        if name in items:
            raise DataError(f"id {name!r} occurs twice", where=where)
        clip = inside(folder, field(row, "path", where), where)
        if not clip.is_file():
            raise DataError(f"clip {row['path']!r} is missing", where=where)
        items[name] = AlignmentItem(
            id=name,
            kind=kind_of(row, where),
            pair=label_field(row, "pair", where) if row.get("pair") not in (None, "") else "",
            category=optional_field(row, "category", where),
            text=field(row, "prompt", where),
            clip=str(clip),
            response=optional_field(row, "response", where) or None,
        )
    if not items:
        raise DataError("the set is empty", where=str(folder / PAIRS))
    return AlignmentData(kind, tuple(items.values()))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a set: what it was made from, and what is in it.

    Raises:
        DataError: there is none, which an unfinished build leaves; or it is not a JSON object.
    """
    manifest = read_object(folder / MANIFEST)
    if manifest is None:
        do = "build the set, or run the same build again to finish it"
        raise DataError("there is no manifest", where=str(folder / MANIFEST), do=do)
    return manifest
