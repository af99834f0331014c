"""`provenance.json`: where the questions and clips of a data folder come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.speech.clips import clip_hash
from greaves.data.tables import file_hash, read_object
from greaves.data.task import inside

PROVENANCE = "provenance.json"

RECONSTRUCTED = "reconstructed"
"""Label of a folder whose harmful questions are not spoken by the benchmark's own clips."""


def read_provenance(folder: Path) -> dict[str, Any]:
    """What `provenance.json` says; nothing where there is none.

    Raises:
        DataError: it is there and is not a JSON object.
    """
    return read_object(folder / PROVENANCE) or {}


def data_label(folder: Path) -> str:
    """What must be printed beside every number from this data folder: "reconstructed", or "".

    Raises:
        DataError: as `read_provenance`, or the label is not text.
    """
    label = read_provenance(folder).get("label", "")
    if not isinstance(label, str):
        raise DataError("field 'label' is not text", where=str(folder / PROVENANCE))
    return " ".join(label.split())


def run_label(label: str, folders: Mapping[str, Path]) -> str:
    """The recipe's label and those of data folders, given by benchmark: "aiah: reconstructed"."""
    said = [f"{name}: {own}" for name, folder in folders.items() if (own := data_label(folder))]
    return "; ".join(filter(None, [label, *said]))


def changes(folder: Path) -> list[str]:
    """Files of a folder that are not those its provenance was written for, one line each."""
    known = read_provenance(folder)
    lines: list[str] = []
    hashes: dict[str, Callable[[Path], str]] = {"file": file_hash, "clip": clip_hash}
    for kind, hashed in hashes.items():
        listed = known.get(f"{kind}s")
        for name, wanted in sorted(listed.items()) if isinstance(listed, dict) else ():
            path = inside(folder, name, str(folder / PROVENANCE))
            if not path.is_file() or hashed(path) != wanted:
                lines.append(f"{name}: not the {kind} that {PROVENANCE} tells of")
    return lines
