"""The contract of a metric: which questions it asks, what a verdict counts, and how it is printed.

A metric is one file of `estimate/metrics/`, or one class of another package. Rows of a table carry
its name; whatever else is to be known of a row's metric is asked of `metric_of(row.metric)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from greaves.base.records import Kind, Mode, Verdict
from greaves.base.registry import Registry, registry
from greaves.leaderboards.estimate.paired import Part, Parts
from greaves.leaderboards.estimate.statistics import Estimate, average
from greaves.leaderboards.read.slices import Slice, TaskKey

PERCENT = 100.0


@dataclass(frozen=True)
class Answered:
    """What one method answered, by one judge: all before a stress, or all after one.

    Attributes:
        slices: task -> slice, by kind, mode and name.
        nsi_tasks: mode -> harmful task, and the benign task, that enter NSI (see `nsi_tasks`).
    """

    slices: Mapping[str, Slice]
    nsi_tasks: tuple[Mapping[Mode, str], str | None]


class Case(NamedTuple):
    """What a metric measures.

    Attributes:
        own: what the method answered.
        vanilla: what the vanilla model answered; None if there is nothing to compare with.
        before: what the method answered before the stress; None if it is not under one.
    """

    own: Answered
    seed: int
    vanilla: Answered | None = None
    before: Answered | None = None


class Head(NamedTuple):
    """What the head of a column is made of.

    Attributes:
        title: the metric's, which may be that of the metric after a stress.
        mode, task: of the column.
        tasks: all tasks of the table.
    """

    title: str
    mode: Mode | None
    task: str | None
    tasks: Collection[TaskKey]

    @property
    def by_task(self) -> str:
        """The title with the task's name."""
        return f"{self.title} {self.task}"


@dataclass(frozen=True)
class Measured:
    """What a metric of one method comes to, in the metric's unit.

    Attributes:
        slices: what it rests on; the first gives the row's task and mode.
        n_questions: questions it rests on.
        parts: the value as a sum over questions, for tests against other methods; none: no tests.
        per_seed: training seed -> value.
        cases: the value in the worst and in the best case of all unscored responses.
        any_response: share of questions (%) that any sampled response hits.
        over_modes: it belongs to no task and mode.
    """

    slices: Sequence[Slice]
    estimate: Estimate
    n_questions: int
    parts: Parts = ()
    per_seed: Mapping[int, float] = field(default_factory=dict)
    cases: tuple[float, float] | None = None
    any_response: Estimate | None = None
    over_modes: bool = False


Pair: TypeAlias = tuple[Sequence[Slice], Sequence[Parts]]
"""A slice of each of two runs, and the parts of each."""


class Metric(ABC):
    """One kind of column.

    Attributes:
        name: in rows, files and options.
        title: as it is printed.
        order: place among the columns.
        unit: what turns an estimate into what is printed: 100 for shares, 1 for scores.
        digits: decimals that are printed.
        better: whether lower or higher values are better.
        bounds: the least and the greatest value a question can have, before `unit`.
        meaning: a sentence for the legend; "" where the legend of all tables tells.
        by_mode: each mode has a column of its own.
        against_vanilla: measured against the vanilla model.
        sums_up: the one number by which methods are sorted, and of which seeds are told.
        stressed: tells of a method under a stress.
        of_text: of a text task, which `greaves.leaderboards.board.text_rows` measures.
        flips: `greaves compare` lists the questions whose majority outcome changed.
        any_response: rows tell the share of questions that any response hits.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[float] = 60.0
    unit: ClassVar[float] = PERCENT
    digits: ClassVar[int] = 1
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = ""
    by_mode: ClassVar[bool] = False
    against_vanilla: ClassVar[bool] = False
    sums_up: ClassVar[bool] = False
    stressed: ClassVar[bool] = False
    of_text: ClassVar[bool] = False
    flips: ClassVar[bool] = False
    any_response: ClassVar[bool] = False

    @abstractmethod
    def measure(self, case: Case) -> list[Measured]:
        """What the metric comes to, once for each row it has."""

    def compared(self, one: Answered, other: Answered) -> list[Pair]:
        """What two runs can be compared on, if anything."""
        return []

    def heading(self, head: Head) -> str:
        """The head of a column."""
        return head.title

    def advantage(self, value: float) -> float:
        """`value` with the sign that makes more better."""
        return -value if self.better == "lower" else value

    def difference(self, values: ArrayLike, seed: int) -> Estimate:
        """The mean of paired differences by question with its interval, in the metric's unit."""
        span = self.bounds[1] - self.bounds[0]
        return average(values, (-span, span), seed=seed).times(self.unit)

    def printed(self, value: float, sign: str = "") -> str:
        """`value` with the metric's digits; `sign` "+" shows it always."""
        return f"{value:{sign}z.{self.digits}f}"


