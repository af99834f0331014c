"""Granite Speech (IBM, 2025): conformer encoder, query projector, Granite LM.

Three things are its own. Its feature extractor wants torchaudio for one spectrogram, which is
written out here. Its 3.x checkpoints carry a LoRA adapter that transformers switches on with audio
and off without; here it is added to the weights for good, so that one model answers in all modes
(text-only questions too, which IBM's own pipeline gives to the bare Granite). And its chat template
puts in a system turn with today's date, which is taken out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import GraniteSpeechForConditionalGeneration

from greaves.base.conversation import Conversation
from greaves.models.adapters import merge_own_adapter
from greaves.models.audio_text_processor import Heard
from greaves.models.chat_text import plain_turns
from greaves.models.granite_mel import GraniteMel
from greaves.models.transformers_lalm import TransformersLALM, register_family


@register_family("granite-speech")
class GraniteSpeech(TransformersLALM):
    """Granite Speech from the hub or a local folder; its speech adapter is merged."""

    architecture = "Granite Speech"
    hub = "ibm-granite/granite-speech-3.3-8b"
    network_class = GraniteSpeechForConditionalGeneration
    audio_token = "<|audio|>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "<|audio|>"
    end_of_turn = "<|end_of_text|>"
    feature_extractor = GraniteMel
    system_marks = ("<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n")
    feature_batch = 1  # the encoder has no mask: padding would be heard
    longest_clip = None

    @classmethod
    def read_network(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network with its speech adapter, if it has one, in its weights."""
        network = super().read_network(folder, dtype)
        merge_own_adapter(network, folder)
        scale_logits(network)
        return network

    @staticmethod
    def hear(extractor: GraniteMel, waves: Sequence[Any]) -> Heard:
        """Three audio tokens for every 15 encoder frames of 20 ms, begun windows whole."""
        counts = [extractor.audio_tokens(len(wave)) for wave in waves]
        mel = torch.cat([extractor(wave) for wave in waves])
        return {"input_features": mel}, counts

    def turns(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Its template takes text only, the audio token in it."""
        return plain_turns(conversation, self.audio_prompt)

    @property
    def audio_tower(self) -> nn.Module:
        """The conformer; a projector follows."""
        tower: nn.Module = self.network.model.encoder
        return tower


@torch.no_grad()
def scale_logits(network: Any) -> None:
    """Divide logits by the LM's `logits_scaling` where transformers does not, as in 5.23.

    The bare Granite class divides; without it, temperature 1 would sample as a much lower one.
    """
    scaling = network.config.get_text_config().logits_scaling
    ids = torch.zeros(1, 1, dtype=torch.long)
    state = network.get_decoder()(input_ids=ids).last_hidden_state
    plain = network.get_output_embeddings()(state)
    if torch.equal(network(input_ids=ids).logits, plain):
        network.get_output_embeddings().register_forward_hook(
            lambda _module, _inputs, logits: logits / scaling
        )
