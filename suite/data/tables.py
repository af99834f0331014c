"""Files that others wrote: JSON, and tables of which every row has a place to be named by.

Parquet is read with `datasets`, CSV and JSON with the standard library (docs/decisions/tables.md).
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.task import field, read_json_lines

TABLES = (".csv", ".json", ".jsonl", ".parquet")
"""Suffixes of tables that are read."""

Rows = list[tuple[str, dict[str, Any]]]
"""(where, row), where = "file:line", or "file: row N" with N from 0 where there are no lines."""


def read_table(path: Path) -> Rows:
    """Rows of a table, by its suffix; what is neither CSV nor Parquet is JSON or JSON lines.

    Raises:
        DataError: the file is missing, cannot be read, or a row is not a JSON object.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path)
    if suffix == ".parquet":
        return [(f"{path}: row {number}", row) for number, row in enumerate(parquet_rows(path))]
    return read_list(path) if read_text(path).lstrip().startswith("[") else read_json_lines(path)


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, some in memory at a time; nothing is decoded, no cache is left.

    Raises:
        DataError: it cannot be read as Parquet.
    """
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        try:
            table = datasets.Dataset.from_parquet(
                glob.escape(str(path.resolve())), streaming=True, cache_dir=cache
            )
            yield from table.decode(False)
        except Exception as error:  # datasets raises dozens of types, its own and pyarrow's
            what = f"cannot be read as Parquet ({' '.join(str(error).split())[:160]})"
            raise DataError(what, where=str(path)) from None


def read_list(path: Path) -> Rows:
    """Objects of a JSON list.

    Raises:
        DataError: the file is missing, cannot be read, or is not a list of JSON objects.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError("not a JSON list", where=str(path))
    rows = [(f"{path}: row {number}", row) for number, row in enumerate(content)]
    for where, row in rows:
        if not isinstance(row, dict):
            raise DataError("not a JSON object", where=where)
    return rows


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file.

    Raises:
        DataError: the file cannot be read, or is not a JSON object.
    """
    if not path.is_file() and not path.is_symlink():
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError("not a JSON object", where=str(path))
    return content


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises DataError if it is missing or cannot be read."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from None


def read_text(path: Path) -> str:
    """A text file, without a byte order mark. Raises DataError if it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        what = "there is no such file"
        raise DataError(what, where=str(path), do="check the data folder in the recipe") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def label_field(row: dict[str, Any], name: str, where: str) -> str:
    """A field that is a text or a whole number, as text. Raises DataError if it is neither."""
    value = row.get(name)
    return str(value) if type(value) is int else field(row, name, where)


def _csv(path: Path) -> Rows:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        return [(f"{path}:{reader.line_num}", dict(row)) for row in reader]
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", where=f"{path}:{reader.line_num}") from None
