"""The refusal direction, layer by layer, and what hidden states have of it.

r_l = mean over harmful questions of h_l - mean over benign questions of h_l, the difference of
means of layer l's hidden states at the last prompt position, in the vanilla model; scaled to length
one. It is taken from one half of the questions and looked at on the other half, since even two
samples of the same thing are apart along their own difference of means.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.records import Mode, Question
from greaves.leaderboards.figures.inside_run import InsideRun, chosen, same_words, stem_of
from greaves.leaderboards.figures.states import Matrix, State, aligned, hidden_states
from greaves.leaderboards.read.slices import VANILLA
from greaves.models.contract import LALM

Vector = NDArray[np.float64]
Asked = dict[Mode, list[Question]]

CONFIDENCE, RESAMPLES = 0.95, 2000


def look(
    path: Path,
    *,
    methods: str | None = None,
    seed: int | None = None,
    model: str | None = None,
    benchmark: str | None = None,
    direction: Mode = "audio-text",
    split_seed: int = 0,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The numbers of the figure.

    The arguments are the options of `greaves figure refusal-direction`.

    Returns:
        Rows, one a method, mode, kind and layer: mean projection of the held-out questions with its
        95 % interval. Facts: what was looked at, seeds, the ids of either half, and for every
        method, mode and layer how far harmful and benign projections are apart.

    Raises:
        GreavesError: cells, defences or questions are missing, or the model has changed.
    """
    run = InsideRun(path, model)
    names = chosen(methods, run.methods(), path)
    states = [aligned(run, VANILLA), *(aligned(run, name, seed) for name in names)]
    asked = _asked(run, benchmark)
    if direction not in asked:
        what = f"the run has no questions in {direction} mode to take the direction from"
        raise DataError(what, where=str(path), do=f"choose with --direction: {', '.join(asked)}")
    half = fitting_half(asked[direction], seed=split_seed)
    lalm = run.load_model()
    layers = range(1, lalm.decoder_layers + 1)

    def states_of(questions: Sequence[Question], model: LALM = lalm) -> Matrix:
        return hidden_states(model, questions, run.recipe.batch_size, layers)

    means = {mode: _means(asked[mode], half, states_of) for mode in asked}
    differences = {mode: harmful - benign for mode, (harmful, benign) in means.items()}
    axis = unit(differences[direction])
    zero = np.einsum("lh,lh->l", means[direction][1], axis)  # vanilla's benign mean, layer by layer
    length = np.linalg.norm(differences[direction], axis=-1)
    gap = np.where(length > 0, length, 1.0)
    rows: list[dict[str, Any]] = []
    apart: list[dict[str, Any]] = []
    with Steps() as steps:
        for number, state in enumerate(states):
            steps.update("projections", number, len(states))
            for mode, questions in asked.items():
                held_out = [question for question in questions if question.id not in half]
                with state.defence.attached(lalm) as defended:
                    found = projections(states_of(held_out, defended), axis)
                harmful = np.array([question.kind == "harmful" for question in held_out])
                where = {"method": state.method, "seed": state.seed, "mode": mode}
                rows += _rows(where, found, harmful, zero, gap, split_seed)
                apart.append(where | _apart(found, harmful))
    return rows, {
        **run.names,
        **_facts(lalm, states, asked),
        "direction": {
            "from": direction,
            "split_seed": split_seed,
            "gap": gap.tolist(),
            "benign_mean": zero.tolist(),
            "cosine_between_modes": _cosines(differences),
            "fitted_on": sorted(half),
        },
        "bootstrap": {"seed": split_seed, "resamples": RESAMPLES, "confidence": CONFIDENCE},
        "apart": apart,
    }


def _asked(run: InsideRun, benchmark: str | None) -> Asked:
    """The run's questions by mode; benign ones are written out like the harmful ones."""
    harmful, benign = run.spoken(benchmark)
    asked: Asked = {"audio-text": [*harmful, *benign]}
    spoken = {question.id for question in harmful}
    texts = run.questions("harmful", "text-only", benchmark)
    written = [question for question in texts if question.id in spoken]
    if written:
        asked["text-only"] = [*written, *(same_words(each, written[0]) for each in benign)]
    return asked


