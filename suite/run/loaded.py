"""What a cell works with: its model and its alignment data, loaded once each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from greaves.align.method import DataKind
from greaves.base.errors import ModelError
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM, load_model
from greaves.recipe.plan import Cell, Plan


class Materials:
    """Models and alignment data of a plan.

    Args:
        plan: a checked recipe.
        features: folder in which clips' features are kept, one sub-folder a model.
        given: models that are loaded already, by their shown names.
    """

    def __init__(self, plan: Plan, features: Path, given: Mapping[str, LALM] | None = None) -> None:
        self.plan, self.features, self.given = plan, features, given or {}
        self._models: dict[str, LALM] = {}
        self._data: dict[str, AlignmentData] = {}

    def model(self, cell: Cell) -> LALM:
        """The cell's model.

        Raises:
            RecipeError: its options are not what the loader takes.
            ModelError: it cannot be loaded, or is a black box where a method must look inside.
        """
        name = cell.model.shown
        if name in self.given:
            self._check_white_box(self.given[name], cell)
            return self.given[name]
        if name not in self._models:
            self.forget_model()  # cells come model by model: one at a time in memory
            model = load_model(cell.model.model, cell.model.options)
            model.name = name
            self._check_white_box(model, cell)
            model.keep_features(self.features / model.fingerprint[:16])
            self._models = {name: model}
        return self._models[name]

    def forget_model(self) -> None:
        """Let go of the model; it is loaded again when it is asked for."""
        self._models = {}

    def data(self, cell: Cell) -> AlignmentData | None:
        """The cell's alignment data; None if its method needs none."""
        kind = cell.aligner.requires.data
        return None if kind is None else self.alignment(kind)

    def alignment(self, kind: DataKind) -> AlignmentData:
        """The recipe's alignment set of one kind."""
        if kind not in self._data:
            self._data[kind] = self.plan.alignment_data(kind)
        return self._data[kind]

    def _check_white_box(self, model: LALM, cell: Cell) -> None:
        """Refuse, before a black box is asked anything, methods that need to look inside it."""
        for other in self.plan.cells:
            needs = other.aligner.requires
            inside = needs.weights or needs.gradients
            if other.model == cell.model and inside and not model.white_box:
                weights = f"the weights of {model.name!r}, which is a black box"
                what = f"method {other.method.shown!r} needs {weights}"
                raise ModelError(what, do="take the method out of the recipe")
