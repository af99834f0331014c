"""Qwen-Audio-Chat, first generation (Chu et al., 2023): what its own code did, natively.

Weights, tokenizer and template come from `greaves convert qwen-audio`. What is left for here is
how the original reads a clip and a chat, where the native processor differs:

* A clip has floor(samples / 160) mel frames; the processor says ceil, and a quarter of all lengths
  would get another number of audio tokens.
* The mel is cut where the clip ends, so that the first convolution sees zeros there; the processor
  shows it the logarithm of silence. The original cuts at the longest clip of a batch; here every
  clip is read as it is when alone.
* Each part of a chat is tokenised on its own, and no word of the user's is a special token.
* Up to 2,048 tokens attention is plain. Beyond, the original rescales positions and logits, which
  the native classes do not: such prompts are refused.

Audio-only questions are N/A, as published: the model was not asked any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2AudioConfig

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError, ModelError
from greaves.models.audio_text_processor import expanded
from greaves.models.contract import Generated, Seeds
from greaves.models.conversion import qwen_audio_tokens as chatml
from greaves.models.decoder import Tokens
from greaves.models.families.qwen2_audio import Qwen2Audio
from greaves.models.transformers_lalm import register_family

HOP = 160
"""Samples at 16 kHz from one mel frame to the next."""

MIN_SAMPLES = 480
"""Fewer give no audio token, on which the original crashed."""

_CONVERT = "convert it: greaves convert qwen-audio SRC DST"


def audio_lengths(samples: int) -> tuple[int, int]:
    """What the original makes of a clip's length.

    Args:
        samples: at 16 kHz.

    Returns:
        Positions after the convolutions (half the mel frames, rounded up), and audio tokens.
    """
    positions = (samples // HOP + 1) // 2
    return positions, positions // 2


def mel_features(extractor: Any, waves: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The log-mel spectrograms that the original's audio tower saw, each clip as if alone.

    Args:
        extractor: Whisper's feature extractor.
        waves: [clips] of [samples] at 16 kHz.

    Returns:
        [clips, mel bins, frames] zero from where a clip ends; [clips, frames] 1 on the frames that
        count.

    Raises:
        DataError: a clip is shorter than 480 samples.
    """
    for wave in waves:
        if len(wave) < MIN_SAMPLES:
            least = f"Qwen-Audio hears nothing below {MIN_SAMPLES}"
            what = f"a clip has {len(wave)} samples at 16 kHz; {least}"
            raise DataError(what, do="leave it out")
    mel = extractor(
        list(waves), sampling_rate=extractor.sampling_rate, return_tensors="pt"
    ).input_features
    kept = torch.tensor([2 * audio_lengths(len(wave))[0] for wave in waves])
    mask = (torch.arange(mel.shape[-1]) < kept[:, None]).long()
    return mel * mask[:, None], mask


@register_family("qwen-audio")
class QwenAudio(Qwen2Audio):
    """First-generation Qwen-Audio-Chat from a folder that `greaves convert qwen-audio` made."""

    architecture = "converted first-generation Qwen-Audio"
    audio_token = chatml.AUDIO
    audio_prompt = f"{chatml.AUDIO_START}{chatml.AUDIO}{chatml.AUDIO_END}"
    end_of_turn = chatml.TURN_END
    modes = frozenset({"audio-text", "text-only"})

    @classmethod
    def checkpoint_folder(cls, path: str | Path | None, revision: str | None) -> Path:
        """A folder on this machine. Raises ModelError for one that was not converted."""
        if path is None or revision is not None:
            raise ModelError("qwen-audio needs the option `path`, and no `revision`", do=_CONVERT)
        _check_converted(Path(path))
        return Path(path)

    def template_system(self) -> str:
        """What the original's code put into the system turn."""
        return "You are a helpful assistant."

    def render(self, conversation: Conversation) -> str:
        """The original's chat form; a system turn only where one is given or set."""
        return "".join(text for text, _ in self._parts(self.under_system(conversation)))

    def processed(self, texts: list[str], waves: list[Any]) -> dict[str, Any]:
        """Each clip gets as many placeholders as the original gave it."""
        counts = [audio_lengths(len(wave))[1] for wave in waves]
        inputs = expanded(self.tokenizer, texts, chatml.AUDIO, counts)
        if waves:
            mel, mask = mel_features(self.processor.feature_extractor, waves)
            inputs |= {"input_features": mel, "feature_attention_mask": mask}
        return inputs

    def tokens(
        self, conversations: Sequence[Conversation], replies: Sequence[Sequence[int]] = ()
    ) -> Tokens:
        """Raises ModelError beyond 2,048 tokens."""
        tokens = super().tokens(conversations, replies)
        self._check_length(conversations, tokens, 0)
        return tokens

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Seeds
    ) -> list[list[Generated]]:
        """Raises ModelError if a response could pass the 2,048th token."""
        self._check_length(conversations, self.tokens(conversations), sampling.max_new_tokens)
        return super().respond(conversations, sampling, seeds)

    def _check_length(self, turns: Sequence[Conversation], tokens: Tokens, room: int) -> None:
        limit = self.network.config.get_text_config().max_position_embeddings
        lengths = tokens.mask.sum(-1)
        longest = int(lengths.argmax())
        prompt = int(lengths[longest])
        if prompt + room > limit:
            item = turns[longest]
            response = f" with {room:,} for the response" if room else ""
            raise ModelError(
                f"a prompt of {prompt:,} tokens{response}; {self.name} is exact up to {limit:,}",
                where=item.clip or (item.text or "")[:40],
                do="shorten it" + (" or lower max_new_tokens" if room else ""),
            )

    def _tokens(self, text: str, conversation: Conversation) -> list[int]:
        ids: list[int] = []
        for part, special in self._parts(conversation):
            if special:
                ids.append(self.tokenizer.convert_tokens_to_ids(part))
            elif part:
                ids += self._plain(part)
        return ids

    def _parts(self, conversation: Conversation) -> list[tuple[str, bool]]:
        """The prompt in the parts that are tokenised on their own; True on special tokens."""
        system = conversation.system
        said = [(conversation.text or "", False)]
        if conversation.clip is not None:
            text = f"\n{conversation.text or ''}"
            marks = [(chatml.AUDIO_START, True), (chatml.AUDIO, True), (chatml.AUDIO_END, True)]
            said = [("Audio 1:", False), *marks, (text, False)]
        return [
            *(_turn("system", [(system, False)]) if system is not None else []),
            *_turn("user", said),
            *_begin("assistant"),
            (conversation.reply, False),
        ]


def _begin(role: str) -> list[tuple[str, bool]]:
    return [(chatml.TURN_START, True), (role, False), ("\n", False)]


def _turn(role: str, content: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    return [*_begin(role), *content, (chatml.TURN_END, True), ("\n", False)]


def _check_converted(folder: Path) -> None:
    """Raises ModelError for what loads only after conversion, or as another family."""
    kind = _field(folder / "config.json", "model_type")
    if kind == "qwen":
        what = "Qwen-Audio as its makers published it, which needs their code"
        raise ModelError(what, where=str(folder), do=_CONVERT)
    if kind != Qwen2AudioConfig.model_type:
        return  # loading says what is wrong
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            "it has no tokenizer", where=str(folder), do=f"put qwen.tiktoken in SRC and {_CONVERT}"
        )
    if _field(folder / "processor_config.json", "audio_token") != chatml.AUDIO:
        raise ModelError(
            "Qwen2-Audio, which is read otherwise", where=str(folder), do="load it as qwen2-audio"
        )


def _field(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get(name)
    except (OSError, ValueError, AttributeError):
        return None
