"""The contract of a part: one thing that can be put on a model and taken off again."""

from __future__ import annotations

import importlib.metadata
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError, RegistryError
from greaves.base.records import content_hash
from greaves.base.registry import Registry, registry
from greaves.base.store import write_json
from greaves.base.text import whole
from greaves.models.contract import LALM
from greaves.models.points import INSIDE, AskAgain, Inside, Point, Wave
from greaves.models.wrapped import WrappedLALM, clips_changed


class Part(ABC):
    """One thing that can be put on a model and taken off again.

    A subclass with a `kind` is known by it as soon as it is defined. It names the points at which
    it acts and implements what belongs to them: `clip`, `conversation`, `answer`, or `inside` for
    the three that need the model's weights. What it does to one row depends on no other row.

    Attributes:
        kind: its name in a defence's folder.
        points: where it acts; a model that does not offer them refuses the part.
    """

    kind: ClassVar[str]
    points: ClassVar[frozenset[Point]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "kind"):
            _check_implemented(cls)
            PARTS.register(cls.kind)(cls)

    @contextmanager
    def attached(self, model: LALM) -> Iterator[LALM]:
        """Put the part on `model`; leaving the context restores the model exactly.

        Yields:
            The model that is to be asked: `model` itself, changed inside, or one around it.

        Raises:
            ModelError: the model does not offer a point, or the part was made for another model.
        """
        check_points(model.name, model.points, f"part {self.kind!r}", self.points)
        with ExitStack() as stack:
            if self.points & INSIDE:
                stack.enter_context(model.changed(self.inside()))
            if "clip" in self.points:
                changed = stack.enter_context(clips_changed(self.clip))
                model = WrappedLALM(model, conversation=changed)
            if "conversation" in self.points:
                model = WrappedLALM(model, conversation=self.conversation)
            if "answer" in self.points:
                model = WrappedLALM(model, answer=self.answer)
            yield model

    def clip(self, wave: Wave, rate: int, seed: int) -> Wave:
        """Point "clip": change what is heard.

        Args:
            wave: [samples] float32, full scale being 1.
            rate: of the samples, in Hz.
            seed: belongs to the clip; the same whenever it is heard.
        """
        raise NotImplementedError

    def conversation(self, conversation: Conversation) -> Conversation:
        """Point "conversation": change the turn that the model is asked."""
        raise NotImplementedError

    def answer(self, conversation: Conversation, draft: str, ask_again: AskAgain) -> str:
        """Point "answer": the text that is returned instead of `draft`.

        Args:
            conversation: the turn as the user put it.
            draft: what the model answered, after the parts before this one.
            ask_again: asks the model and those parts once more, under another seed every time.
        """
        raise NotImplementedError

    def inside(self) -> Inside:
        """Points "features", "layers" and "adapters": what is changed inside the model."""
        raise NotImplementedError

    @abstractmethod
    def content_hash(self) -> str:
        """Hash of what the part does to a model."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the part into an empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read it back. Raises OSError, ValueError, TypeError or KeyError for something else."""


PARTS: Registry[type[Part]] = registry("part")


def _check_implemented(part: type[Part]) -> None:
    """Raise RegistryError where a part names a point without saying what happens there."""
    for point in sorted(getattr(part, "points", ())):
        method = "inside" if point in INSIDE else point
        if getattr(part, method) is getattr(Part, method):
            what = f"part {part.kind!r} acts on {point}, but does not say how"
            raise RegistryError(what, do=f"implement `{method}`, or take {point} out of its points")


def check_points(
    model: str, offered: frozenset[Point], what: str, wanted: frozenset[Point]
) -> None:
    """Raise ModelError where `what` acts at a point that the model does not offer."""
    if missing := sorted(wanted - offered):
        what = f"{what} acts on {' and '.join(missing)}, which {model} does not offer"
        raise ModelError(what, do=f"it offers: {', '.join(sorted(offered))}")


def find_part(kind: str) -> type[Part]:
    """The part of a kind: ours, an installed package's own, or one that an installed method brings.

    Raises:
        RegistryError: nothing that is installed brings it.
    """
    if kind not in PARTS.names():
        for point in importlib.metadata.entry_points(group="greaves.methods"):
            PARTS.try_to_load(point)
    return PARTS.get(kind)


@dataclass(frozen=True)
class TextPart(Part):
    """A text that stands in every conversation; a subclass says where."""

    points = frozenset[Point]({"conversation"})
    text: str

    def content_hash(self) -> str:
        return content_hash({self.kind: self.text})

    def save(self, folder: Path) -> None:
        write_json(folder / "prompt.json", {"text": self.text})

    @classmethod
    def load(cls, folder: Path) -> Self:
        text = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))["text"]
        if not isinstance(text, str) or whole(text) != text:
            raise TypeError("not a text that a tokenizer takes")
        return cls(text)
