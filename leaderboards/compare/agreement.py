"""Judge agreement: what judges, people among them, said of the same responses."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from greaves.base.records import Record, Verdict
from greaves.leaderboards.estimate import statistics
from greaves.leaderboards.estimate.metric import PERCENT
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED

TOGETHER = "*"
"""Stands for the names of judges where all of them are taken together."""

Unit = Sequence[str | None]
"""What each judge said of one response; None where it said nothing."""


class Agreement(Record):
    """Two judges on one task, or on all tasks they share (`task` None); or all judges (`TOGETHER`).

    Attributes:
        agreement: share (%) of responses, of all judges: of pairs of judges, with the same outcome;
            mean over questions.
        low, high: ends of its 95 % interval over questions.
        alpha: Krippendorff's alpha for nominal data: 1 is perfect, 0 is chance; None where all used
            only one outcome, which leaves nothing to agree on.
        n_questions: questions with a response that both (two of all) scored.
        n_responses: responses that both (two of all) scored.
        n_left_out: responses that both saw and at least one left unscored; of all judges: responses
            that fewer than two scored.
        disagreements: "outcome of A / outcome of B" -> responses, most first; empty for all judges.
    """

    judge_a: str
    judge_b: str
    task: str | None
    agreement: float
    low: float
    high: float
    alpha: float | None
    n_questions: int
    n_responses: int
    n_left_out: int
    disagreements: dict[str, int]


def agreements(
    verdicts: Iterable[Verdict], *, counted: bool = False, seed: int = DEFAULT_SEED
) -> list[Agreement]:
    """Agreement of every two judges, and of all together if there are more; in all, and by task.

    Chat verdicts are scores, not outcomes, and are left out. An unscored response is missing: it
    says nothing about whether two judges agree.

    Args:
        counted: compare only what a metric counts: harmful or not to a harmful question, refused or
            not to a benign one.

    Returns:
        Nothing for judges that share no response.
    """
    by_judge: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind != "chat":
            by_judge.setdefault(verdict.judge, {})[verdict.key] = verdict
    groups = list(itertools.combinations(sorted(by_judge), 2))
    found: list[Agreement] = []
    for a, b in groups:
        found += _by_task((a, b), [by_judge[a], by_judge[b]], counted, seed)
    if len(groups) > 1:
        found += _by_task((TOGETHER, TOGETHER), list(by_judge.values()), counted, seed)
    return found


def krippendorff_alpha(units: Iterable[Unit]) -> float:
    """Krippendorff's alpha, nominal data, any number of observers, values missing or not.

    1 - observed / expected disagreement (Krippendorff 2011, section C). A unit that fewer than two
    observers have valued says nothing and is left out. NaN where all values are the same.

    Args:
        units: for each unit what every observer says, None where it is missing.
    """
    totals: Counter[str] = Counter()
    same = 0.0
    for unit in units:
        values = Counter(value for value in unit if value is not None)
        m = values.total()
        if m < 2:
            continue
        totals += values
        same += sum(count * (count - 1) for count in values.values()) / (m - 1)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    return 1.0 - (n - 1) * (n - same) / expected if expected else math.nan


def _by_task(
    names: tuple[str, str], judges: Sequence[Mapping[str, Verdict]], counted: bool, seed: int
) -> list[Agreement]:
    """All tasks that two judges share, then each; a single task stands for all."""
    seen = Counter(key for judge in judges for key in judge)
    shared: dict[str, list[Verdict | None]] = {
        key: [judge.get(key) for judge in judges] for key in sorted(seen) if seen[key] > 1
    }
    tasks = sorted({_first(row).task for row in shared.values()})
    found = []
    for task in [None, *tasks] if len(tasks) > 1 else tasks:
        rows = [row for row in shared.values() if task in (None, _first(row).task)]
        one = _agreement(names, task, rows, counted, seed)
        found += [one] if one else []
    return found


def _agreement(
    names: tuple[str, str],
    task: str | None,
    rows: Sequence[Sequence[Verdict | None]],
    counted: bool,
    seed: int,
) -> Agreement | None:
    """None where no two judges scored the same response."""
    units: list[Unit] = []
    questions: dict[tuple[str, str], list[float]] = {}
    apart: Counter[str] = Counter()
    for row in rows:
        unit = [_said(verdict, counted) for verdict in row]
        pairs = list(itertools.combinations([value for value in unit if value is not None], 2))
        if not pairs:
            continue
        units.append(unit)
        first = _first(row)
        same = math.fsum(a == b for a, b in pairs) / len(pairs)
        questions.setdefault((first.task, first.question_id), []).append(same)
        if TOGETHER not in names:
            apart.update(f"{a} / {b}" for a, b in pairs if a != b)
    if not units:
        return None
    shares = [math.fsum(same) / len(same) for same in questions.values()]
    estimate = statistics.rate(shares, seed=seed).times(PERCENT)
    alpha = krippendorff_alpha(units)
    return Agreement(
        judge_a=names[0],
        judge_b=names[1],
        task=task,
        agreement=estimate.value,
        low=estimate.low,
        high=estimate.high,
        alpha=None if math.isnan(alpha) else alpha,
        n_questions=len(questions),
        n_responses=len(units),
        n_left_out=len(rows) - len(units),
        disagreements=dict(apart.most_common()),
    )


def _said(verdict: Verdict | None, counted: bool) -> str | None:
    if verdict is None or verdict.outcome == "unscored":
        return None
    if not counted:
        return verdict.outcome
    return "counts" if verdict.value else "does not count"


def _first(row: Sequence[Verdict | None]) -> Verdict:
    return next(verdict for verdict in row if verdict is not None)