def _means(
    questions: Sequence[Question], half: set[str], states_of: Callable[[list[Question]], Matrix]
) -> tuple[Vector, Vector]:
    """Mean hidden states of one half's harmful and benign questions, [layers, hidden_size] each."""
    own = [question for question in questions if question.id in half]
    kinds = ([each for each in own if each.kind == kind] for kind in ("harmful", "benign"))
    harmful, benign = (states_of(each).mean(axis=0, dtype=np.float64) for each in kinds)
    return harmful, benign


def _rows(
    where: dict[str, Any],
    found: Vector,
    harmful: NDArray[np.bool_],
    zero: Vector,
    gap: Vector,
    seed: int,
) -> list[dict[str, Any]]:
    names = ("projection", "low", "high", "scaled", "scaled_low", "scaled_high")
    rows = []
    for kind, own in (("harmful", harmful), ("benign", ~harmful)):
        ends = mean_with_interval(found[own], seed=seed)
        scaled = [(end - zero) / gap for end in ends]  # the same interval in another unit
        for layer, numbers in enumerate(np.stack([*ends, *scaled], axis=1).tolist(), start=1):
            named = dict(zip(names, numbers, strict=True))
            n = {"n_questions": int(own.sum())}
            rows.append({**where, "kind": kind, "layer": layer, **named, **n})
    return rows


def _apart(found: Vector, harmful: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Layer by layer: harmful minus benign mean projection, and the AUC of the projection."""
    gap = found[harmful].mean(axis=0) - found[~harmful].mean(axis=0)
    return {"gap": gap.tolist(), "auc": [roc_auc_score(harmful, layer) for layer in found.T]}


def _cosines(differences: dict[Mode, Vector]) -> list[float] | None:
    """Layer by layer, how alike the directions of the two modes are."""
    if len(differences) < 2:
        return None
    one, other = (unit(each) for each in differences.values())
    return np.sum(one * other, axis=-1).tolist()  # type: ignore[no-any-return]


def _facts(model: LALM, states: Sequence[State], asked: Asked) -> dict[str, Any]:
    every = [each.task for questions in asked.values() for each in questions]
    return {
        "fingerprint": model.fingerprint,
        "layers": model.decoder_layers,
        "tasks": list(dict.fromkeys(every)),
        "methods": [
            {"method": each.method, "seed": each.seed, "defence_hash": each.defence.hash}
            for each in states
        ],
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
    }


def fitting_half(questions: Iterable[Question], *, seed: int = 0) -> set[str]:
    """Ids of the half of the questions that the direction is taken from.

    Half of the harmful and half of the benign ones, in the order of a seeded hash of what mirrors
    share in their ids: a question and its mirror are mostly on the same side.

    Raises:
        DataError: fewer than two questions of a kind are left on a side.
    """
    asked = list(questions)
    half: set[str] = set()
    for kind in ("harmful", "benign"):
        ids = sorted(
            {question.id for question in asked if question.kind == kind},
            key=lambda name: hashlib.sha256(f"{seed}\0{stem_of(name)}".encode()).digest(),
        )
        if len(ids) < 4:
            raise DataError(f"a refusal direction needs at least four {kind} questions")
        half |= {*ids[: len(ids) // 2]}
    return half


def unit(difference: Vector) -> Vector:
    """Each layer's direction at length one; zeros where there is no difference."""
    length = np.linalg.norm(difference, axis=-1, keepdims=True)
    scaled: Vector = np.divide(difference, length, out=np.zeros_like(difference), where=length > 0)
    return scaled


def projections(states: NDArray[Any], direction: Vector) -> Vector:
    """What every question's hidden state has of the direction, [questions, layers].

    Args:
        states: [questions, layers, hidden_size].
        direction: [layers, hidden_size], length one.
    """
    found: Vector = np.einsum("qlh,lh->ql", states.astype(np.float64), direction)
    return found


def mean_with_interval(values: Vector, *, seed: int = 0) -> tuple[Vector, Vector, Vector]:
    """Means over questions with 95 % BCa bootstrap intervals, [layers] each.

    Args:
        values: [questions, layers], two questions at least.

    Returns:
        Mean, low and high; where all questions are alike, all three are the same.
    """
    means = values.mean(axis=0)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's word on questions that are all alike
        drawn: dict[str, Any] = {"n_resamples": RESAMPLES, "batch": 200, "axis": 0}
        rng = np.random.default_rng(seed)
        found = bootstrap((values,), np.mean, confidence_level=CONFIDENCE, rng=rng, **drawn)
    ends = found.confidence_interval
    low, high = (np.where(np.isnan(end), means, end) for end in (ends.low, ends.high))
    return means, low, high
