"""The states of a model that a figure compares: vanilla, part of the way, under the defence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from greaves.align.defence import Defence
from greaves.base.conversation import conversation_of
from greaves.base.errors import StoreError
from greaves.base.records import Question
from greaves.base.run_folder import CellFolder
from greaves.leaderboards.figures.inside_run import InsideRun, kept_epochs, saved_defence
from greaves.leaderboards.read.slices import VANILLA
from greaves.models.contract import LALM

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """A model under what a method made of it, whole or up to an epoch.

    Attributes:
        name: in panels: "vanilla", the method's name, or "epoch 3".
        method: its name in the recipe.
        seed: training seed.
        epoch: passes over the alignment data; 0 for vanilla, None where nothing was trained.
        defence: what is attached.
        cell: where the run has its verdicts; None for an epoch that the run did not ask.
    """

    name: str
    method: str
    seed: int
    epoch: int | None
    defence: Defence
    cell: CellFolder | None


def aligned(run: InsideRun, method: str, seed: int | None = None) -> State:
    """A model under a method's defence; vanilla is a method like any other.

    Raises:
        StoreError: the cell or its defence is missing.
    """
    cell = run.cell(method, seed)
    facts = cell.facts()
    epoch = 0 if method == VANILLA else _last_epoch(facts)
    return State(method, method, facts["seed"], epoch, Defence.load(saved_defence(cell)), cell)


def through_training(
    run: InsideRun, method: str, seed: int | None = None, epochs: Sequence[int] | None = None
) -> list[State]:
    """Vanilla, the epochs that the run kept, and the defence itself.

    A method without epochs has two states, vanilla and aligned.

    Args:
        seed: training seed; the method's first one if unset.
        epochs: which to return; all that were kept if unset.

    Raises:
        StoreError: an epoch was not kept; without `epochs`, no epoch in between was.
    """
    vanilla, whole = aligned(run, VANILLA), aligned(run, method, seed)
    if whole.epoch is None:
        return [vanilla, whole]
    assert whole.cell is not None
    kept = kept_epochs(saved_defence(whole.cell))
    between = [epoch for epoch in kept if 0 < epoch < whole.epoch]
    known = [0, *between, whole.epoch]
    wanted = sorted({*epochs}) if epochs else known
    if not epochs and not between:
        raise StoreError(
            f"the run kept no epoch of method {method!r} but the last",
            where=str(run.path),
            do="add `training: {keep_epochs: [1, 3]}` to the recipe and run it, or draw what there"
            f" is: --epochs 0,{whole.epoch}",
        )
    for epoch in wanted:
        if epoch not in known:
            raise StoreError(
                f"the run did not keep epoch {epoch} of method {method!r}",
                where=str(run.path),
                do=f"it kept {', '.join(map(str, known))}; to keep more, add"
                " `training: {keep_epochs: [...]}` to the recipe and run it",
            )
    return [_at_epoch(epoch, vanilla, whole, kept) for epoch in wanted]


def hidden_states(
    model: LALM, questions: Sequence[Question], batch_size: int, layers: Sequence[int] | None = None
) -> Matrix:
    """Hidden states at the last prompt position, under whatever defence is attached.

    Args:
        layers: decoder layers from 1; the last one alone if unset.

    Returns:
        [questions, layers, hidden_size].
    """
    parts = [
        model.representations(
            [conversation_of(question) for question in questions[start : start + batch_size]],
            layers,
        ).cpu()
        for start in range(0, len(questions), batch_size)
    ]
    found: Matrix = torch.cat(parts).numpy()
    return found


def _at_epoch(epoch: int, vanilla: State, whole: State, kept: dict[int, Path]) -> State:
    name = f"epoch {epoch}"
    if epoch == 0:
        return State(f"{name} (vanilla)", VANILLA, vanilla.seed, 0, vanilla.defence, vanilla.cell)
    if epoch == whole.epoch:
        return State(name, whole.method, whole.seed, epoch, whole.defence, whole.cell)
    return State(name, whole.method, whole.seed, epoch, Defence.load(kept[epoch]), None)


def _last_epoch(facts: dict[str, Any]) -> int | None:
    """Epochs of a method's config, or of the one part of a composition that has any."""
    config = facts.get("config") or {}
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    found = [part["epochs"] for part in parts if isinstance(part.get("epochs"), int)]
    return found[0] if len(found) == 1 else None
