"""The manifest of a set: what it was made from, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from greaves.base.errors import DataError

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a set.

    Raises:
        DataError: there is none, which an unfinished build leaves; or it is no JSON object.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "there is no manifest",
            where=str(path),
            do="build the set, or run the same build again to finish it",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None
    if not isinstance(manifest, dict):
        raise DataError("not a JSON object", where=str(path))
    return manifest
