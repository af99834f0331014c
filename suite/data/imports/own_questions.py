"""Questions of the user's own: our layout, or plain texts that are to be spoken."""

from __future__ import annotations

import re
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
            raise DataError(
                f"id {name[:40]!r} cannot be the name of a file",
                where=where,
                do="use letters, digits, '.', '_' and '-'",
            )
        items.append(
            PlannedItem(
                id=name,
                kind=kind,
                category=optional_field(row, "category", where),
                text=field(row, "text", where),
                clip_from=str(inside(folder, field(row, "clip", where), where)),
            )
        )
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
    about = {
        "layout": "texts",
        "source": path.name,
        "files": {path.name: file_hash(path)},
        "licence": licence or "your own",
    }
    return Section(tuple(items), about)


def _plain(path: Path) -> Rows:
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(f"{path}:{number}", {"text": line}) for number, line in lines if line.strip()]
