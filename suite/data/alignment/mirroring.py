"""Mirror's second half: every harmful question gets its benign rewrite, or is left out."""

from __future__ import annotations

from collections.abc import Sequence

from greaves.base.progress import Steps
from greaves.base.text import whole
from greaves.data.alignment.plan import PlannedItem
from greaves.data.alignment.review import Reviewed, Rewritten
from greaves.data.alignment.rewriting import Rewriter, cleaned, rewrite_fault, words_of
from greaves.data.alignment.workshop import Attempt, Workshop, each

LONGEST_REPLY = 2_000
"""Characters of a reply that are kept; no rewrite is near as long."""


def rewrite_all(
    harmful: Sequence[PlannedItem], rewriter: Rewriter, name: str, work: Workshop, steps: Steps
) -> None:
    """Ask for every rewrite that is still to be had; replies from before are not asked for again.

    Args:
        harmful: the questions.
        rewriter: who rewrites.
        name: of the rewriter, which its replies are kept under.
        work: where replies are kept, each as it comes.
        steps: progress.
    """
    known = _attempts(work, name)
    all_harmful = {tuple(words_of(item.text)) for item in harmful}

    def ask(item: PlannedItem) -> None:
        tried = list(known.get(item.text, ()))
        while len(tried) < rewriter.attempts and not (tried and not tried[-1].fault):
            reply = cleaned(whole(rewriter.rewrite(item.text, len(tried))))
            fault = rewrite_fault(item.text, reply)
            if not fault and tuple(words_of(reply)) in all_harmful:
                fault = "another harmful question of the set"
            attempt = Attempt(
                harmful=item.text,
                rewriter=name,
                number=len(tried),
                reply=reply[:LONGEST_REPLY],
                fault=fault,
            )
            work.keep_attempt(attempt)
            tried.append(attempt)

    each("rewriting", harmful, ask, rewriter.parallel, steps)


def outcome(
    harmful: Sequence[PlannedItem], name: str, work: Workshop, reviewed: dict[str, Reviewed]
) -> list[Rewritten]:
    """What came of every question, a person's review included."""
    known = _attempts(work, name)
    return [_one(item, known.get(item.text, []), reviewed.get(item.id)) for item in harmful]


def _one(item: PlannedItem, tried: list[Attempt], review: Reviewed | None) -> Rewritten:
    last = tried[-1] if tried else None
    ours = last.reply if last and not last.fault else ""
    benign, status = ours, "ok"
    if review is not None and review.benign and review.benign != ours:
        benign, status = review.benign, "edited"
    if not benign:
        status = f"failed: {last.fault}" if last else "failed: not asked"
    if review is not None and not review.accept:
        status = "rejected"
    return Rewritten(item, benign, len(tried), status)


def _attempts(work: Workshop, name: str) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in work.attempts.records:
        if attempt.rewriter == name:
            found.setdefault(attempt.harmful, []).append(attempt)
    return found
