"""Names of data in recipes: "pocket" for what ships with the package, or a folder."""

from __future__ import annotations

from pathlib import Path

from greaves.errors import DataError

EMBEDDED = Path(__file__).parent / "models" / "pocket" / "data"


def data_folder(name: str, part: str, base: Path) -> Path:
    """Folder that a recipe's `data:` means.

    Args:
        name: "pocket" (what ships with the package), or a path, relative to `base`.
        part: which embedded set, e.g. "aiah"; used only for "pocket".
        base: folder of the recipe.

    Raises:
        DataError: there is no such folder.
    """
    folder = EMBEDDED / part if name == "pocket" else (base / Path(name).expanduser()).resolve()
    if not folder.is_dir():
        raise DataError("there is no such data folder", where=str(folder), do="check `data:`")
    return folder
