"""Gemma 3n (Google, 2025): Universal Speech Model encoder and a MatFormer LM, without the images.

Its own: a clip is always 188 audio tokens, whatever its length (at most 30 s), between blank lines;
some marks beside it have embeddings of the audio vocabulary; each layer gets a second embedding of
the token (`per_layer_inputs`). A layer hands on four streams, not one hidden state, so the model
can be fine-tuned but not steered. The vision tower, which needs timm, is not built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, Gemma3nAudioFeatureExtractor, Gemma3nForConditionalGeneration
from transformers.models.gemma3n.modeling_gemma3n import (
    Gemma3nModel,
    Gemma3nMultimodalEmbedder,
    Gemma3nPreTrainedModel,
)

from greaves.base.conversation import Conversation
from greaves.models.audio_text_processor import Heard
from greaves.models.decoder import Tokens
from greaves.models.transformers_lalm import TransformersLALM, register_family

AUDIO_TOKENS = 188
"""Of every clip."""


class HearingModel(Gemma3nModel):  # type: ignore[misc]
    """Gemma3nModel without its vision tower; all else is built as there."""

    def __init__(self, config: Any) -> None:
        Gemma3nPreTrainedModel.__init__(self, config)
        self.vocab_size = config.text_config.vocab_size
        self.vocab_size_per_layer_input = config.text_config.vocab_size_per_layer_input
        self.language_model = AutoModel.from_config(config.text_config)
        self.audio_tower = AutoModel.from_config(config.audio_config)
        self.embed_vision = Gemma3nMultimodalEmbedder(config.vision_config, config.text_config)
        self.embed_audio = Gemma3nMultimodalEmbedder(config.audio_config, config.text_config)
        self.post_init()


class HearingGemma(Gemma3nForConditionalGeneration):  # type: ignore[misc]
    """Gemma3nForConditionalGeneration without its vision tower."""

    def __init__(self, config: Any) -> None:
        Gemma3nPreTrainedModel.__init__(self, config)
        self.model = HearingModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()


@register_family("gemma-3n")
class Gemma3n(TransformersLALM):
    """Gemma 3n from the hub or a local folder; its vision tower is not built."""

    architecture = "Gemma 3n"
    hub = "google/gemma-3n-E4B-it"
    network_class = HearingGemma
    audio_token = "<audio_soft_token>"  # noqa: S105 - a token of the vocabulary
    audio_prompt = "\n\n<start_of_audio><audio_soft_token><end_of_audio>\n\n"
    end_of_turn = "<end_of_turn>"
    feature_extractor = Gemma3nAudioFeatureExtractor
    one_stream = False
    points = TransformersLALM.points - {"layers"}
    longest_clip = 30.0
    feature_batch = 1  # its mel frames are padded with the longest clip of a batch

    @staticmethod
    def hear(extractor: Any, waves: Sequence[Any]) -> Heard:
        """As many audio tokens for every clip; unused ones are filled by the network."""
        made = extractor(list(waves), return_tensors="pt")
        inputs = {name: made[name] for name in ("input_features", "input_features_mask")}
        inputs["input_features_mask"] = inputs["input_features_mask"].bool()
        return inputs, [AUDIO_TOKENS] * len(waves)

    def render(self, conversation: Conversation) -> str:
        """The chat template, and what the native processor puts around a clip."""
        text = super().render(conversation)
        if conversation.clip is None:
            return text
        # The template writes the clip's token first, so it is not one of the user's words.
        head, turn, rest = text.partition("<start_of_turn>user\n")
        return head + turn + rest.replace(self.audio_token, self.audio_prompt, 1)

    def look_up(self, ids: Tensor) -> Tensor:
        """Marks of the audio vocabulary have embeddings of their own."""
        heard = self.network.model.embed_audio
        audio = ids >= heard.vocab_offset
        any_of_them = heard.vocab_offset + heard.vocab_size - 1
        marks: Tensor = heard(input_ids=ids.where(audio, any_of_them))
        words = super().look_up(ids.masked_fill(audio, 0))
        return marks.to(words).where(audio[..., None], words)

    def beside(self, tokens: Tokens) -> Mapping[str, Tensor]:
        """Every layer's own embedding of each token; audio tokens count as token 0."""
        with torch.no_grad():
            return {"per_layer_inputs": self.network.get_decoder().get_per_layer_inputs(tokens.ids)}
