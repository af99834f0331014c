"""What one judge said of one method on one task of one model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from greaves.base.records import MODES, Kind, Mode
from greaves.base.records import VANILLA as VANILLA
from greaves.leaderboards.read.means import Means, Vector


class TaskKey(NamedTuple):
    """A task as the leaderboard needs to know it."""

    kind: Kind
    mode: Mode
    task: str


class Answers(NamedTuple):
    """What one training seed answered.

    Attributes:
        questions: [responses], places in the ids of the slice.
        values: [responses], see `value_of`; NaN if unscored.
    """

    questions: NDArray[np.int64]
    values: Vector


@dataclass(frozen=True)
class Slice:
    """What one judge said of one method on one task of one model, all training seeds together.

    Attributes:
        ids: sorted ids of all questions of the task that any method has a response to.
        answers: training seed -> what it answered.
        degenerate: responses that are no answer at all.
    """

    judge: str
    model: str
    method: str
    key: TaskKey
    ids: tuple[str, ...]
    answers: Mapping[int, Answers]
    degenerate: int = 0
    _means: dict[int | None, Means] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def seeds(self) -> list[int]:
        """Training seeds, sorted."""
        return sorted(self.answers)

    def responses(self) -> list[list[float]]:
        """The values of all responses to each question, by question id; some may have none."""
        whole = self._together(None)
        order = np.argsort(whole.questions, kind="stable")
        values = whole.values[order].tolist()
        ends = np.cumsum(np.bincount(whole.questions, minlength=len(self.ids))).tolist()
        return [values[start:end] for start, end in itertools.pairwise([0, *ends])]

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

    def cases(self) -> tuple[float, float]:
        """The metric in the worst and in the best case, whatever the unscored responses were."""
        ends = {"harmful": (1.0, 0.0), "benign": (1.0, 0.0), "chat": (1.0, 10.0)}[self.key.kind]
        worst, best = (self.filled(end).present.tolist() for end in ends)
        return math.fsum(worst) / len(worst), math.fsum(best) / len(best)

    def counts(self) -> tuple[int, int]:
        """Responses, and how many of them are unscored."""
        values = self._together(None).values
        return len(values), int(np.count_nonzero(np.isnan(values)))

    @property
    def order(self) -> tuple[str, str, bool, str, str, int, str]:
        """By judge, model, method (vanilla first) and task."""
        kind, mode, task = self.key
        return (
            *(self.judge, self.model, self.method != VANILLA, self.method),
            *(kind, MODES.index(mode), task),
        )

    def _together(self, seed: int | None) -> Answers:
        """What one training seed answered (nothing if there is no such seed), or all."""
        chosen = [self.answers[one] for one in self.seeds if seed in (None, one)]
        if len(chosen) == 1:
            return chosen[0]
        return Answers(
            np.concatenate([np.zeros(0, dtype=np.int64), *(one.questions for one in chosen)]),
            np.concatenate([np.zeros(0), *(one.values for one in chosen)]),
        )

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
