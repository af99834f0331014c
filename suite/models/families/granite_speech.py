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
from torch import Tensor
from transformers import GraniteSpeechForConditionalGeneration, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from greaves.models.adapters import merge_own_adapter
from greaves.models.audio_text_processor import Heard
from greaves.models.transformers_lalm import TransformersLALM, register_family


class GraniteMel:
    """Log-mel frames, two by two: the steps of torchaudio's `MelSpectrogram`, in torch.

    Args:
        settings: of a checkpoint's feature extractor; absent ones are transformers' own.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.sampling_rate: int = settings.get("sampling_rate", 16_000)
        self.window: int = settings.get("projector_window_size", 15)
        self.downsampling: int = settings.get("projector_downsample_rate", 5)
        mel = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}
        mel |= settings.get("melspec_kwargs", {})
        self.n_fft, self.win_length = mel["n_fft"], mel["win_length"]
        self.hop_length = mel["hop_length"]
        bins, rate = self.n_fft // 2 + 1, self.sampling_rate
        filters = mel_filter_bank(bins, mel["n_mels"], 0.0, rate / 2, rate, mel_scale="htk")
        self.filters = torch.from_numpy(filters).float()

    @classmethod
    def from_pretrained(cls, folder: Path, **_options: Any) -> GraniteMel:
        """As other extractors are read."""
        read = SequenceFeatureExtractor.get_feature_extractor_dict
        return cls(read(folder, local_files_only=True)[0])

    def __call__(self, wave: Any) -> Tensor:
        """[samples] to [1, frame pairs, 2 * mel bins]."""
        samples = torch.as_tensor(wave, dtype=torch.float32)[None]
        window = torch.hann_window(self.win_length)
        sizes = self.n_fft, self.hop_length, self.win_length
        spectrum = torch.stft(samples, *sizes, window, return_complex=True)
        power = spectrum.abs() ** 2
        mel = power.transpose(-1, -2) @ self.filters
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(-2, -1), keepdim=True) - 8.0) / 4 + 1
        pairs = log.shape[1] // 2
        return log[:, : 2 * pairs].reshape(1, pairs, -1)

    def audio_tokens(self, samples: int) -> int:
        """Audio tokens that the projector makes of a clip; a begun window counts whole."""
        pairs = (samples // self.hop_length + 1) // 2
        return -(-pairs // self.window) * (self.window // self.downsampling)


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
    text_template = True
    tower = "model.encoder"
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
