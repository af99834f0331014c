"""Verdicts sorted into slices: what one judge said of one method on one task of one model."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from greaves.align.stress.names import unstressed
from greaves.base.errors import GreavesError
from greaves.base.records import MODES, Kind, Mode, Outcome, Verdict
from greaves.base.records import VANILLA as VANILLA
from greaves.leaderboards.read.means import Means, Vector
from greaves.leaderboards.read.verdict_lines import AnyVerdict

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

ValueOf: TypeAlias = Callable[[Verdict], float | None]

_SAMPLES = 1 << 31
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}


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
        """Responses that are not an answer at all."""
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


class _Place(NamedTuple):
    """Where verdicts belong."""

    judge: str
    model: str
    method: str
    key: TaskKey
    version: str
    seed: int


@dataclass(frozen=True)
class _Part:
    """Verdicts of one place, some at a time; `samples` and `hashes` (of keys) are [responses]."""

    answers: Answers
    samples: NDArray[np.int64]
    hashes: NDArray[np.int64]


class SliceBuilder:
    """Collects verdicts, in any order, until all are there; keeps 33 bytes of each."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._parts: dict[_Place, list[_Part]] = {}

    @property
    def judges(self) -> list[str]:
        """Sorted judges of the verdicts so far."""
        return sorted({place.judge for place in self._parts})

    def keep(self, judges: Iterable[str]) -> None:
        """Forget the verdicts of all other judges."""
        chosen = set(judges)
        self._parts = {place: own for place, own in self._parts.items() if place.judge in chosen}

    def add(self, verdicts: Iterable[AnyVerdict]) -> None:
        """Take in verdicts; none of them is kept as an object."""
        found: dict[tuple[object, ...], list[AnyVerdict]] = defaultdict(list)
        for v in verdicts:
            name = (v.judge, v.model, v.method, v.seed, v.task, v.task_version, v.kind, v.mode)
            found[name].append(v)
        for own in found.values():
            v = own[0]
            key = TaskKey(v.kind, v.mode, v.task)
            place = _Place(v.judge, v.model, v.method, key, v.task_version, v.seed)
            self._parts.setdefault(place, []).append(self._part(v.task, own))

    def may_be_a_mixture(self) -> bool:
        """Whether `check` might refuse the verdicts; if not, it would not."""
        tasks: dict[tuple[str, str], tuple[TaskKey, str]] = {}
        keys: dict[str, list[NDArray[np.int64]]] = {}
        samples: dict[tuple[str, str, str, int, str], list[NDArray[np.int64]]] = {}
        for (judge, model, method, key, version, seed), parts in self._parts.items():
            what = key, version
            if tasks.setdefault((judge, key.task), what) != what:
                return True
            for part in parts:
                if ((part.samples < 0) | (part.samples >= _SAMPLES)).any():
                    return True
                keys.setdefault(judge, []).append(part.hashes)
                name = (judge, model, method, seed, key.task)
                places = part.answers.questions * _SAMPLES + part.samples
                samples.setdefault(name, []).append(places)
        return any(map(_repeats, [*keys.values(), *samples.values()]))

    def slices(self) -> list[Slice]:
        """Ordered by judge, model, method (vanilla first) and task."""
        ids = {task: tuple(sorted(numbers)) for task, numbers in self._numbers.items()}
        ids = {task: next(one for one in ids.values() if one == own) for task, own in ids.items()}
        places = {
            task: np.argsort(np.argsort(np.array(list(numbers), dtype=object)))
            for task, numbers in self._numbers.items()
        }
        found: dict[tuple[str, str, str, TaskKey], dict[int, Answers]] = {}
        for at, parts in self._parts.items():
            questions, outcomes, scores = zip(*(part.answers for part in parts), strict=True)
            name = (at.judge, at.model, at.method, at.key)
            together = places[at.key.task][np.concatenate(questions)]
            own = Answers(together, np.concatenate(outcomes), np.concatenate(scores))
            found.setdefault(name, {})[at.seed] = own
        slices = (Slice(*name, ids[name[-1].task], answers) for name, answers in found.items())
        return sorted(slices, key=attrgetter("order"))

    def _part(self, task: str, own: Sequence[AnyVerdict]) -> _Part:
        numbers, n = self._numbers.setdefault(task, {}), len(own)
        places = [numbers.setdefault(v.question_id, len(numbers)) for v in own]
        scores = (math.nan if v.score is None else v.score for v in own)
        try:
            samples = np.fromiter((v.sample for v in own), np.int64, n)
        except OverflowError:
            samples = np.full(n, -1)
        return _Part(
            Answers(
                np.array(places, dtype=np.int64),
                np.fromiter((_CODES[v.outcome] for v in own), np.int8, n),
                np.fromiter(scores, np.float64, n),
            ),
            samples,
            np.fromiter((hash(v.key) for v in own), np.int64, n),
        )


