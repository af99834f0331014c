"""`provenance.json`: where the questions and clips of a data folder come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.data.speech.clips import clip_hash
from greaves.data.task import inside

PROVENANCE = "provenance.json"

RECONSTRUCTED = "reconstructed"
"""Label of a folder whose harmful questions are not spoken by the benchmark's own clips."""


def read_provenance(folder: Path) -> dict[str, Any]:
    """What `provenance.json` says; nothing where there is none.

    Raises:
        DataError: it is there and no JSON object.
    """
    path = folder / PROVENANCE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON ({error})", where=str(path)) from None
    if not isinstance(content, dict):
        raise DataError("not a JSON object", where=str(path))
    return content


def data_label(folder: Path) -> str:
    """What must be printed beside every number from this data folder, such as "reconstructed".

    Returns:
        The label, or "" where there is nothing to say.

    Raises:
        DataError: as `read_provenance`, or the label is not text.
    """
    label = read_provenance(folder).get("label", "")
    if not isinstance(label, str):
        raise DataError("field 'label' is not text", where=str(folder / PROVENANCE))
    return " ".join(label.split())


def run_label(label: str, folders: Mapping[str, Path]) -> str:
    """Label of a run: the recipe's own, and what must be said of its data.

    Args:
        label: of the recipe.
        folders: benchmark -> its data folder.

    Returns:
        For instance "aiah: reconstructed"; labels are joined by "; ".
    """
    said = [
        f"{name}: {data_label(folder)}" for name, folder in folders.items() if data_label(folder)
    ]
    return "; ".join(filter(None, [label, *said]))


def changes(folder: Path) -> list[str]:
    """Files of a folder that are not those its provenance was written for, one line each."""
    known = read_provenance(folder)
    lines: list[str] = []
    files = known.get("files")
    clips = known.get("clips")
    for name, wanted in sorted(files.items()) if isinstance(files, dict) else ():
        path = inside(folder, name, str(folder / PROVENANCE))
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            lines.append(f"{name}: not the file that {PROVENANCE} tells of")
    for name, wanted in sorted(clips.items()) if isinstance(clips, dict) else ():
        path = inside(folder, name, str(folder / PROVENANCE))
        if not path.is_file() or clip_hash(path) != wanted:
            lines.append(f"{name}: not the clip that {PROVENANCE} tells of")
    return lines
