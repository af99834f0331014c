"""From conversations to what the language model reads: chat text, tokens, clips' features.

A clip goes through the audio tower once. What comes out is kept and reused over samples, modes,
prompts and epochs, which is exact as long as the audio tower is frozen - and methods here never
train it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from greaves.base.conversation import Conversation
from greaves.base.errors import DataError, ModelError
from greaves.data.speech.clips import clip_hash, load_clip
from greaves.models.chat_text import NONE, chat_turns, split_system
from greaves.models.contract import LALM
from greaves.models.decoder import Batch, Tokens
from greaves.models.feature_cache import FeatureCache
from greaves.models.points import TensorChange


class _DecoderReached(Exception):  # noqa: N818 - carries a value out of a forward pass
    def __init__(self, embeds: Tensor) -> None:
        self.embeds = embeds


class SpokenPrompts(LALM):
    """The part of a LALM in transformers that listens, and puts text and speech into one sequence.

    Args:
        name: name in recipes and tables.
        network: the model, in evaluation mode.
        processor: has a `tokenizer`, a `feature_extractor` and `apply_chat_template`.
        fingerprint: see `greaves.models.loading.folder_fingerprint`.
        revision: revision of the weights.

    Attributes:
        audio_token: stands for a clip in chat text, and is repeated once a feature.
        audio_prompt: a clip alone, as chat text has it: the audio token between its marks.
        feature_batch: clips that pass the audio tower together; 1 where a clip's features depend
            on the others.
        end_of_turn: the token that ends the assistant's turn.
        text_template: the chat template takes text only, the audio token in it.
        tower: name of the module that every clip passes.
        system_marks: what is around a system turn at the head of chat text, for templates that put
            in one of their own where none is given; None where they do not.
        default_system: the option `system` where none is given: "none", "template", or a text.
        system: text of the model's own system turn; None for no such turn.
    """

    audio_token: ClassVar[str]
    audio_prompt: ClassVar[str]
    feature_batch: ClassVar[int] = 32
    end_of_turn: ClassVar[str]
    text_template: ClassVar[bool] = False
    tower: ClassVar[str] = "model.audio_tower"
    system_marks: ClassVar[tuple[str, str] | None] = None
    default_system: ClassVar[str] = NONE
    system: str | None = None

    def __init__(
        self, name: str, network: nn.Module, processor: Any, *, fingerprint: str, revision: str
    ) -> None:
        self.name, self.revision, self.fingerprint = name, revision, fingerprint
        self.network: Any = network.eval().requires_grad_(False)
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        self.feature_cache: FeatureCache | None = None
        self._features: dict[str, Tensor] = {}
        self._feature_changes: tuple[TensorChange, ...] = ()

    # -- what a family may say otherwise ---------------------------------------------------------

    def render(self, conversation: Conversation) -> str:
        """The checkpoint's own chat template; a system turn only where one is given or set."""
        conversation = self.under_system(conversation)
        text = self._templated(conversation)
        if conversation.system is None:
            _, text = split_system(text, self.system_marks)
        return text + conversation.reply

    def template_system(self) -> str | None:
        """The system turn that the template puts in by itself; None where it puts in none."""
        if self.system_marks is None:
            return None
        return split_system(self._templated(Conversation(text="")), self.system_marks)[0]

    def turns(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation as the chat template takes it."""
        return chat_turns(conversation, self.audio_prompt if self.text_template else None)

    def look_up(self, ids: Tensor) -> Tensor:
        """Embeddings of tokens: [batch, length] -> [batch, length, hidden_size]."""
        embeds: Tensor = self.network.get_input_embeddings()(ids)
        return embeds

    def beside(self, _tokens: Tokens) -> Mapping[str, Tensor]:
        """What the decoder wants beside embeddings, mask and positions; see `Batch`."""
        return {}

    def processed(self, texts: list[str], waves: list[Any]) -> dict[str, Any]:
        """Everything that the network's own forward takes, as the family's processor makes it.

        Args:
            texts: [batch] chat texts.
            waves: a waveform for each clip in them, in order.
        """
        rate = self.processor.feature_extractor.sampling_rate
        heard = {"audio": waves, "sampling_rate": rate} if waves else {}
        return dict(self.processor(text=texts, return_tensors="pt", padding=True, **heard))

    def audio_inputs(self, waves: list[Any]) -> dict[str, Any]:
        """Arguments of the network for a batch whose prompts are one clip each."""
        return self.processed([self.audio_prompt] * len(waves), waves)

    def when_embedded(self, use: Callable[[Tensor], None]) -> RemovableHandle:
        """Have `use` called with the embeddings, audio in place, as a forward pass reaches them."""
        decoder: nn.Module = self.network.get_decoder()
        return decoder.register_forward_pre_hook(
            lambda _module, _args, kwargs: use(kwargs["inputs_embeds"]), with_kwargs=True
        )

    @property
    def longest_clip(self) -> float | None:
        """Seconds of a clip that are heard; None for all. Default: the mel window."""
        extractor = self.processor.feature_extractor
        return float(extractor.n_samples / extractor.sampling_rate)

    @property
    def audio_tower(self) -> nn.Module:
        """The module that every clip passes, once."""
        tower: nn.Module = self.network.get_submodule(self.tower)
        return tower

    # -- the rest --------------------------------------------------------------------------------

    def _templated(self, conversation: Conversation) -> str:
        text: str = self.processor.apply_chat_template(
            self.turns(conversation), add_generation_prompt=True, tokenize=False
        )
        return text

    def under_system(self, conversation: Conversation) -> Conversation:
        """The turn under the model's own system turn; the conversation's system comes after it."""
        return conversation if self.system is None else conversation.after_system(self.system)

    def batch(self, conversations: Sequence[Conversation]) -> Batch:
        """Tokenise, pad on the left, and put the clips' features in place."""
        return self.embed(self.tokens(conversations))

    def tokens(
        self, conversations: Sequence[Conversation], replies: Sequence[Sequence[int]] = ()
    ) -> Tokens:
        """Tokenise and pad on the left; the clips' features go beside.

        Args:
            conversations: [batch] turns.
            replies: [batch] token ids that the assistant has said already; none if left out.
        """
        spoken = [item.clip for item in conversations if item.clip is not None]
        features = iter(self.features(spoken))
        rows: list[list[int]] = []
        audio: list[Tensor] = []
        for item, reply in zip(conversations, replies or [()] * len(conversations), strict=True):
            row = self._tokens(self.render(item), self.under_system(item))
            if item.clip is not None:
                audio.append(next(features))
                place = row.index(self.audio_token_id)
                row[place : place + 1] = [self.audio_token_id] * len(audio[-1])
            rows.append([*row, *reply])
        return self.padded(rows, audio)

    def padded(self, rows: Sequence[Sequence[int]], audio: Sequence[Tensor] = ()) -> Tokens:
        """Rows of token ids, padded on the left, and the features of the clips in them."""
        length, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        joined = torch.cat(list(audio)) if audio else torch.zeros(0, self.hidden_size)
        return Tokens(ids.to(self.device), mask.to(self.device), joined.to(self.device))

    def embed(self, tokens: Tokens) -> Batch:
        """Look the tokens up and put the clips' features in place."""
        ids, mask = tokens.ids, tokens.mask
        slots = (ids == self.audio_token_id) & (mask == 1)
        with torch.no_grad():  # a placeholder may have no row of its own
            embeds = self.look_up(ids.masked_fill(slots, 0))
        if len(tokens.audio):
            embeds = embeds.masked_scatter(slots[..., None], tokens.audio.to(embeds))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return Batch(ids, embeds, mask, positions, self.beside(tokens))

    def response_ids(self, text: str) -> list[int]:
        """Token ids of a whole response: its text, where special tokens stay text, and the end of
        the assistant's turn."""
        return [*self._plain(text), self.tokenizer.convert_tokens_to_ids(self.end_of_turn)]

    def _tokens(self, text: str, conversation: Conversation) -> list[int]:
        """Token ids of a rendered prompt; special tokens inside the user's own words stay text."""
        foreign = [
            part
            for part in (conversation.system, conversation.text, conversation.reply)
            if part and any(token in part for token in self.tokenizer.all_special_tokens)
        ]
        ids: list[int] = []
        for part in foreign:
            ours, _, text = text.partition(part)
            ids += self.tokenizer(ours, add_special_tokens=False)["input_ids"]
            ids += self._plain(part)
        ids += self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _plain(self, text: str) -> list[int]:
        """Token ids of text in which nothing is special."""
        read = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(read["input_ids"])

    @property
    def audio_token_id(self) -> int:
        """Id of the token that a clip's features stand in for."""
        return int(self.tokenizer.convert_tokens_to_ids(self.audio_token))

    @property
    def hidden_size(self) -> int:
        """Of the language model's hidden states."""
        return int(self.network.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the language model's weights are."""
        device: torch.device = self.network.get_input_embeddings().weight.device
        return device

    def features(self, clips: Sequence[str]) -> list[Tensor]:
        """Embeddings that stand in for each clip's audio tokens, [tokens, hidden_size] each.

        Every clip (by content) passes through the audio tower once in the life of this object, or,
        with a `feature_cache`, once in the life of that folder.

        Raises:
            DataError: a clip is missing, broken (see `greaves.data.speech.clips.load_clip`), longer
                than the model hears, or too short for it.
        """
        keys = [clip_hash(clip) for clip in clips]
        by_key = dict(zip(keys, clips, strict=True))
        if self.feature_cache is not None:
            for key in by_key.keys() - self._features.keys():
                if (kept := self.feature_cache.get(key)) is not None:
                    self._features[key] = kept.to(self.device)
        todo = [(key, clip) for key, clip in by_key.items() if key not in self._features]
        size = 1 if self._feature_changes else self.feature_batch
        for start in range(0, len(todo), size):
            part = todo[start : start + size]
            waves = [self._wave(clip) for _, clip in part]
            for (key, clip), rows in zip(part, self._encode(waves), strict=True):
                if not len(rows):
                    raise DataError(f"the clip is too short for {self.name} to hear", where=clip)
                self._features[key] = rows
                if self.feature_cache is not None:
                    self.feature_cache.put(key, rows)
        return [self._features[key] for key in keys]

    def keep_features(self, folder: Path) -> None:
        self.feature_cache = FeatureCache(folder)

    @contextmanager
    def features_changed(self, change: TensorChange) -> Iterator[None]:
        """Change what the audio tower gets until the context is left.

        Args:
            change: of one clip's features, [1, ...] as the family shapes them, to the same shape.
        """
        before = self._features, self.feature_cache, self._feature_changes
        self._features, self.feature_cache = {}, None
        self._feature_changes = (*self._feature_changes, change)
        try:
            yield
        finally:
            self._features, self.feature_cache, self._feature_changes = before

    def _wave(self, clip: str) -> Any:
        rate, longest = self.processor.feature_extractor.sampling_rate, self.longest_clip
        wave = load_clip(clip, rate)
        if longest is not None and len(wave) > round(longest * rate):
            what = f"the clip lasts {len(wave) / rate:.1f} s, {self.name} hears {longest:.0f} s"
            raise DataError(what, where=clip, do="cut it; the model would not hear the rest")
        return wave

    @torch.no_grad()
    def _encode(self, waves: list[Any]) -> list[Tensor]:
        """Run the network up to its decoder and read the embeddings at the audio positions."""
        inputs = {key: value.to(self.device) for key, value in self.audio_inputs(waves).items()}
        for change in self._feature_changes:
            name = next(key for key in inputs if key.endswith("input_features"))
            made = change(inputs[name])
            if made.shape != inputs[name].shape:
                what = f"a part turns features {[*inputs[name].shape]} into {[*made.shape]}"
                raise ModelError(what, do="keep their shape")
            inputs[name] = made.to(inputs[name])
        audio = inputs["input_ids"] == self.audio_token_id

        def stop(embeds: Tensor) -> None:
            raise _DecoderReached(embeds)

        hook = self.when_embedded(stop)
        try:
            self.network(**inputs)
            raise ModelError(f"{self.name}: the network never called its decoder")
        except _DecoderReached as reached:
            embeds = reached.embeds
        finally:
            hook.remove()
        return [row[where].clone() for row, where in zip(embeds, audio, strict=True)]
