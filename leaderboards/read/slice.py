"""What one judge said of one method on one task of one model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from greaves.base.records import MODES, Kind, Mode, Outcome, Verdict
from greaves.base.records import VANILLA as VANILLA
from greaves.leaderboards.read.means import Means, Vector

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

ValueOf: TypeAlias = Callable[[Verdict], float | None]


class TaskKey(NamedTuple):
    """A task as the leaderboard needs to know it."""

    kind: Kind
    mode: Mode
    task: str


class Answers(NamedTuple):
    """What one training seed answered, as a judge saw it.

    Attributes:
        questions: [responses], places in the ids of the slice.
        outcomes: [responses], places in `OUTCOMES`.
        scores: [responses]; NaN where there is none.
    """

    questions: NDArray[np.int64]
    outcomes: NDArray[np.int8]
    scores: Vector


@dataclass(frozen=True)
class Slice:
    """What one judge said of one method on one task of one model, all training seeds together.

    Attributes:
        ids: sorted ids of all questions of the task that any method has a response to.
        answers: training seed -> what it answered.
        value: what a verdict counts; None is missing. It is asked once for all responses of the
            slice that have the same outcome and score, with a verdict that lacks what they do not
            share (key, seed, question, sample, category, reason).
    """

    judge: str
    model: str
    method: str
    key: TaskKey
    ids: tuple[str, ...]
    answers: Mapping[int, Answers]
    value: ValueOf = attrgetter("value")
    _values: dict[int, Vector] = field(default_factory=dict, init=False, repr=False, compare=False)
    _means: dict[int | None, Means] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def by(self, value: ValueOf) -> Slice:
        """The same verdicts, counting something else."""
        return replace(self, value=value)

    @property
    def seeds(self) -> list[int]:
        """Training seeds, sorted."""
        return sorted(self.answers)

    def responses(self) -> list[list[float]]:
        """The values of all responses to each question, by question id; some may have none."""
        questions, values = self._together(None)
        by_question = values[np.argsort(questions, kind="stable")].tolist()
        ends = np.cumsum(np.bincount(questions, minlength=len(self.ids))).tolist()
        return [by_question[start:end] for start, end in itertools.pairwise([0, *ends])]

    def per_question(self, seed: int | None = None) -> Means:
        """Question id -> mean over its scored responses; questions without any are left out.

        Computed once: every comparison asks for it, and a slice is read only after it is filled.

        Args:
            seed: one training seed, or all together.
        """
        if seed not in self._means:
            questions, values = self._together(seed)
            scored = ~np.isnan(values)
            self._means[seed] = self._averaged(questions[scored], values[scored])
        return self._means[seed]

    def filled(self, value: float) -> Means:
        """Question id -> mean over all its responses, every unscored one counting `value`."""
        questions, values = self._together(None)
        unscored = np.isnan(values)
        if not unscored.any():
            return self.per_question()
        return self._averaged(questions, np.where(unscored, value, values))

    def case(self, value: float) -> float:
        """The mean over questions, had every unscored response counted `value`."""
        means = self.filled(value).present.tolist()
        return math.fsum(means) / len(means)

    def counts(self) -> tuple[int, int]:
        """Responses, and how many of them are unscored."""
        _, values = self._together(None)
        return len(values), int(np.count_nonzero(np.isnan(values)))

    @property
    def degenerate(self) -> int:
        """Responses that are no answer at all."""
        code = OUTCOMES.index("degenerate")
        return sum(int(np.count_nonzero(one.outcomes == code)) for one in self.answers.values())

    @property
    def order(self) -> tuple[str, str, bool, str, str, int, str]:
        """By judge, model, method (vanilla first) and task."""
        kind, mode, task = self.key
        return (
            *(self.judge, self.model, self.method != VANILLA, self.method),
            *(kind, MODES.index(mode), task),
        )

    def _together(self, seed: int | None) -> tuple[NDArray[np.int64], Vector]:
        """Questions and values of one training seed (nothing if there is no such seed), or all."""
        chosen = [one for one in self.seeds if seed in (None, one)]
        questions = [self.answers[one].questions for one in chosen]
        values = [self._counted(one) for one in chosen]
        return (
            np.concatenate([np.zeros(0, dtype=np.int64), *questions]),
            np.concatenate([np.zeros(0), *values]),
        )

    def _counted(self, seed: int) -> Vector:
        """What each response of one training seed counts; NaN is missing."""
        if seed not in self._values:
            _, outcomes, scores = self.answers[seed]
            values = np.empty(len(outcomes))
            for code in np.unique(outcomes).tolist():
                there = outcomes == code
                distinct, place = np.unique(scores[there], return_inverse=True)
                found = [self._value(OUTCOMES[code], score) for score in distinct.tolist()]
                values[there] = np.array(found)[place]
            self._values[seed] = values
        return self._values[seed]

    def _value(self, outcome: Outcome, score: float) -> float:
        kind, mode, task = self.key
        verdict = Verdict.model_construct(
            key="", judge=self.judge, model=self.model, method=self.method, seed=0,
            task=task, task_version="", mode=mode, kind=kind, category="", question_id="",
            sample=0, outcome=outcome, score=None if math.isnan(score) else score, reason="",
        )  # fmt: skip
        value = self.value(verdict)
        return math.nan if value is None else value

    def _averaged(self, questions: NDArray[np.int64], values: Vector) -> Means:
        """Means by question, each from an exact sum: no estimate depends on the order of verdicts.

        Sums of whole numbers are exact as they are.
        """
        n = np.bincount(questions, minlength=len(self.ids)).astype(np.float64)
        if np.array_equal(values, np.rint(values)):
            sums = np.bincount(questions, weights=values, minlength=len(self.ids))
        else:
            by_question: list[list[float]] = [[] for _ in self.ids]
            for question, value in zip(questions.tolist(), values.tolist(), strict=True):
                by_question[question].append(value)
            sums = np.array([math.fsum(one) for one in by_question])
        return Means(self.ids, np.divide(sums, n, out=np.full(len(n), np.nan), where=n > 0))