def sort_verdicts(verdicts: Iterable[AnyVerdict]) -> list[Slice]:
    """Sort verdicts into slices, ordered by judge, model, method (vanilla first) and task.

    Raises:
        GreavesError: as `check`.
    """
    known = list(verdicts)
    builder = SliceBuilder()
    builder.add(known)
    if builder.may_be_a_mixture():
        check(known)
    return builder.slices()


def check(verdicts: Iterable[AnyVerdict]) -> None:
    """Refuse verdicts of which a table would be a mixture.

    Raises:
        GreavesError: a response was judged twice by one judge, a sample was answered twice, or a
            task comes in two versions, kinds or modes.
    """
    tasks: dict[tuple[str, str], tuple[TaskKey, str]] = {}
    keys: set[tuple[str, str]] = set()
    samples: set[tuple[str, str, str, int, str, str, int]] = set()
    for v in verdicts:
        what = TaskKey(v.kind, v.mode, v.task), v.task_version
        sample = (v.judge, v.model, v.method, v.seed, v.task, v.question_id, v.sample)
        if (v.judge, v.key) in keys:
            raise _twice(v, "was judged twice")
        if sample in samples:
            raise _twice(v, f"has two responses for sample {v.sample}")
        if tasks.setdefault((v.judge, v.task), what) != what:
            said = f"task {v.task!r} comes in two versions, kinds or modes"
            do = "keep them in separate run folders"
            raise GreavesError(said, where=f"verdicts of {v.judge}", do=do)
        keys.add((v.judge, v.key))
        samples.add(sample)


def _repeats(parts: Sequence[NDArray[np.int64]]) -> bool:
    together = np.sort(np.concatenate(parts))
    return bool((together[1:] == together[:-1]).any())


def split(slices: Iterable[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Slices of methods as they are, and of methods under a stress, called by the method."""
    before, after = [], []
    for one in slices:
        method, stress = unstressed(one.method)
        if stress:
            after.append(replace(one, method=method))
        else:
            before.append(one)
    return before, sorted(after, key=attrgetter("order"))


def only(names: set[str]) -> str | None:
    """The one name of a set, or None if there are none or several."""
    return next(iter(names)) if len(names) == 1 else None


def by_model(slices: Iterable[Slice]) -> Mapping[tuple[str, str], list[Slice]]:
    """Slices of one judge and one model together, in order."""
    groups: dict[tuple[str, str], list[Slice]] = {}
    for one in slices:
        groups.setdefault((one.judge, one.model), []).append(one)
    return groups


def _twice(verdict: AnyVerdict, what: str) -> GreavesError:
    return GreavesError(
        f"question {verdict.question_id!r} {what} by {verdict.judge} ({verdict.model}, "
        f"{verdict.method}, seed {verdict.seed}, sample {verdict.sample})",
        where=f"verdicts on {verdict.task}",
        do="keep one of the two verdicts",
    )
