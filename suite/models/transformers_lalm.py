"""What all families in transformers share: loading, hidden states, and what can be attached."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor
from transformers import AutoProcessor, AutoTokenizer

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError
from greaves.base.records import content_hash
from greaves.models import loading
from greaves.models.adapters import adapter_beside, adapter_merged, merge_own_adapter
from greaves.models.audio_text_processor import AudioTextProcessor, Heard, read_template
from greaves.models.chat_text import NONE, TEMPLATE, check_system
from greaves.models.contract import LALM, register_model
from greaves.models.decoder import last_outputs, recorded
from greaves.models.generation import Generation
from greaves.models.points import INSIDE, OUTSIDE, Inside

Family = TypeVar("Family", bound="TransformersLALM")


class TransformersLALM(Generation):
    """A LALM in a native transformers class.

    A family says which classes read its checkpoints, how a clip stands in chat text, and where it
    differs (see `SpokenPrompts`); the rest is here.

    Attributes:
        architecture: the family's name in messages.
        hub: repository on the hub that is taken where no path is given.
        network_class: class of transformers that reads the weights.
        adapters: folders inside a checkpoint, added to its weights and part of its fingerprint.
        lora_targets: projections in the language model's layers that get a LoRA module (RRS,
            section 4).
        one_stream: a decoder layer hands on one hidden state a token, so that it can be read and
            steered.
        feature_extractor: class of transformers that makes features of waveforms, where the native
            processor wants images too: `hear` then says how. None takes the native processor.
    """

    white_box = True
    points = OUTSIDE | INSIDE
    architecture: ClassVar[str]
    hub: ClassVar[str]
    network_class: ClassVar[Any]
    adapters: ClassVar[tuple[str, ...]] = ()
    lora_targets: ClassVar[tuple[str, ...]] = (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    )
    one_stream: ClassVar[bool] = True
    refusal_token: ClassVar[str] = "I"  # noqa: S105 - a token of the vocabulary
    feature_extractor: ClassVar[Any] = None

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | None = None,
        revision: str | None = None,
        name: str | None = None,
        device: str | None = None,
        dtype: str = "bfloat16",
        system: str | None = None,
    ) -> Self:
        """Load a checkpoint of this family.

        Args:
            path: a local folder; None takes the family's repository on the hub.
            revision: commit, tag or branch in that repository; None is its main branch.
            name: name in recipes and tables; None takes that of the architecture.
            device: "cpu", "cuda", "cuda:1"; None takes the first GPU if there is one.
            dtype: name of a torch dtype, e.g. "float32" or "bfloat16".
            system: the model's own system turn: "none", "template" (what the chat template puts in
                by itself, if anything), or a text; None takes the family's default.

        Raises:
            ModelError: the folder is missing or holds something else, an option is wrong, or there
                is no such device or dtype.
        """
        check_system(system)
        folder = cls.checkpoint_folder(path, revision)
        loading.check_files(folder)
        place, number = loading.computing(device, dtype)
        with loading.one_line(f"not a {cls.architecture} checkpoint", folder):
            network = cls.read_network(folder, number)
            processor = cls.read_processor(folder)
            for token in (cls.audio_token, cls.end_of_turn):
                if token not in processor.tokenizer.get_vocab():
                    raise ValueError(f"its tokenizer has no {token}")
        contents = loading.folder_fingerprint(folder)
        if inner := [one for one in cls.adapters if (folder / one).is_dir()]:
            own = {one: loading.folder_fingerprint(folder / one) for one in inner}
            contents = content_hash({"folder": contents, **own})
        facts = {"folder": contents, "dtype": dtype, "device": place.type}
        name, revision = name or cls.architecture, f"sha256:{contents[:12]}"
        known, network = content_hash(facts), network.to(place)
        model = cls(name, network, processor, fingerprint=known, revision=revision)
        system = system or cls.default_system
        model.system = {NONE: None, TEMPLATE: model.template_system()}.get(system, system)
        if model.system is not None:
            model.fingerprint = content_hash({**facts, "system": model.system})
        return model

    @classmethod
    def checkpoint_folder(cls, path: str | Path | None, revision: str | None) -> Path:
        """The folder of a checkpoint, fetched from the hub if need be (see `checkpoint`)."""
        return loading.checkpoint(path, cls.hub, revision)

    @classmethod
    def read_network(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network of a checkpoint folder, on the CPU; errors of transformers come through."""
        network = loading.pretrained_network(cls.network_class, folder, dtype)
        for inner in cls.adapters:
            merge_own_adapter(network, folder / inner)
        return network

    @classmethod
    def read_processor(cls, folder: Path) -> Any:
        """The processor of a checkpoint folder; errors of transformers come through."""
        if cls.feature_extractor is None:
            return loading.pretrained(AutoProcessor, folder)
        tokenizer = loading.pretrained(AutoTokenizer, folder)
        extractor = loading.pretrained(cls.feature_extractor, folder)
        template = read_template(folder)
        return AudioTextProcessor(tokenizer, extractor, template, cls.audio_token, cls.hear)

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """How the family listens, where `feature_extractor` is given (see `Heard`)."""
        raise NotImplementedError

    @torch.no_grad()
    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        if layers is not None and not self.one_stream and set(layers) != {self.decoder_layers}:
            raise ModelError(f"{self.name} has no single hidden state before its last layer")
        decoder, last = self.network.get_decoder(), self.decoder_layers
        wanted = list(layers or [last])
        before = decoder.layers if set(wanted) - {last} else []
        with recorded(before) as outputs:
            out = decoder(**self.batch(conversations).inputs(), use_cache=False)
        final = out.last_hidden_state[:, -1].float()
        states = [final if layer == last else outputs[layer - 1] for layer in wanted]
        return torch.stack(states, dim=1)

    @torch.no_grad()
    def layer_outputs(self, *forms: Sequence[Conversation]) -> Tensor:
        if not self.one_stream:
            raise ModelError(f"{self.name} cannot be read layer by layer: each has several streams")
        batches = [self.batch(conversations) for conversations in forms]
        return last_outputs(self.network.get_decoder(), batches)

    @property
    def decoder_layers(self) -> int:
        return len(self.network.get_decoder().layers)

    @property
    def refusal_token_id(self) -> int:
        ids: list[int] = self.tokenizer(self.refusal_token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ModelError(f"{self.name}: {self.refusal_token!r} is {len(ids)} tokens, not one")
        return ids[0]

    def output_row(self, token_id: int) -> Tensor:
        rows: Tensor = self.network.get_output_embeddings().weight
        return rows[token_id].detach().float()

    @contextmanager
    def changed(self, inside: Inside) -> Iterator[None]:
        with ExitStack() as stack:
            if inside.adapter is not None:
                put = adapter_merged if inside.merged else adapter_beside
                stack.enter_context(put(self.network, str(inside.adapter)))
            if inside.features is not None:
                stack.enter_context(self.features_changed(inside.features))
            if inside.layers:
                stack.enter_context(self._layers.changed(inside.layers))
            yield


class Loader(Generic[Family]):
    """Loads checkpoints of a family; this is what recipes call, with a model's options."""

    def __init__(self, family: type[Family], name: str) -> None:
        self.family, self.name = family, name
        self.white_box, self.points = family.white_box, family.points
        self.__doc__, self.__module__ = family.__doc__, family.__module__
        self.__qualname__ = family.__qualname__
        self.__signature__ = inspect.signature(family.from_checkpoint)

    def __call__(self, *given: Any, **options: Any) -> Family:
        taken = self.__signature__.bind(*given, **options).arguments
        return self.family.from_checkpoint(**{**taken, "name": taken.get("name") or self.name})

    def check(self, **options: Any) -> None:
        """Raise ModelError for an option that there is not; nothing is loaded."""
        taken = self.__signature__.parameters
        for name in options:
            if name not in taken:
                what = f"{self.name} takes no option {name!r}"
                raise ModelError(what, do=f"it takes: {', '.join(taken)}")
        check_system(options.get("system"))


def register_family(name: str) -> Callable[[type[Family]], type[Family]]:
    """Class decorator that registers a family's `Loader` as the model `name`."""

    def decorate(family: type[Family]) -> type[Family]:
        register_model(name)(Loader(family, name))
        return family

    return decorate


def opened(model: LALM, refusal: str = "is a black box") -> TransformersLALM:
    """The model under everything that is put around it, its network at hand.

    Args:
        model: any.
        refusal: what to say of a black box after its name.

    Raises:
        ModelError: it is a black box.
    """
    if (found := opened_or_none(model)) is None:
        raise ModelError(f"{model.name} {refusal}")
    return found


def opened_or_none(model: LALM) -> TransformersLALM | None:
    """The same, or None for a black box."""
    inner = model.innermost
    return inner if isinstance(inner, TransformersLALM) else None
