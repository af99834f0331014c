"""The contract of a part: one thing that can be put on a model and taken off again."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Self

from greaves.base.registry import Registry, registry
from greaves.models.contract import LALM


class Part(ABC):
    """One thing that can be put on a model and taken off again.

    A subclass is known by its `kind` as soon as it is defined.
    """

    kind: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        PARTS.register(cls.kind)(cls)

    @abstractmethod
    def attached(self, model: LALM) -> AbstractContextManager[None]:
        """Put the part on `model`; leaving the context restores the model exactly."""

    @abstractmethod
    def content_hash(self) -> str:
        """Hash of what the part does to a model."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the part into an empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read it back."""


PARTS: Registry[type[Part]] = registry("part")
register_part = PARTS.register


def find_part(kind: str) -> type[Part]:
    """The part of a kind: ours, an installed package's own, or one that an installed method brings.

    Raises:
        RegistryError: nothing that is installed brings it.
    """
    if kind not in PARTS.names():
        for point in importlib.metadata.entry_points(group="greaves.methods"):
            PARTS.try_to_load(point)
    return PARTS.get(kind)
