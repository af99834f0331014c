"""LALM: the one small interface over every family of large audio language models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError, RecipeError
from greaves.base.records import MODES, Mode
from greaves.base.registry import Registry, registry
from greaves.base.usage import Usage
from greaves.models.points import OUTSIDE, Inside, Point

Seeds = Sequence[Sequence[int]]
"""[batch][samples]: one seed per sample."""


@dataclass(frozen=True)
class Generated:
    """One generated text, and what it took as far as the model knows.

    Attributes:
        text: special tokens removed.
        truncated: it ran into `max_new_tokens`.
        prompt_tokens: read, audio included.
        new_tokens: written.
        calls: of any model.
    """

    text: str
    truncated: bool
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    calls: int = 1


class Unanswered(ModelError):  # noqa: N818 - named for what the samples are
    """Some samples of a batch could not be had, such as from a server that is down.

    Attributes:
        answers: [batch][samples] what came; None where nothing did.
    """

    def __init__(self, what: str, answers: list[list[Generated | None]], *, do: str = "") -> None:
        super().__init__(what, do=do or "run again: what came is kept, the rest is asked for then")
        self.answers = answers


class LALM(ABC):
    """A large audio language model.

    A black box implements `render` and `respond`; a model whose weights are at hand also implements
    `changed` and what comes after it, which raises ModelError for a black box.

    Attributes:
        name: name in recipes and tables, e.g. "pocket".
        revision: revision of the weights, as the hub or the maker calls it.
        fingerprint: hash of weights, configuration, processor, dtype and kind of device; part of
            every response's key.
        white_box: weights and hidden states are at hand; methods that need them refuse others.
        points: where parts of a defence can act on it (see `greaves.models.points`).
        modes: in which it can be asked; tasks in others are not asked, and tables say N/A.
        takes_address: recipes name it `NAME:ADDRESS`, and its loader gets the address first.
    """

    name: str
    revision: str
    fingerprint: str
    white_box: bool = False
    points: frozenset[Point] = OUTSIDE
    modes: frozenset[Mode] = frozenset(MODES)
    takes_address: ClassVar[bool] = False

    @abstractmethod
    def render(self, conversation: Conversation) -> str:
        """The exact prompt text that the model reads, audio placeholders included."""

    @abstractmethod
    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Seeds
    ) -> list[list[Generated]]:
        """Answer every conversation once per seed.

        A sample depends on its conversation and its own seed only, not on what else is in the
        batch (up to ties in floating point), so that a resumed run draws what it would have drawn.

        Args:
            conversations: [batch] turns, modes mixed freely.
            sampling: temperature, top_p, max_new_tokens (`n` and `seed` are not used here).
            seeds: [batch][samples].

        Returns:
            [batch][samples] texts, special tokens removed.

        Raises:
            Unanswered: some samples could not be had; it carries the others.
        """

    def usage(self) -> Usage | None:
        """What has been spent so far; None for a model that costs nothing per request."""
        return None

    @property
    def innermost(self) -> LALM:
        """The model itself, without the parts that are put around it."""
        return self

    def as_asked(self, conversation: Conversation) -> Conversation:
        """The turn as the innermost model gets it, after everything that is put around it."""
        return conversation

    @property
    def changes_answers(self) -> bool:
        """Whether a part that is put around the model changes its drafts."""
        return False

    def keep_features(self, folder: Path) -> None:
        """Keep features of clips in `folder`, which is this model's alone; a black box has none."""
        return

    def changed(self, inside: Inside) -> AbstractContextManager[None]:
        """Change the model inside; leaving the context restores it exactly.

        Raises ModelError if the change does not fit the model.
        """
        raise self._black_box("weights")

    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        """Hidden states at the last prompt position.

        Args:
            conversations: [batch] turns.
            layers: decoder layers counted from 1; None means the last one only.

        Returns:
            [batch, layers, hidden_size] in float32; the last layer's is taken after the final norm,
            which is what the output head reads to predict the first response token.
        """
        raise self._black_box("hidden states")

    def layer_outputs(self, *forms: Sequence[Conversation]) -> Tensor:
        """The output of every decoder layer at the last prompt position, before any final norm.

        This is where steering adds its vectors; `representations` differs in the last layer.

        Args:
            forms: [forms][batch] turns; what the forms of a turn have in common is computed once.

        Returns:
            [forms, batch, decoder_layers, hidden_size] in float32.
        """
        raise self._black_box("hidden states")

    @property
    def decoder_layers(self) -> int:
        """Number of the language model's layers."""
        raise self._black_box("layers")

    @property
    def refusal_token_id(self) -> int:
        """Id of the refusal token (RRS, section 4). Raises ModelError unless it is one token."""
        raise self._black_box("tokenizer")

    def output_row(self, token_id: int) -> Tensor:
        """Row of the output head, [hidden_size] in float32: w_I for the refusal token."""
        raise self._black_box("output head")

    def _black_box(self, what: str) -> ModelError:
        what = f"{self.name} is a black box: its {what} cannot be reached"
        return ModelError(what, do="load the model itself where a method needs its weights")


MODELS: Registry[Callable[..., LALM]] = registry("model")
register_model = MODELS.register


def load_model(name: str, options: Mapping[str, Any]) -> LALM:
    """The model that a recipe or a command names.

    Raises:
        RegistryError: there is no such model.
        RecipeError: its options are not those that its loader takes.
        ModelError: it cannot be loaded.
    """
    loader = MODELS.get(name)
    try:
        return loader(**options)
    except TypeError as error:
        raise RecipeError(f"model {name!r}: {error}") from None
