"""Small data folders: the first few embedded questions and pairs, with their clips."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from greaves.data.folders import EMBEDDED


def copy_questions(folder: Path, harmful: int, benign: int) -> Path:
    """An AIAH data folder with the first few embedded evaluation questions."""
    source = EMBEDDED / "aiah"
    rows = [json.loads(line) for line in (source / "questions.jsonl").read_text().splitlines()]
    chosen = [row for row in rows if row["kind"] == "harmful"][:harmful]
    chosen += [row for row in rows if row["kind"] == "benign"][:benign]
    (folder / "clips").mkdir(parents=True)
    for row in chosen:
        shutil.copyfile(source / row["clip"], folder / row["clip"])
    lines = "".join(json.dumps(row) + "\n" for row in chosen)
    (folder / "questions.jsonl").write_text(lines)
    return folder


def copy_pairs(folder: Path, pairs: int, kind: str = "mirror") -> Path:
    """An alignment set with the first few embedded harmful questions, and as many benign ones."""
    source = EMBEDDED / kind
    lines = (source / "pairs.jsonl").read_text().splitlines()[: 2 * pairs]
    (folder / "clips").mkdir(parents=True)
    for line in lines:
        name = json.loads(line)["path"]
        shutil.copyfile(source / name, folder / name)
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return folder
