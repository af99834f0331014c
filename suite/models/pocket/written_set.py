"""How an embedded data folder is written: clips, lines, manifest."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greaves.base.store import as_lines
from greaves.data.pocket.grammar import SPLIT_SEED
from greaves.data.speech.voices import EspeakVoice, espeak_version
from greaves.models.pocket.clips import encode_clip
from greaves.models.pocket.synthesis import speak

Row = dict[str, Any]

LICENCE = (
    "CC0-1.0: synthetic speech made by the Greaves authors with espeak-ng from the pocket grammar"
)


def record_clip(
    folder: Path, path: str, text: str, voices: Sequence[EspeakVoice], chooser: random.Random
) -> str:
    """Speaks `text` into `folder/path` in one of the voices and returns that voice's label."""
    voice = chooser.choice(voices)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_clip(speak(voice, text)))
    return voice.label


def write_lines(
    folder: Path,
    name: str,
    rows: list[Row],
    seed: int,
    counts: Mapping[str, int],
    **facts: Any,
) -> None:
    """Writes a set's lines and its manifest; `facts` are further fields of the manifest."""
    text = as_lines(rows)
    (folder / name).write_text(text, encoding="utf-8")
    write_manifest(folder, name, seed, counts, **facts)


def write_manifest(
    folder: Path, name: str, seed: int, counts: Mapping[str, int], **facts: Any
) -> None:
    """Writes `manifest.json` beside the file of questions `name`."""
    manifest = {
        "questions_file": name,
        "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        "counts": dict(counts),
        "seed": seed,
        "split_seed": SPLIT_SEED,
        "speech": f"espeak-ng {espeak_version().split()[0]}",
        "licence": LICENCE,
        **facts,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
