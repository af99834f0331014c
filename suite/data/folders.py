"""Names of data in recipes: "pocket" for what ships with the package, or a folder.

"pocket" means the benchmark's own embedded set; "pocket/validation" names another one, here the
validation split of the training questions, on which hyper-parameters are chosen.
"""

from __future__ import annotations

from pathlib import Path

from greaves.base.errors import DataError

EMBEDDED = Path(__file__).resolve().parents[1] / "models" / "pocket" / "data"
"""Resolved, since an editable install may be a tree of links."""


def data_folder(name: str, part: str, base: Path) -> Path:
    """Folder that a recipe's `data:` means.

    Args:
        name: "pocket" or "pocket/<set>" (what ships with the package), or a path, relative to
            `base`.
        part: benchmark or kind of training data, e.g. "aiah", whose embedded set "pocket" means.
        base: folder of the recipe.

    Raises:
        DataError: there is no such folder.
    """
    first, *rest = Path(name).parts or ("",)
    try:
        if first == "pocket" and len(rest) <= 1:
            folder = EMBEDDED / (rest[0] if rest else part.replace("-", "_"))
        else:
            folder = (base / Path(name).expanduser()).resolve()
        found = folder.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, unknown ~user, a loop
        raise DataError(f"no name of a folder ({error})", where=repr(name[:80])) from None
    if not found:
        raise DataError("there is no such data folder", where=str(folder), do="check `data:`")
    return folder
