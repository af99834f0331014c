"""AIAH's setting 3 from the authors' files: a table of prompts and clips, its columns named by you.

The layout of these files is not public. So any table is read whose columns are given on the command
line where they are not called text, prompt and clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem
from greaves.data.imports.aiah_layout import Section
from greaves.data.tables import TABLES, file_hash, read_table
from greaves.data.task import field, inside, optional_field

FIELDS = ("text", "prompt", "clip", "category")
"""What a row must hold, the category excepted: the question in words, the text beside the clip, the
clip that spells the words out."""


def columns_of(given: str) -> dict[str, str]:
    """Names of columns from "text=Question,prompt=Template"; a field not named is its own column.

    Raises:
        DataError: a field is unknown or named twice.
    """
    columns = {name: name for name in FIELDS}
    named: set[str] = set()
    for pair in filter(None, (part.strip() for part in given.split(","))):
        name, sign, column = pair.partition("=")
        if name not in FIELDS or not sign or not column or name in named:
            raise DataError(
                f"{pair[:80]!r} does not name a column",
                where="--speech-columns",
                do=f"write FIELD=COLUMN, FIELD being one of {', '.join(FIELDS)}",
            )
        named.add(name)
        columns[name] = column
    return columns


def spelled_out_section(path: Path, columns: Mapping[str, str], licence: str) -> Section:
    """Rows of a table as questions of setting 3; clips are paths relative to the table.

    Raises:
        DataError: the table cannot be read, or a row lacks a field.
    """
    if path.suffix.lower() not in TABLES:
        raise DataError(f"a table is one of {', '.join(TABLES)}", where=str(path))
    items: list[PlannedItem] = []
    prompts: dict[str, str] = {}
    for number, (where, row) in enumerate(read_table(path), start=1):
        name = f"speech-specific-{number:03d}"
        clip = inside(path.parent, field(row, columns["clip"], where), where)
        items.append(
            PlannedItem(
                id=name,
                kind="harmful",
                category=optional_field(row, columns["category"], where),
                text=field(row, columns["text"], where),
                clip_from=str(clip),
            )
        )
        prompts[name] = field(row, columns["prompt"], where)
    if not items:
        raise DataError("there are no rows", where=str(path))
    about = {
        "layout": "table",
        "source": path.name,
        "columns": dict(columns),
        "files": {path.name: file_hash(path)},
        "licence": licence or "given out by AIAH's authors on request: their terms",
    }
    return Section(tuple(items), about, prompts=prompts)
