"""ASR, attack success rate; its change under a stress."""

from __future__ import annotations

from dataclasses import replace

from greaves.leaderboards.estimate.metric import (
    PERCENT,
    Case,
    Head,
    Level,
    Measured,
    Metric,
    level_parts,
    register_metric,
)
from greaves.leaderboards.estimate.net import mode_heading
from greaves.leaderboards.estimate.statistics import any_rate
from greaves.leaderboards.read.means import Means
from greaves.leaderboards.read.slices import Slice

JSR = "jsr"
"""The task on which ASR is called JSR: harmful questions under the prompt of a jailbreak."""


@register_metric("asr")
class Asr(Level):
    """Share of harmful responses to harmful questions."""

    name, title, order, better = "asr", "ASR", 10.0, "lower"
    kind = "harmful"
    by_mode = flips = any_response = True

    def measured(self, one: Slice, seed: int) -> Measured:
        found = any_rate(one.responses(), seed=seed).times(PERCENT)
        return replace(super().measured(one, seed), any_response=found)

    def heading(self, head: Head) -> str:
        if head.task == JSR:
            return head.title.replace("ASR", "JSR")
        return mode_heading(*head)


@register_metric("asr_change")
class AsrChange(Metric):
    """ASR after a stress minus ASR before it, paired by question."""

    name, title, order, better = "asr_change", "ASR change", 115.0, "lower"
    by_mode = stressed = True

    def measure(self, case: Case) -> list[Measured]:
        asr, found = Asr(), []
        for task, after in case.own.slices.items():
            earlier = case.before.slices.get(task) if case.before else None
            if earlier and asr.asks(after.key):
                (now,), (then,) = level_parts(after), level_parts(earlier)
                changes = Means.of(now.means).minus(Means.of(then.means)).present
                found.append(Measured([after], self.difference(changes, case.seed), len(changes)))
        return found

    def heading(self, head: Head) -> str:
        return Asr().heading(head)
