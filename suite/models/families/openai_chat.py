"""A model behind an OpenAI-compatible chat server that takes `input_audio`.

It is a black box: it answers, under a system prompt or a prompt suffix if one is attached, and
nothing else. What the server runs cannot be seen, so the fingerprint is that of the question put to
it: model name, URL, and the options that change an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn, get_args, overload

from torch import Tensor

from greaves.base.chat_api import (
    ChatFailure,
    ChatOptions,
    ChatReply,
    ChatRequest,
    ChatServer,
    parse_address,
)
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError
from greaves.base.records import MODES, Mode, content_hash
from greaves.base.usage import Usage
from greaves.models.chat_parts import ClipForm, clip_part, text_part
from greaves.models.contract import Generated, Unanswered, register_model
from greaves.models.standing_prompts import StandingPrompts

PROTOCOL = "input_audio: wav, 16 kHz, mono, 16-bit; clip before text; one request a sample"
"""How a question is put; part of the fingerprint."""


@register_model("openai")
class OpenAIChat(StandingPrompts):
    """A model on a chat server (vLLM, SGLang, OpenAI, greaves serve): openai:MODEL@URL.

    Args:
        address: `MODEL@URL`, such as "gpt-4o-audio-preview@https://api.openai.com/v1".
        modes: in which the server can be asked; OpenAI's audio models take no text alone, other
            servers no audio. Default: all.
        clip_as: "input_audio", or "audio_url" for servers that take clips as data URIs only.
        options: see `greaves.base.chat_api.ChatOptions`: key_env, concurrency, timeout, retries,
            prices, extra (such as {top_k: 50}).

    Raises:
        ModelError: the address or an option is of no use, or the openai package is not installed.
    """

    white_box = False
    takes_address = True
    modes: frozenset[Mode]  # type: ignore[misc]  # the server's, not the class's

    def __init__(
        self,
        address: str,
        *,
        modes: Sequence[Mode] = MODES,
        clip_as: ClipForm = "input_audio",
        **options: Any,
    ) -> None:
        super().__init__()
        self.check(address, modes=modes, clip_as=clip_as, **options)
        self.modes, self._clip_as = frozenset(modes), clip_as
        self._server = ChatServer(address, ChatOptions.read(options))
        place = self._server.address
        self.name, self.revision = place.model.rpartition("/")[2], place.url
        self.fingerprint = content_hash(
            {
                "model": place.model,
                "url": place.url,
                "extra": self._server.options.extra,
                "protocol": PROTOCOL,
            }
        )

    @staticmethod
    def check(
        address: str,
        *,
        modes: Sequence[Mode] = MODES,
        clip_as: ClipForm = "input_audio",
        **options: Any,
    ) -> None:
        """Raise ModelError where the address or an option is of no use; nothing is asked."""
        parse_address(address)
        ChatOptions.read(options)
        listed = isinstance(modes, list | tuple) and len(modes) > 0
        if not listed or any(mode not in MODES for mode in modes):
            raise ModelError("option 'modes' names no modes", do=f"list some of {', '.join(MODES)}")
        if clip_as not in get_args(ClipForm):
            raise ModelError("option 'clip_as' is input_audio or audio_url")

    def render(self, conversation: Conversation) -> str:
        """The messages as JSON, a placeholder for the clip."""
        spoken = [] if conversation.clip is None else [{"type": "input_audio"}]
        return json.dumps(_messages(conversation, spoken), ensure_ascii=True)

    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Generated]]:
        """Every sample is a request of its own, with its own seed."""
        requests = [
            request
            for conversation, own in zip(conversations, seeds, strict=True)
            for request in self._requests(conversation, sampling, own)
        ]
        outcomes = iter(self._server.ask_all(requests))
        answers = [[next(outcomes) for _ in own] for own in seeds]
        failures = [one for own in answers for one in own if isinstance(one, ChatFailure)]
        if failures:
            raise Unanswered(
                f"{self.name}: {len(failures)} of {len(requests)} requests of a batch failed:"
                f" {failures[0].reason}",
                [[_generated(one) for one in own] for own in answers],
            )
        return [[_generated(one) for one in own if isinstance(one, ChatReply)] for own in answers]

    def _requests(
        self, conversation: Conversation, sampling: Sampling, seeds: Sequence[int]
    ) -> list[ChatRequest]:
        conversation = self._under_prompts(conversation)
        spoken = [] if conversation.clip is None else [clip_part(conversation.clip, self._clip_as)]
        messages = _messages(conversation, spoken)
        return [
            ChatRequest(
                messages,
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed,
            )
            for seed in seeds
        ]

    def usage(self) -> Usage:
        return self._server.usage()

    # -- what a black box does not offer ---------------------------------------------------------

    def _hidden(self, what: str) -> NoReturn:
        raise ModelError(
            f"{self.name} is a black box behind a server: its {what} cannot be reached",
            do="load the model itself where a method needs its weights",
        )

    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        """Not offered. Raises ModelError."""
        self._hidden("hidden states")

    @property
    def decoder_layers(self) -> int:
        """Not offered. Raises ModelError."""
        self._hidden("layers")

    @property
    def refusal_token_id(self) -> int:
        """Not offered. Raises ModelError."""
        self._hidden("tokenizer")

    def output_row(self, token_id: int) -> Tensor:
        """Not offered. Raises ModelError."""
        self._hidden("output head")

    def attach_adapter(self, folder: str) -> AbstractContextManager[None]:
        """Not offered. Raises ModelError."""
        self._hidden("weights")


def _messages(conversation: Conversation, spoken: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns of a conversation; its clip, if it has one, comes as a part."""
    if conversation.reply:
        raise ModelError(
            "a chat server begins the assistant's turn itself: it takes no prefilled reply",
            do="leave such tasks and methods to models that are loaded here",
        )
    content: Any = conversation.text or ""
    if spoken:
        content = spoken + ([text_part(conversation.text)] if conversation.text else [])
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if conversation.system is not None:
        turns.insert(0, {"role": "system", "content": conversation.system})
    return turns


@overload
def _generated(outcome: ChatReply) -> Generated: ...
@overload
def _generated(outcome: ChatReply | ChatFailure) -> Generated | None: ...
def _generated(outcome: ChatReply | ChatFailure) -> Generated | None:
    if isinstance(outcome, ChatFailure):
        return None
    return Generated(
        outcome.text.strip(),
        outcome.truncated,
        outcome.prompt_tokens or None,  # 0 where the server does not count
        outcome.response_tokens or None,
    )
