"""The metrics of a leaderboard, their units, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from greaves.base.records import Kind
from greaves.leaderboards.read.slice import Slice

Metric = Literal[
    "asr",
    "orr",
    "nsi",
    "avg_nsi",
    "hs",
    "asr_after",
    "asr_change",
    "orr_after",
    "hs_after",
    "nsi_after",
    "avg_nsi_after",
    "text",
    "text_change",
    "text_raw",
    "text_raw_change",
]
"""`_after`: of the method under a stress; `asr_change`: after minus before, paired by question.
`text`: a metric of a text task that is a share; `text_raw`: one that is not; their changes are
against vanilla, paired by document."""

HS_TASK = "air-bench-chat"
"""The chat task that is HS where several are there: AIR-Bench's speech part (RRS, section 5)."""

PERCENT = 100.0
LEVELS: Mapping[Kind, Metric] = {"harmful": "asr", "benign": "orr", "chat": "hs"}
AFTER: Mapping[Metric, Metric] = {
    "asr": "asr_after",
    "orr": "orr_after",
    "hs": "hs_after",
    "nsi": "nsi_after",
    "avg_nsi": "avg_nsi_after",
}
"""Metric -> the same after a stress."""

_BEFORE: Mapping[Metric, Metric] = {after: metric for metric, after in AFTER.items()}
_LOWER_IS_BETTER = frozenset({"asr", "orr", "asr_change"})


def plain(metric: Metric) -> Metric:
    """The metric without regard to stress: `asr` for `asr_after`."""
    return _BEFORE.get(metric, metric)


def is_durability(metric: Metric) -> bool:
    """Whether it tells of a method under a stress."""
    return metric in _BEFORE or metric == "asr_change"


def is_text(metric: Metric) -> bool:
    """Whether it tells of a text task."""
    return metric.startswith("text")


def name(metric: Metric) -> str:
    """As it is printed: "ASR", "Avg. NSI", "ASR after"."""
    if metric == "avg_nsi":
        return "Avg. NSI"
    if metric == "asr_change":
        return "ASR change"
    return f"{name(plain(metric))} after" if metric in _BEFORE else metric.upper()


def unit(metric: Metric) -> float:
    """What turns an estimate into what is printed: 100 for shares, 1 for scores."""
    return 1.0 if plain(metric) in ("hs", "text_raw", "text_raw_change") else PERCENT


def advantage(metric: Metric, value: float) -> float:
    """`value` with the sign that makes more better."""
    return -value if plain(metric) in _LOWER_IS_BETTER else value


def cases(one: Slice) -> tuple[float, float]:
    """The metric in the worst and in the best case, whatever the unscored responses were."""
    worst, best = {"harmful": (1.0, 0.0), "benign": (1.0, 0.0), "chat": (1.0, 10.0)}[one.key.kind]
    return one.case(worst), one.case(best)
