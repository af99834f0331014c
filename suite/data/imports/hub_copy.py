"""A copy of a dataset of clips from the Hugging Face hub: Parquet files, or the clips themselves.

The column read is `audio`, a struct of `bytes` and `path`; that is how `garak-llm/
audio_achilles_heel` is read by garak and by PyRIT, which know of no column with the questions in
words. Nothing is decoded here: the bytes are written as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greaves.base.errors import DataError
from greaves.base.store import write_bytes
from greaves.data.tables import parquet_rows

HUB = "hub:"
"""What the name of a dataset on the hub begins with, to tell it from a folder."""

COLUMN = "audio"


def hub_folder(source: str, into: Path) -> tuple[Path, dict[str, Any]]:
    """Folder of a hub copy, fetched if it is named `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`.

    Args:
        source: such a name, or a folder.
        into: where it is fetched to; what is there already is not fetched again.

    Returns:
        The folder, and what provenance says of it.

    Raises:
        DataError: the hub is out of reach, or has no such dataset.
    """
    if not source.startswith(HUB):
        return Path(source), {"source": Path(source).resolve().name}
    from huggingface_hub import HfApi, snapshot_download

    name, _, revision = source.removeprefix(HUB).partition("@")
    try:
        commit = HfApi().dataset_info(name, revision=revision or None).sha
        snapshot_download(name, repo_type="dataset", revision=commit, local_dir=into)
    except Exception as error:  # network, authorisation, name, revision: all the user's to check
        raise DataError(
            f"the dataset cannot be fetched ({type(error).__name__})",
            where=source,
            do="check the name, or fetch it elsewhere and give the folder",
        ) from None
    return into, {"source": name, "revision": commit}


def clips_of(folder: Path, into: Path) -> Path:
    """Folder with the clips as files: `folder`, or `into` if they lie in Parquet files.

    Raises:
        DataError: a file is not Parquet, or has no column `audio` of bytes and names.
    """
    tables = sorted(folder.rglob("*.parquet"))
    for number, table in enumerate(tables):
        empty = True
        for row in parquet_rows(table):
            empty = False
            if COLUMN not in row:
                raise DataError(
                    f"column {COLUMN!r} is missing",
                    where=str(table),
                    do=f"there are: {', '.join(row)}",
                )
            # A folder of its own each, so that two clips of one name are noticed.
            _write_clip(row[COLUMN], table, into / f"{number:03d}")
        if empty:
            raise DataError("there are no rows", where=str(table))
    return into if tables else folder


def _write_clip(sound: Any, table: Path, into: Path) -> None:
    data, path = (sound.get("bytes"), sound.get("path")) if isinstance(sound, dict) else (0, 0)
    if not isinstance(path, str) or not isinstance(data, bytes | None):
        raise DataError(f"column {COLUMN!r} does not hold bytes and path", where=str(table))
    name = Path(path).name  # never a folder of the dataset's choosing
    if not name:
        raise DataError(f"{path[:80]!r} cannot be the name of a clip", where=str(table))
    target = into / name
    if target.exists() and target.read_bytes() != (data or b""):
        target = into / "again" / name  # two clips of one name: `find_clips` says so
    write_bytes(target, data or b"")
