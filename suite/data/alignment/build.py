"""Build a set: draw, rewrite, speak, write. Every stage goes on where the last build stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greaves.base.chat_api import Address, ChatOptions
from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.data.alignment.finished import write_set
from greaves.data.alignment.mirroring import outcome, rewrite_all
from greaves.data.alignment.plan import PlannedItem, SetPlan, draw_plan
from greaves.data.alignment.released import released_plan
from greaves.data.alignment.review import REVIEW, Rewritten, read_review, write_review
from greaves.data.alignment.rewriters import EndpointRewriter, PocketRewriter
from greaves.data.alignment.rewriting import Rewriter
from greaves.data.alignment.speaking import make_clips
from greaves.data.alignment.spec import BuildSpec
from greaves.data.alignment.workshop import Workshop, workshop


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
        source = spec.source
        plan = work.plan(
            lambda: released_plan(spec, source) if source.origin == "released" else draw_plan(spec),
            spec.identity(),
            redraw=spec.from_files,
        )
        items, left_out, facts = list(plan.items), dict[str, str](), dict[str, Any]()
        review: Path | None = None
        if spec.kind == "mirror" and source.origin != "released":
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
    plan: SetPlan,
    spec: BuildSpec,
    rewriter: Rewriter,
    work: Workshop,
    steps: Steps,
    review: Path,
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
        raise DataError(
            f"no question was rewritten (the first: {rewritten[0].status})",
            do="look into review.csv; try another model or more attempts",
        )
    return items, {r.harmful.id: f"rewrite {r.status}" for r in rewritten if not r.usable}


def _rewriter(spec: BuildSpec) -> Rewriter:
    chosen = spec.rewriter
    if chosen.endpoint == "embedded":
        return PocketRewriter()
    options = ChatOptions(concurrency=chosen.parallel, timeout=chosen.timeout, first_wait=0.5)
    address = Address(chosen.model, chosen.endpoint)
    return EndpointRewriter(address, chosen.attempts, spec.seed, options)
