"""Representations of a run's questions through fine-tuning: where they lie and what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from greaves.base.errors import DataError
from greaves.base.lock import lock
from greaves.base.progress import Steps
from greaves.base.records import Question
from greaves.leaderboards.figures.inside_run import InsideRun, stem_of
from greaves.leaderboards.figures.states import (
    LEDGERS,
    Matrix,
    State,
    hidden_states,
    ledger_of,
    rates,
    through_training,
    verdicts_of,
)
from greaves.models.contract import LALM

PERPLEXITY = 30
"""Of t-SNE: scikit-learn's default. The papers do not say theirs."""

FOLDS, REPEATS = 5, 5

Plane = NDArray[np.float64]


def look(
    path: Path,
    *,
    method: str,
    seed: int | None = None,
    model: str | None = None,
    benchmark: str | None = None,
    epochs: Sequence[int] | None = None,
    plot_seed: int = 0,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The numbers of the figure; epochs that the run did not ask are asked and judged now.

    The arguments are the options of `greaves figure representations`.

    Returns:
        Rows, one a question and state: its places under t-SNE and PCA. Facts: what was looked at,
        seeds, and for every state ASR, ORR (percent, with intervals), probe AUC and silhouette.

    Raises:
        GreavesError: epochs, cells, defences or questions are missing, or the model has changed.
    """
    run = InsideRun(path, model)
    states = through_training(run, method, seed, epochs)
    harmful, benign = run.spoken(benchmark)
    questions = [*harmful, *benign]
    if len(questions) < 4:
        raise DataError("t-SNE needs at least four questions", where=str(path))
    lalm = run.load_model()
    asking = any(state.cell is None for state in states)
    with lock(path / LEDGERS) if asking else nullcontext(), Steps() as steps:
        seen = [_look_at(run, state, lalm, questions, plot_seed, steps) for state in states]
    points = [each for each, _ in seen]
    components, variance = principal_components(points)
    planes = [
        np.hstack([t_sne(each, seed=plot_seed), pca]).tolist()
        for each, pca in zip(points, components, strict=True)
    ]
    rows = [
        {
            "state": state.name,
            "epoch": "" if state.epoch is None else state.epoch,
            "question_id": question.id,
            "kind": question.kind,
            "category": question.category,
            **dict(zip(("tsne_1", "tsne_2", "pca_1", "pca_2"), place, strict=True)),
        }
        for state, plane in zip(states, planes, strict=True)
        for question, place in zip(questions, plane, strict=True)
    ]
    facts = {
        **run.names,
        "fingerprint": lalm.fingerprint,
        "method": method,
        "seed": run.cell(method, seed).facts()["seed"],
        "tasks": [harmful[0].task, benign[0].task],
        "n_harmful": len(harmful),
        "n_benign": len(benign),
        "hidden_size": int(points[0].shape[1]),
        "plot_seed": plot_seed,
        "t_sne": {"perplexity": min(PERPLEXITY, (len(questions) - 1) / 3), "init": "pca"},
        "pca_variance": variance,
        "probe": {"folds": FOLDS, "repeats": REPEATS},
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "states": [each for _, each in seen],
    }
    return rows, facts


def _look_at(
    run: InsideRun,
    state: State,
    model: LALM,
    questions: Sequence[Question],
    plot_seed: int,
    steps: Steps,
) -> tuple[Matrix, dict[str, Any]]:
    """Representations under one state, [questions, hidden_size], and what is said above them."""
    judged = rates(verdicts_of(run, state, model, questions, steps))
    with state.defence.attached(model) as defended:
        points = hidden_states(defended, questions, run.recipe.batch_size)[:, 0]
    harmful = [question.kind == "harmful" for question in questions]
    groups = [stem_of(question.id) for question in questions]
    apart = separability(points, harmful, groups, seed=plot_seed)
    return points, {
        "state": state.name,
        "epoch": state.epoch,
        "defence_hash": state.defence.hash,
        "asr": judged.get("asr"),
        "orr": judged.get("orr"),
        **asdict(apart),
        "answers": str((state.cell or ledger_of(run, state)).path.relative_to(run.path)),
    }


def t_sne(points: NDArray[Any], *, seed: int = 0) -> Plane:
    """t-SNE of one state, [questions, 2]. Its axes, scale and the size of gaps mean nothing.

    Args:
        points: [questions, hidden_size], at least four questions.
        seed: of the embedding, which starts from the principal components.
    """
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    embedding = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(embedding.fit_transform(points), dtype=np.float64)


def principal_components(states: Sequence[NDArray[Any]]) -> tuple[list[Plane], list[float]]:
    """The first two principal components of all states together: movement and distance can be read.

    Args:
        states: [states] of [questions, hidden_size].

    Returns:
        [states] of [questions, 2], and the share of the variance on either axis.
    """
    pca = PCA(2, svd_solver="full").fit(np.concatenate(states))
    return [pca.transform(state) for state in states], pca.explained_variance_ratio_.tolist()


@dataclass(frozen=True)
class Separability:
    """Separability of harmful from benign representations.

    Attributes:
        auc: area under the ROC curve of a linear probe on questions it was not fitted on: 0.5 is
            chance, 1 apart. Mean over folds and repeats.
        auc_sd: standard deviation over the repeats, which differ in how the folds were drawn.
        silhouette: mean silhouette of the two classes, Euclidean, -1 to 1: 0 is overlap. Unlike the
            probe it goes on rising once the classes are linearly apart.
    """

    auc: float
    auc_sd: float
    silhouette: float


def separability(
    points: NDArray[Any], harmful: Sequence[bool], groups: Sequence[str], *, seed: int = 0
) -> Separability:
    """Probe representations with L2 logistic regression (C = 1) on standardised dimensions.

    The probe is cross-validated in five stratified folds, five times over. No group is split
    between fitting and scoring, so a probe cannot score on the mirror of what it has seen.

    Args:
        points: [questions, hidden_size].
        groups: [questions], the same for a harmful question and its mirror.

    Raises:
        DataError: fewer than two questions of a kind.
    """
    labels = np.asarray(harmful, dtype=int)
    names = np.asarray(groups)
    folds = min(FOLDS, *(len({*names[labels == kind]}) for kind in (0, 1)))
    if folds < 2:
        raise DataError("a probe needs at least two harmful and two benign questions")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    repeats = [
        cross_val_score(
            probe,
            points,
            labels,
            groups=names,
            scoring="roc_auc",
            cv=StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat),
        ).mean()
        for repeat in range(REPEATS)
    ]
    return Separability(
        float(np.mean(repeats)), float(np.std(repeats)), float(silhouette_score(points, labels))
    )
