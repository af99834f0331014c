"""Representations of a run's questions through fine-tuning: where they lie and what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from greaves.base.errors import DataError
from greaves.base.lock import lock
from greaves.base.progress import Steps
from greaves.base.records import Question
from greaves.leaderboards.figures.epoch_answers import LEDGERS, ledger_of, rates, verdicts_of
from greaves.leaderboards.figures.inside_run import InsideRun, stem_of
from greaves.leaderboards.figures.planes import PERPLEXITY, principal_components, t_sne
from greaves.leaderboards.figures.separability import FOLDS, REPEATS, separability
from greaves.leaderboards.figures.states import Matrix, State, hidden_states, through_training
from greaves.models.contract import LALM


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

    Args:
        path: the run folder.
        method: to follow, by its name in the recipe.
        seed: its training seed; the first one if unset.
        model: by its name in the recipe; the first one if unset.
        benchmark: whose questions; the first task's if unset.
        epochs: which; all that the run kept if unset.
        plot_seed: of t-SNE and of the probe's folds.

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
    flat = [t_sne(each, seed=plot_seed) for each in points]
    components, variance = principal_components(points)
    rows = [
        {
            "state": state.name,
            "epoch": "" if state.epoch is None else state.epoch,
            "question_id": question.id,
            "kind": question.kind,
            "category": question.category,
            "tsne_1": float(flat[place][number, 0]),
            "tsne_2": float(flat[place][number, 1]),
            "pca_1": float(components[place][number, 0]),
            "pca_2": float(components[place][number, 1]),
        }
        for place, state in enumerate(states)
        for number, question in enumerate(questions)
    ]
    facts = {
        "run": run.facts.name,
        "label": run.facts.label,
        "model": lalm.name,
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
    apart = separability(
        points,
        [question.kind == "harmful" for question in questions],
        [stem_of(question.id) for question in questions],
        seed=plot_seed,
    )
    return points, {
        "state": state.name,
        "epoch": state.epoch,
        "defence_hash": state.defence.hash,
        "asr": asdict(judged["asr"]) if "asr" in judged else None,
        "orr": asdict(judged["orr"]) if "orr" in judged else None,
        "auc": apart.auc,
        "auc_sd": apart.auc_sd,
        "silhouette": apart.silhouette,
        "answers": str((state.cell or ledger_of(run, state)).path.relative_to(run.path)),
    }