class Level(Metric):
    """The mean over questions of what each question's responses count.

    Attributes:
        kind: of the questions it is measured on.
    """

    kind: ClassVar[Kind]

    def asks(self, key: TaskKey) -> bool:
        """Whether it is measured on a task."""
        return key.kind == self.kind

    def value(self, verdict: Verdict) -> float | None:
        """What a verdict counts, within `bounds`; None: missing.

        A table asks once for all responses to a task with the same outcome and score; the verdict
        it hands over holds judge, model, method, task, kind, mode, outcome and score, no more.
        """
        return verdict.value

    def of(self, one: Slice) -> Slice:
        """The slice as this metric counts it."""
        return one if type(self).value is Level.value else one.by(self.value)

    def cases(self, one: Slice) -> tuple[float, float]:
        """The metric of a slice in the worst and in the best case of all unscored responses."""
        low, high = (self.unit * one.case(end) for end in self.bounds)
        return (high, low) if self.better == "lower" else (low, high)

    def estimate(self, values: ArrayLike, seed: int) -> Estimate:
        """The mean of one value per question with its interval, in the metric's unit."""
        return average(values, self.bounds, seed=seed).times(self.unit)

    def measure(self, case: Case) -> list[Measured]:
        asked = [one for one in case.own.slices.values() if self.asks(one.key)]
        return [self.measured(self.of(one), case.seed) for one in asked]

    def measured(self, one: Slice, seed: int) -> Measured:
        """What it comes to on a slice that counts as the metric does (see `of`)."""
        means = one.per_question().present
        by_seed = {each: one.per_question(each).present.tolist() for each in one.seeds}
        per_seed = {
            each: self.unit * math.fsum(values) / len(values)
            for each, values in by_seed.items()
            if values
        }
        estimate = self.estimate(means, seed)
        return Measured([one], estimate, len(means), level_parts(one), per_seed, self.cases(one))

    def compared(self, one: Answered, other: Answered) -> list[Pair]:
        found: list[Pair] = []
        for task, first in one.slices.items():
            if task in other.slices and self.asks(first.key):
                both = [self.of(first), self.of(other.slices[task])]
                found.append((both, [level_parts(each) for each in both]))
        return found

    def heading(self, head: Head) -> str:
        alone = len({key.task for key in head.tasks if self.asks(key)}) == 1
        return head.title if alone else head.by_task


class After(Metric):
    """A metric of a method under a stress; `asr_after` is one of `asr`."""

    SUFFIX = "_after"

    stressed = True

    def __init__(self, base: Metric) -> None:
        self.base = base
        own = {
            "name": f"{base.name}{self.SUFFIX}",
            "title": f"{base.title} after",
            "order": base.order + (200 if base.against_vanilla else 100),
        }
        same = ("unit", "digits", "better", "bounds", "meaning", "by_mode", "against_vanilla")
        self.__dict__.update(own, **{name: getattr(base, name) for name in same})

    def measure(self, case: Case) -> list[Measured]:
        return self.base.measure(case._replace(before=None))

    def heading(self, head: Head) -> str:
        return self.base.heading(head)


METRICS: Registry[type[Metric]] = registry("metric")
register_metric = METRICS.register


def metrics() -> list[Metric]:
    """All metrics, by order; not those of methods under a stress that have a metric before it."""
    return sorted((METRICS.get(name)() for name in METRICS.names()), key=lambda one: one.order)


def metric_of(name: str) -> Metric:
    """The metric that a row names. Raises RegistryError if there is none."""
    base = name.removesuffix(After.SUFFIX)
    return METRICS.get(name)() if base == name else After(METRICS.get(base)())


def levels_of(key: TaskKey) -> list[Level]:
    """The levels that are measured on a task, by order."""
    return [one for one in metrics() if isinstance(one, Level) and one.asks(key)]


def level_parts(one: Slice) -> Parts:
    """A level of one slice, as a sum over questions."""
    return [Part(1.0, one.key.kind, one.per_question())]
