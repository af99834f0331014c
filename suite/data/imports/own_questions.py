"""Questions of the user's own (our layout, or texts to be spoken), and AIAH's setting 3.

The layout of the authors' files of setting 3 is not public. So any table is read whose columns are
given on the command line where they are not called text, prompt and clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.source import speakable
from greaves.data.imports.aiah_layout import QUESTIONS, Kind, Section
from greaves.data.imports.provenance import RECONSTRUCTED, data_label, read_provenance
from greaves.data.tables import TABLES, Rows, file_hash, read_table, read_text
from greaves.data.task import field, inside, kind_of, optional_field, read_json_lines

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


def greaves_section(kind: Kind, folder: Path, licence: str) -> Section:
    """Questions of one kind from a folder in our own layout.

    Raises:
        DataError: a line is broken, or an id cannot be the name of a file.
    """
    path = folder / QUESTIONS
    items: list[PlannedItem] = []
    for where, row in read_json_lines(path):
        if kind_of(row, where) != kind:
            continue
        name = field(row, "id", where)
        if not _ID.fullmatch(name):
            what = f"id {name[:40]!r} cannot be the name of a file"
            raise DataError(what, where=where, do="use letters, digits, '.', '_' and '-'")
        items.append(_item(name, kind, folder, row, where))
    before = read_provenance(folder)
    about: dict[str, Any] = {
        "layout": "greaves",
        "source": folder.resolve().name,
        "files": {path.name: file_hash(path)},
        "licence": licence or str(before.get("licence") or "of that folder: see its own files"),
    }
    if before:
        about["before"] = before.get("parts", {}).get(kind, {})
    return Section(tuple(items), about, spoken_here=data_label(folder) == RECONSTRUCTED)


def texts_section(path: Path, licence: str) -> Section:
    """The user's own benign questions: one per line (.txt), or a table of `{text, category, clip}`.

    Those without a `clip`, a path relative to the file, are to be spoken.

    Raises:
        DataError: the file cannot be read, or a question is not text.
    """
    rows = read_table(path) if path.suffix.lower() in TABLES else _plain(path)
    items: list[PlannedItem] = []
    for number, (where, row) in enumerate(rows, start=1):
        text = " ".join(field(row, "text", where).split())
        if not speakable(text):
            raise DataError("the question is not text", where=where)
        clip = optional_field(row, "clip", where)
        items.append(
            PlannedItem(
                id=f"own-{number:04d}",
                kind="benign",
                category=optional_field(row, "category", where),
                text=text,
                clip_from=str(inside(path.parent, clip, where)) if clip else "",
            )
        )
    about = {"layout": "texts", "source": path.name, "files": {path.name: file_hash(path)}}
    about["licence"] = licence or "your own"
    return Section(tuple(items), about)


def _plain(path: Path) -> Rows:
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(f"{path}:{number}", {"text": line}) for number, line in lines if line.strip()]


FIELDS = ("text", "prompt", "clip", "category")
"""What a row must hold, the category excepted: the question in words, the text beside the clip, the
clip that spells the words out."""


def columns_of(given: str) -> dict[str, str]:
    """Names of columns from "text=Question,prompt=Template"; a field not named is its own column.

    Raises:
        DataError: a field is unknown or named twice.
    """
    columns = dict(OWN_NAMES)
    named: set[str] = set()
    for pair in filter(None, (part.strip() for part in given.split(","))):
        name, sign, column = pair.partition("=")
        if name not in FIELDS or not sign or not column or name in named:
            what = f"{pair[:80]!r} does not name a column"
            do = f"write FIELD=COLUMN, FIELD being one of {', '.join(FIELDS)}"
            raise DataError(what, where="--speech-columns", do=do)
        named.add(name)
        columns[name] = column
    return columns


OWN_NAMES = {name: name for name in FIELDS}


def _item(
    name: str,
    kind: Kind,
    folder: Path,
    row: dict[str, Any],
    where: str,
    columns: Mapping[str, str] = OWN_NAMES,
) -> PlannedItem:
    clip = str(inside(folder, field(row, columns["clip"], where), where))
    text = field(row, columns["text"], where)
    category = optional_field(row, columns["category"], where)
    return PlannedItem(id=name, kind=kind, category=category, text=text, clip_from=clip)


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
        items.append(_item(name, "harmful", path.parent, row, where, columns))
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
