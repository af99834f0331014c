"""Judge agreement: what two judges said of the same responses."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from greaves.leaderboards import statistics
from greaves.leaderboards.metrics import PERCENT
from greaves.leaderboards.statistics import DEFAULT_SEED
from greaves.records import Verdict


class Agreement(BaseModel):
    """Two judges on one task, or on all tasks they share (`task` None).

    Attributes:
        agreement: share of responses (%) with the same outcome, mean over questions.
        low: lower end of its 95 % interval over questions.
        high: upper end.
        alpha: Krippendorff's alpha for nominal data: 1 is perfect, 0 is chance; None where both
            used only one outcome, which leaves nothing to agree on.
        n_questions: questions with a response that both scored.
        n_responses: responses that both scored.
        n_left_out: responses that both saw and at least one left unscored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class _Pair(NamedTuple):
    task: str
    question: str
    outcomes: tuple[str, str]


def agreements(verdicts: Iterable[Verdict], *, seed: int = DEFAULT_SEED) -> list[Agreement]:
    """Agreement of every two judges, over all tasks and then by task.

    Chat verdicts are scores, not outcomes, and are left out. An unscored response is missing: it
    says nothing about whether two judges agree.

    Args:
        verdicts: of any number of judges.
        seed: of the bootstrap.

    Returns:
        Nothing for judges that share no response.
    """
    by_judge: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind != "chat":
            by_judge.setdefault(verdict.judge, {})[verdict.key] = verdict
    found: list[Agreement] = []
    for a, b in itertools.combinations(sorted(by_judge), 2):
        pairs = [
            _Pair(one.task, one.question_id, (one.outcome, by_judge[b][key].outcome))
            for key, one in sorted(by_judge[a].items())
            if key in by_judge[b]
        ]
        tasks = sorted({pair.task for pair in pairs})
        for task in [None, *tasks] if len(tasks) > 1 else tasks:
            shared = [pair for pair in pairs if task in (None, pair.task)]
            scored = [pair for pair in shared if "unscored" not in pair.outcomes]
            if scored:
                found.append(_agreement(a, b, task, scored, len(shared) - len(scored), seed))
    return found


def krippendorff_alpha(pairs: Sequence[tuple[str, str]]) -> float:
    """Krippendorff's alpha of two observers, nominal data, nothing missing.

    1 - observed / expected disagreement, the expected one over all pairs of values but a value with
    itself (Krippendorff 2011, section B). NaN where all values are the same.
    """
    counts = Counter(value for pair in pairs for value in pair)
    n = sum(counts.values())
    expected = n * n - sum(count * count for count in counts.values())
    observed = sum(first != second for first, second in pairs)
    return 1.0 - (n - 1) * 2 * observed / expected if expected else math.nan


def _agreement(
    a: str, b: str, task: str | None, pairs: Sequence[_Pair], left_out: int, seed: int
) -> Agreement:
    questions: dict[tuple[str, str], list[float]] = {}
    for pair in pairs:
        same = float(pair.outcomes[0] == pair.outcomes[1])
        questions.setdefault((pair.task, pair.question), []).append(same)
    shares = [math.fsum(same) / len(same) for same in questions.values()]
    estimate = statistics.rate(shares, seed=seed).times(PERCENT)
    alpha = krippendorff_alpha([pair.outcomes for pair in pairs])
    return Agreement(
        judge_a=a,
        judge_b=b,
        task=task,
        agreement=estimate.value,
        low=estimate.low,
        high=estimate.high,
        alpha=None if math.isnan(alpha) else alpha,
        n_questions=len(questions),
        n_responses=len(pairs),
        n_left_out=left_out,
    )
