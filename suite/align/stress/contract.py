"""Stresses: what may happen to an aligned model afterwards, and what is then left of its safety.

A recipe puts a method under a stress, and the method gets a second cell: the same defence, never
aligned twice, and what the stress made of it. That cell is called `<method>~<stress>`; no method of
a recipe may have such a name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from greaves.align.defence import Defence
from greaves.align.method import DataKind, MethodConfig, Requirements, RunContext
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM

StressConfigT = TypeVar("StressConfigT", bound=MethodConfig)


class Stress(ABC, Generic[StressConfigT]):
    """One thing that users do to an aligned model. It trains, so that seeds matter.

    Attributes:
        version: changes whenever the same config would give another result.
        Config: type of the config.
        data: the alignment set that it takes.
    """

    version: ClassVar[str] = "1"
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    data: ClassVar[DataKind] = "basic"

    def __init__(self, config: StressConfigT) -> None:
        self.config = config

    @property
    def requires(self) -> Requirements:
        """What it needs, as a method says it."""
        return Requirements(data=self.data, weights=True, gradients=True)

    @property
    @abstractmethod
    def reference(self) -> DataKind:
        """The alignment set whose harmful questions it measures nearness to."""

    def depends_on(self, defence: Defence) -> dict[str, Any]:
        """What else a stressed defence depends on: plain values that are not in the config.

        Args:
            defence: what is put under the stress; its hash and both data sets enter anyway.
        """
        return {}

    @abstractmethod
    def stressed(
        self,
        model: LALM,
        defence: Defence,
        data: AlignmentData,
        reference: AlignmentData,
        context: RunContext,
    ) -> Defence:
        """What becomes of `defence`; `model` is left as it was.

        Args:
            model: the vanilla model, nothing attached.
            defence: what the method left behind; no parts for vanilla.
            data: the set that `data` names.
            reference: the set that `reference` names.
            context: folder, seed and progress.

        Raises:
            DataError: a set lacks the questions or responses that are needed.
            ModelError: the model is a black box, or something else that is needed cannot be loaded.
        """
