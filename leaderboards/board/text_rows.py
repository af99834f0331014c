"""Text tasks as rows: the mean over documents of each method, and its change against vanilla.

A group of tasks (mmlu, bbh) is one column in which every document has the same weight, whatever its
task; bits_per_byte weighs a document by its bytes, as lm-eval does. Training seeds are pooled
document by document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from greaves.answer.text_tasks import TextColumn, current_columns
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.estimate import statistics
from greaves.leaderboards.estimate.metric import PERCENT
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED, Estimate, Vector
from greaves.leaderboards.read.slices import VANILLA

Place = tuple[str, int]
"""A document: its task, and its place in it."""

_SAME = 1e-9


@dataclass
class _Answers:
    """What one method scored in one column: seed -> document -> value."""

    model: str
    method: str
    column: TextColumn
    values: dict[int, dict[Place, float]] = field(default_factory=dict)
    weights: dict[Place, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.column.task} {self.column.metric}"

    def means(self) -> dict[Place, float]:
        """Document -> mean over the training seeds that scored it, in order."""
        together: dict[Place, list[float]] = {}
        for seed in sorted(self.values):
            for place, value in self.values[seed].items():
                together.setdefault(place, []).append(value)
        return {
            place: math.fsum(together[place]) / len(together[place]) for place in sorted(together)
        }


def text_rows(folder: RunFolder, *, label: str = "", seed: int = DEFAULT_SEED) -> list[Row]:
    """Rows of all text tasks of a run, by model, method (vanilla first) and column.

    A column of which every value lies between 0 and 1 is given in %, others as they are. Every
    method but vanilla has a second row, its change against vanilla on the documents of both.
    """
    columns: dict[str, list[_Answers]] = {}
    answers = _answers(folder)
    for one in answers:
        columns.setdefault(one.title, []).append(one)
    shares = {
        title: all(0 <= value <= 1 for one in same for value in one.means().values())
        and all(weight == 1 for one in same for weight in one.weights.values())
        for title, same in columns.items()
    }
    rows = []
    for one in answers:
        share = shares[one.title]
        rows.append(_level(one, share, label, seed))
        for other in columns[one.title]:
            if (other.model, other.method) == (one.model, VANILLA) and one.method != VANILLA:
                rows += _change(one, other, share, label, seed)
    return rows


def text_notes(folder: RunFolder) -> list[str]:
    """Columns that a cell leaves out, and why; columns that are not finished."""
    lines = []
    for place in folder.cells():
        facts = place.facts()
        cell = f"{facts['model']}, {facts['method']}, seed {facts['seed']}"
        for column, scores in current_columns(place):
            if column.left_out:
                lines.append(f"{cell}: {column.task} is left out: {column.left_out}")
            elif len(scores) < len(column.keys):
                done = f"{len(scores)} of {len(column.keys)} documents"
                lines.append(f"{cell}: {column.task} has {done}; carry on with: greaves run")
    return lines


def _answers(folder: RunFolder) -> list[_Answers]:
    found: dict[tuple[str, str, str], _Answers] = {}
    for place in folder.cells():
        facts = place.facts()
        for column, scores in current_columns(place):
            for score in scores:
                if column.metric not in score.metrics:
                    continue
                name = (facts["model"], facts["method"], column.task)
                one = found.setdefault(name, _Answers(name[0], name[1], column))
                document = (score.leaf, score.doc_id)
                one.values.setdefault(facts["seed"], {})[document] = score.metrics[column.metric]
                one.weights[document] = score.weight
    return sorted(
        found.values(), key=lambda one: (one.model, one.method != VANILLA, one.method, one.title)
    )


def _level(one: _Answers, share: bool, label: str, seed: int) -> Row:
    unit = PERCENT if share else 1.0
    per_seed = {
        str(each): unit * _mean(list(values.values()), [one.weights[place] for place in values])
        for each, values in sorted(one.values.items())
    }
    return _row(one, "", one.means(), share, label, seed, per_seed)


def _change(one: _Answers, vanilla: _Answers, share: bool, label: str, seed: int) -> list[Row]:
    ours, theirs = one.means(), vanilla.means()
    differences = {place: ours[place] - theirs[place] for place in ours if place in theirs}
    return [_row(one, "_change", differences, share, label, seed)] if differences else []


def _row(
    one: _Answers,
    suffix: str,
    means: Mapping[Place, float],
    share: bool,
    label: str,
    seed: int,
    per_seed: Mapping[str, float] | None = None,
) -> Row:
    values = list(means.values())
    if share:
        bounds = (-1.0, 1.0) if suffix else (0.0, 1.0)
        estimate = statistics.average(values, bounds, seed=seed).times(PERCENT)
    else:
        estimate = _weighted(values, [one.weights[place] for place in means], seed)
    each = dict(per_seed or {})
    return Row(
        model=one.model,
        method=one.method,
        task=one.title,
        mode=None,
        metric=f"{'text' if share else 'text_raw'}{suffix}",
        **asdict(estimate),
        n_questions=len(means),
        n_responses=sum(map(len, one.values.values())),
        n_unscored=0,
        judge=f"lm-eval {one.column.lm_eval}",
        seeds=sorted(one.values),
        per_seed=each,
        label=label,
        seed_sd=stdev(each.values()) if len(each) > 1 else None,
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    products = [value * weight for value, weight in zip(values, weights, strict=True)]
    return math.fsum(products) / math.fsum(weights)


def _weighted(values: Sequence[float], weights: Sequence[float], seed: int) -> Estimate:
    """A weighted mean with its BCa interval over documents; no interval where nothing varies."""
    v, w, value = np.asarray(values), np.asarray(weights), _mean(values, weights)
    if len(v) < 2 or float(v.max() - v.min()) < _SAME:
        return Estimate(value, math.nan, math.nan)

    def mean(drawn: NDArray[Any], axis: int = -1) -> Vector:
        ids = drawn.astype(np.intp)
        return np.asarray((v[ids] * w[ids]).sum(axis=axis) / w[ids].sum(axis=axis))

    drawn: dict[str, Any] = {"n_resamples": statistics.N_RESAMPLES, "batch": statistics.BATCH}
    drawn |= {"confidence_level": statistics.CONFIDENCE, "rng": np.random.default_rng(seed)}
    found = bootstrap((np.arange(len(v)),), mean, vectorized=True, **drawn).confidence_interval
    return Estimate(value, float(found.low), float(found.high))
