"""A finished set on disk: `pairs.jsonl` and `manifest.json`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greaves import __version__
from greaves.base.errors import DataError
from greaves.base.store import as_lines, write_json, write_text
from greaves.data.alignment.manifest import MANIFEST
from greaves.data.alignment.plan import PlannedItem, SetPlan
from greaves.data.alignment.sets import PAIRS
from greaves.data.alignment.workshop import MadeClip


def write_set(
    folder: Path,
    plan: SetPlan,
    items: Sequence[PlannedItem],
    clips: Mapping[str, MadeClip],
    left_out: Mapping[str, str],
    facts: Mapping[str, Any],
) -> tuple[dict[str, int], dict[str, str]]:
    """Write a set's lines and its manifest.

    A question whose clip has a fault is left out by name, and with it the other half of its pair.

    Args:
        folder: of the set.
        plan: what was drawn.
        items: the questions, rewrites included.
        clips: id -> clip.
        left_out: id -> reason, from the stages before.
        facts: further fields of the manifest (rewriter, speech).

    Returns:
        Items of each kind, and id -> reason of all that were left out.

    Raises:
        DataError: nothing is left of one kind.
    """
    reasons = dict(left_out)
    reasons.update({item.id: clips[item.id].fault for item in items if clips[item.id].fault})
    broken = {item.pair: item.id for item in items if item.pair and item.id in reasons}
    for item in items:
        if item.pair in broken and item.id not in reasons:
            reasons[item.id] = f"its pair {broken[item.pair]} is left out"
    kept = [item for item in items if item.id not in reasons]
    counts = Counter(item.kind for item in kept)
    for kind in ("harmful", "benign"):
        if not counts[kind]:
            first = next(iter(reasons.items()), ("", "none was drawn"))
            raise DataError(
                f"no {kind} question is left", where=str(folder), do=f"{first[0]}: {first[1]}"
            )
    text = as_lines(_row(item, clips[item.id]) for item in kept)
    voices = Counter(clips[item.id].voice for item in kept if clips[item.id].voice)
    manifest = {
        "questions_file": PAIRS,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "kind": plan.identity["kind"],
        "counts": {kind: counts[kind] for kind in ("harmful", "benign")},
        "categories": _by_category(kept),
        "missing": plan.missing,
        "left_out": reasons,
        "recipe": plan.identity,
        "seed": plan.identity["seed"],
        "sources": plan.sources,
        **facts,
        "voices": dict(sorted(voices.items())),
        "licence": "; ".join(str(about.get("licence", "")) for about in plan.sources).strip("; "),
        "greaves": __version__,
        "clips": {clips[item.id].path: clips[item.id].sha256 for item in kept},
    }
    write_text(folder / PAIRS, text)
    write_json(folder / MANIFEST, manifest)
    return {kind: counts[kind] for kind in ("harmful", "benign")}, reasons


def _row(item: PlannedItem, clip: MadeClip) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": item.id,
        "kind": item.kind,
        "pair": item.pair,
        "category": item.category,
        "prompt": item.text,
        "path": clip.path,
    }
    if item.response is not None:
        row["response"] = item.response
    if clip.voice:
        row["voice"] = clip.voice
    return row


def _by_category(items: Sequence[PlannedItem]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for item in items:
        found.setdefault(item.category, Counter())[item.kind] += 1
    return {category: dict(found[category]) for category in sorted(found)}
