"""What all families in transformers share, seen from outside: a LALM whose weights are at hand.

`spoken_prompts` says how conversations become embeddings, `generation` how they are answered; here
are hidden states, the output head, and what can be attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from transformers import AutoProcessor

from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError
from greaves.base.records import content_hash
from greaves.models.adapters import adapter_beside, adapter_merged
from greaves.models.batches import Batch as Batch
from greaves.models.batches import Tokens as Tokens
from greaves.models.generation import Generation
from greaves.models.last_position import recorded
from greaves.models.loading import (
    available,
    check_files,
    floating,
    one_line,
    pretrained,
    pretrained_network,
)
from greaves.models.loading import folder_fingerprint as folder_fingerprint
from greaves.models.shared_prefix import last_outputs


class TransformersLALM(Generation):
    """A LALM in a native transformers class.

    A family says which classes read its checkpoints, how a clip stands in chat text, and where it
    differs (see `SpokenPrompts`); the rest is here.
    """

    white_box = True

    architecture: ClassVar[str]
    """The family's name in messages."""

    hub: ClassVar[str]
    """Repository on the hub that is taken where no path is given."""

    network_class: ClassVar[Any]
    """Class of transformers that reads the weights."""

    subfolders: ClassVar[tuple[str, ...]] = ()
    """Folders inside a checkpoint that are read too, and so are part of its fingerprint."""

    lora_targets: ClassVar[tuple[str, ...]] = (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    )
    """Projections in the language model's layers that get a LoRA module (RRS, section 4)."""

    one_stream: ClassVar[bool] = True
    """A decoder layer hands on one hidden state a token, so that it can be read and steered."""

    refusal_token: ClassVar[str] = "I"  # noqa: S105 - a token of the vocabulary

    @classmethod
    def load(cls, name: str, folder: Path, *, device: str | None, dtype: str) -> Self:
        """Load a checkpoint of this family.

        Args:
            name: name in recipes and tables.
            folder: see `greaves.models.loading.checkpoint`.
            device: "cpu", "cuda", "cuda:1"; None takes the first GPU if there is one.
            dtype: name of a torch dtype, e.g. "float32" or "bfloat16".

        Raises:
            ModelError: the folder is missing or holds something else, or there is no such device
                or dtype.
        """
        check_files(folder)
        number = floating(dtype)
        place = available(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with one_line(f"not a {cls.architecture} checkpoint", folder):
            network = cls.read_network(folder, number)
            processor = cls.read_processor(folder)
            for token in (cls.audio_token, cls.end_of_turn):
                if token not in processor.tokenizer.get_vocab():
                    raise ValueError(f"its tokenizer has no {token}")
        contents = cls._fingerprint_of(folder)
        return cls(
            name,
            network.to(place),
            processor,
            fingerprint=content_hash({"folder": contents, "dtype": dtype, "device": place.type}),
            revision=f"sha256:{contents[:12]}",
        )

    @classmethod
    def _fingerprint_of(cls, folder: Path) -> str:
        """The folder's, and those of folders in it that the family reads too."""
        own = folder_fingerprint(folder)
        inner = {
            name: folder_fingerprint(folder / name)
            for name in cls.subfolders
            if (folder / name).is_dir()
        }
        return content_hash({"folder": own, **inner}) if inner else own

    @classmethod
    def read_network(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network of a checkpoint folder, on the CPU; errors of transformers come through."""
        return pretrained_network(cls.network_class, folder, dtype)

    @classmethod
    def read_processor(cls, folder: Path) -> Any:
        """The processor of a checkpoint folder; errors of transformers come through."""
        return pretrained(AutoProcessor, folder)

    @torch.no_grad()
    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        """See `LALM.representations`.

        Raises:
            ModelError: layers before the last are wanted of a model that has no one state there.
        """
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
        """See `LALM.layer_outputs`."""
        batches = [self.batch(conversations) for conversations in forms]
        return last_outputs(self.network.get_decoder(), batches)

    @property
    def decoder_layers(self) -> int:
        """See `LALM.decoder_layers`."""
        return len(self.network.get_decoder().layers)

    @property
    def refusal_token_id(self) -> int:
        """See `LALM.refusal_token_id`. Raises ModelError if "I" is not one token."""
        ids: list[int] = self.tokenizer(self.refusal_token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ModelError(f"{self.name}: {self.refusal_token!r} is {len(ids)} tokens, not one")
        return ids[0]

    def output_row(self, token_id: int) -> Tensor:
        """See `LALM.output_row`."""
        row: Tensor = self.network.get_output_embeddings().weight[token_id].detach().float()
        return row

    def attach_adapter(self, folder: str) -> AbstractContextManager[None]:
        """See `LALM.attach_adapter`."""
        return adapter_beside(self.network, folder)

    def attach_merged_adapter(self, folder: str) -> AbstractContextManager[None]:
        """See `LALM.attach_merged_adapter`. The very same tensors come back, bit for bit."""
        return adapter_merged(self.network, folder)

    def attach_steering(
        self, vectors: Mapping[int, Tensor], alpha: float
    ) -> AbstractContextManager[None]:
        """See `LALM.attach_steering`."""
        return self._steering.attached(vectors, alpha)
