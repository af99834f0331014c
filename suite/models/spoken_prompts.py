"""From conversations to what the language model reads: chat text, tokens, clips' features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from greaves.base.conversation import Conversation
from greaves.models.batches import Batch, Tokens
from greaves.models.chat_text import (
    NONE,
    chat_turns,
    default_system,
    without_default_system,
)
from greaves.models.hearing import Hearing


class SpokenPrompts(Hearing):
    """The part of a LALM in transformers that puts text and speech into one sequence."""

    end_of_turn: ClassVar[str]
    """The token that ends the assistant's turn."""

    system_marks: ClassVar[tuple[str, str] | None] = None
    """What is around a system turn at the head of chat text, for templates that put in one of
    their own where none is given; None where they do not."""

    default_system: ClassVar[str] = NONE
    """The option `system` where none is given: "none", "template", or a text."""

    system: str | None = None
    """Text of the model's own system turn; None for no such turn."""

    # -- what a family may say otherwise ---------------------------------------------------------

    def render(self, conversation: Conversation) -> str:
        """The checkpoint's own chat template; a system turn only where one is given or set."""
        conversation = self.under_system(conversation)
        text = self._templated(conversation)
        if conversation.system is None and self.system_marks is not None:
            text = without_default_system(text, *self.system_marks)
        return text + conversation.reply

    def template_system(self) -> str | None:
        """The system turn that the template puts in by itself; None where it puts in none."""
        if self.system_marks is None:
            return None
        return default_system(self._templated(Conversation(text="")), *self.system_marks)

    def turns(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation as the chat template takes it."""
        return chat_turns(conversation)

    def look_up(self, ids: Tensor) -> Tensor:
        """Embeddings of tokens: [batch, length] -> [batch, length, hidden_size]."""
        embeds: Tensor = self.network.get_input_embeddings()(ids)
        return embeds

    def beside(self, _tokens: Tokens) -> Mapping[str, Tensor]:
        """What the decoder wants beside embeddings, mask and positions; see `Batch`."""
        return {}

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
        length = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        joined = torch.cat(audio) if audio else torch.zeros(0, self.hidden_size)
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
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        return ids
