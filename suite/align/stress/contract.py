"""Stresses: what may happen to an aligned model afterwards, and what is then left of its safety.

A recipe puts a method under a stress, and the method gets a second cell: the same defence, never
aligned twice, and what the stress made of it. That cell is called `<method>~<stress>`; no method of
a recipe may have such a name.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

from greaves.align.defence import Defence
from greaves.align.method import AlignmentMethod, DataKind, MethodConfig, Requirements, RunContext
from greaves.data.alignment.sets import AlignmentData
from greaves.models.contract import LALM

StressConfigT = TypeVar("StressConfigT", bound=MethodConfig)


class Stress(AlignmentMethod[StressConfigT]):
    """One thing that users do to an aligned model. It trains, so that seeds matter.

    A stress is an alignment method that starts from another method's defence; on its own it
    stresses the vanilla model. `requires.data` is the alignment set that it takes.
    """

    requires: ClassVar[Requirements] = Requirements(data="basic", weights=True, gradients=True)

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
            data: the set of `requires.data`.
            reference: the set of `reference`.
            context: folder, seed and progress.
        """

    def align(self, model: LALM, data: AlignmentData | None, context: RunContext) -> Defence:
        """Stress the vanilla model; `data` is its own reference."""
        assert data is not None
        return self.stressed(model, Defence(), data, data, context)
