"""Build a set: draw, rewrite, speak, write. Every stage goes on where the last build stopped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves import __version__
from greaves.base.chat_api import Address, ChatOptions
from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.store import as_lines, write_json, write_text
from greaves.data.alignment.mirroring import (
    REVIEW,
    Rewritten,
    outcome,
    read_review,
    rewrite_all,
    write_review,
)
from greaves.data.alignment.plan import PlannedItem, SetPlan, draw_plan
from greaves.data.alignment.rewriting import EndpointRewriter, PocketRewriter, Rewriter
from greaves.data.alignment.sets import MANIFEST, PAIRS
from greaves.data.alignment.spec import BuildSpec
from greaves.data.alignment.workshop import MadeClip, Workshop, make_clips, workshop


@dataclass(frozen=True)
class Built:
    """What a build came to.

    Attributes:
        folder: of the set.
        counts: items of each kind; empty where the build stopped for the review.
        left_out: id -> reason.
        missing: by how many questions a category falls short.
        review: the review file (Mirror), or None.
    """

    folder: Path
    counts: dict[str, int]
    left_out: dict[str, str]
    missing: dict[str, int]
    review: Path | None


def build(spec: BuildSpec, folder: Path, *, stop_for_review: bool = False) -> Built:
    """Build a set, or carry on with it.

    Args:
        spec: what to build.
        folder: of the set; becomes what `load_alignment_data` reads.
        stop_for_review: Mirror: stop once `review.csv` is written; the next build speaks.

    Raises:
        GreavesError: a source, rewriter or speech engine fails, or the folder holds another build.
    """
    with workshop(folder) as work, Steps() as steps:
        plan = work.plan(lambda: draw_plan(spec), spec.identity(), redraw=spec.from_files)
        items, left_out, facts = list(plan.items), dict[str, str](), dict[str, Any]()
        review: Path | None = None
        if spec.kind == "mirror" and spec.source.origin != "released":
            review = folder / REVIEW
            rewriter = _rewriter(spec)
            items, left_out = _pairs(_mirror(plan, spec, rewriter, work, steps, review))
            facts["rewriter"] = rewriter.describe()
            if stop_for_review:
                return Built(folder, {}, left_out, plan.missing, review)
        clips, speech = make_clips(items, spec.voice, spec.seed, work, steps)
        if speech is not None:
            facts["speech"] = speech
        counts, all_left_out = write_set(folder, plan, items, clips, left_out, facts)
        return Built(folder, counts, all_left_out, plan.missing, review)


def _mirror(
    plan: SetPlan, spec: BuildSpec, rewriter: Rewriter, work: Workshop, steps: Steps, review: Path
) -> list[Rewritten]:
    # Read before anything is asked: a mistake in the file must not cost requests.
    reviewed = read_review(review, {item.id: item.text for item in plan.items})
    name = spec.rewriter.model or spec.rewriter.endpoint
    rewrite_all(plan.items, rewriter, name, work, steps)
    rewritten = outcome(plan.items, name, work, reviewed)
    write_review(review, rewritten)
    return rewritten


def _pairs(rewritten: list[Rewritten]) -> tuple[list[PlannedItem], dict[str, str]]:
    """Both halves of every usable pair, and id -> reason of the others."""
    items = [half for both in rewritten if both.usable for half in both.halves()]
    if not items:
        what = f"no question was rewritten (the first: {rewritten[0].status})"
        raise DataError(what, do="look into review.csv; try another model or more attempts")
    return items, {r.harmful.id: f"rewrite {r.status}" for r in rewritten if not r.usable}


def _rewriter(spec: BuildSpec) -> Rewriter:
    chosen = spec.rewriter
    if chosen.endpoint == "embedded":
        return PocketRewriter()
    options = ChatOptions(concurrency=chosen.parallel, timeout=chosen.timeout, first_wait=0.5)
    address = Address(chosen.model, chosen.endpoint)
    return EndpointRewriter(address, chosen.attempts, spec.seed, options)


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
        items, clips: the questions, rewrites included, and id -> clip.
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
    counts = {kind: sum(i.kind == kind for i in kept) for kind in ("harmful", "benign")}
    for kind, count in counts.items():
        if not count:
            first = next(iter(reasons.items()), ("", "none was drawn"))
            what = f"no {kind} question is left"
            raise DataError(what, where=str(folder), do=f"{first[0]}: {first[1]}")
    text = as_lines(_row(item, clips[item.id]) for item in kept)
    voices = Counter(clips[item.id].voice for item in kept if clips[item.id].voice)
    manifest = {
        "questions_file": PAIRS,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "kind": plan.identity["kind"],
        "counts": counts,
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
    return counts, reasons


def _row(item: PlannedItem, clip: MadeClip) -> dict[str, Any]:
    row = item.model_dump(include={"id", "kind", "pair", "category"})
    row |= {"prompt": item.text, "path": clip.path}
    if item.response is not None:
        row["response"] = item.response
    return {**row, "voice": clip.voice} if clip.voice else row


def _by_category(items: Sequence[PlannedItem]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {item.category: Counter() for item in items}
    for item in items:
        found[item.category][item.kind] += 1
    return dict(sorted(found.items()))
