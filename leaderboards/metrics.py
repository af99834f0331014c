"""The metrics of a leaderboard, their units, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from greaves.records import Kind

Metric = Literal["asr", "orr", "nsi", "avg_nsi", "hs"]

PERCENT = 100.0
LEVELS: Mapping[Kind, Metric] = {"harmful": "asr", "benign": "orr", "chat": "hs"}

_LOWER_IS_BETTER = frozenset({"asr", "orr"})


def unit(metric: Metric) -> float:
    """What turns an estimate into what is printed: 100 for shares, 1 for scores."""
    return 1.0 if metric == "hs" else PERCENT


def advantage(metric: Metric, value: float) -> float:
    """`value` with the sign that makes more better."""
    return -value if metric in _LOWER_IS_BETTER else value
