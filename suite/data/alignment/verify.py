"""Verify a set as it lies: what the manifest says, every clip, every pair."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.data.alignment.rewriting import MOST_CHANGED, words_changed
from greaves.data.alignment.sets import MANIFEST, AlignmentData, load_alignment_data, read_manifest
from greaves.data.speech.clips import clip_fault, clip_hash
from greaves.data.tables import file_hash
from greaves.data.task import inside


@dataclass(frozen=True)
class Verified:
    """A set and what is wrong with it.

    Attributes:
        data: as a method would load it.
        faults: one line each, by name; empty for a good set.
        left_out: id -> reason, as the manifest has it.
    """

    data: AlignmentData
    faults: tuple[str, ...]
    left_out: dict[str, str]


def verify(folder: Path) -> Verified:
    """Verify a set.

    Raises:
        DataError: the manifest or a line cannot be read at all, or a path leaves the folder.
    """
    manifest = read_manifest(folder)
    kind = str(manifest.get("kind") or folder.resolve().name)
    data = load_alignment_data(folder, kind)
    faults: list[str] = []
    file = str(manifest.get("questions_file", "pairs.jsonl"))
    lines = inside(folder, file, str(folder / MANIFEST))
    if not lines.is_file() or file_hash(lines) != manifest.get("sha256"):
        faults.append(f"{file}: not the file that the manifest was written for")
    counts = Counter(item.kind for item in data.items)
    if manifest.get("counts") != dict(counts):
        faults.append(f"{MANIFEST}: counts {manifest.get('counts')}, found {dict(counts)}")
    faults += _clip_faults(folder, manifest, data)
    if kind == "mirror":
        faults += _pair_faults(data)
    if kind == "basic":
        faults += [f"{item.id}: there is no response" for item in data.items if not item.response]
    left_out = manifest.get("left_out")
    known = left_out if isinstance(left_out, dict) else {}
    return Verified(data, tuple(faults), {str(k): str(v) for k, v in known.items()})


def _clip_faults(folder: Path, manifest: dict[str, Any], data: AlignmentData) -> list[str]:
    faults: list[str] = []
    hashes = manifest.get("clips")
    root = folder.resolve()
    for item in data.items:
        path = Path(item.clip)
        fault = clip_fault(path)
        if fault:
            faults.append(f"{item.id}: {fault}")
        # Embedded sets name no hashes of clips.
        if isinstance(hashes, dict):
            wanted = hashes.get(path.relative_to(root).as_posix())
            if wanted != clip_hash(path):
                faults.append(f"{item.id}: the clip is not the one that was built")
    return faults


def _pair_faults(data: AlignmentData) -> list[str]:
    faults: list[str] = []
    harmful = {item.pair: item for item in data.harmful if item.pair}
    for item in data.benign:
        partner = harmful.get(item.pair)
        if partner is None:
            continue
        changed = words_changed(partner.text, item.text)
        if not 1 <= changed <= MOST_CHANGED:
            faults.append(f"{item.id}: {changed} words differ from {partner.id}")
    return faults
