"""The contract of an alignment method: a frozen config plus one verb."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from greaves.align.defence import Defence
from greaves.align.training.spec import TrainingSpec
from greaves.base.errors import DataError
from greaves.base.registry import Registry, registry
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM
from greaves.models.points import Point

DataKind = Literal["basic", "mirror", "parallel"]


class MethodConfig(BaseModel):
    """Base of all method configs: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


@dataclass(frozen=True)
class Requirements:
    """What a method needs; checked before anything is launched.

    Attributes:
        data: kind of alignment data, or None.
        weights: it reads the model's weights and hidden states (white-box).
        gradients: it trains; results vary with the seed.
        points: where the parts of its defence act; models that do not offer them are refused.
    """

    data: DataKind | None = None
    weights: bool = False
    gradients: bool = False
    points: frozenset[Point] = frozenset()

    @property
    def acts_on(self) -> frozenset[Point]:
        """`points`, and "adapters" for a method that trains."""
        return self.points | {"adapters"} if self.gradients else self.points


@dataclass(frozen=True)
class RunContext:
    """What the runner gives a method besides model and data.

    Attributes:
        folder: a folder of the method's own. What it leaves there is found again after a kill.
        seed: of every random choice the method makes.
        report: takes (steps done, steps in all, a few words), for progress.
        training: how fine-tuning is carried out; it does not change the method.
    """

    folder: Path
    seed: int = 0
    report: Callable[[int, int, str], None] = field(default=lambda done, total, words: None)
    training: TrainingSpec = field(default_factory=TrainingSpec)


class AlignmentMethod(ABC, Generic[ConfigT]):
    """One way to align a model. The first line of the docstring is what `greaves methods` prints.

    Attributes:
        version: changes whenever the same config would give another defence.
        Config: type of the config.
        requires: see `Requirements`.

    Example:
        >>> from greaves import register_method
        >>> from greaves.align.parts.system_prompt import SystemPrompt
        >>> class Config(MethodConfig):
        ...     text: str = "Decline what does harm."
        >>> @register_method("polite-prompt")  # doctest: +SKIP
        ... class PolitePrompt(AlignmentMethod[Config]):
        ...     "A system prompt that asks the model to be careful."
        ...     Config = Config
        ...     def align(self, model, data, context):
        ...         return Defence((SystemPrompt(self.config.text),))
    """

    version: ClassVar[str] = "1"
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    requires: ClassVar[Requirements] = Requirements()

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """Make a defence for `model`, which is left as it was.

        Args:
            model: the vanilla model.
            data: alignment data of the kind in `requires.data`; None where that is None.
            context: folder, seed and progress.

        Raises:
            DataError: there are not enough questions of a kind, or one lacks what is learnt.
            ModelError: the model does not give what the method needs, as a black box does not.
        """

    @staticmethod
    def enough(
        data: AlignmentData | None, method: str, *, harmful: int = 1, benign: int = 1
    ) -> AlignmentData:
        """The data, if they hold so many questions of each kind; else DataError names `method`."""
        if data is None or len(data.harmful) < harmful or len(data.benign) < benign:
            raise DataError(
                f"{method} needs alignment data with at least {harmful} harmful and {benign} benign"
                " questions"
            )
        return data


METHODS: Registry[type[AlignmentMethod[Any]]] = registry("method")
register_method = METHODS.register
