"""How far apart harmful and benign representations are: a linear probe, and the silhouette."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from greaves.base.errors import DataError

FOLDS, REPEATS = 5, 5


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
        harmful: [questions].
        groups: [questions], the same for a harmful question and its mirror.
        seed: of the folds.

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
