"""A model behind an OpenAI-compatible chat server that takes `input_audio`.

It is a black box: parts of a defence act on clips, conversations and answers, and on nothing else.
What the server runs cannot be seen, so the fingerprint is that of the question put to
it: model name, URL, and the options that change an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args, overload

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
from greaves.models.chat_text import NONE, TEMPLATE, check_system
from greaves.models.contract import LALM, Generated, Unanswered, register_model

PROTOCOL = "input_audio: wav, 16 kHz, mono, 16-bit; clip before text; one request a sample"
"""How a question is put; part of the fingerprint."""


@register_model("openai")
class OpenAIChat(LALM):
    """A model on a chat server (vLLM, SGLang, OpenAI, greaves serve): openai:MODEL@URL.

    Args:
        address: `MODEL@URL`, such as "gpt-4o-audio-preview@https://api.openai.com/v1".
        modes: in which the server can be asked; OpenAI's audio models take no text alone, other
            servers no audio. Default: all.
        clip_as: "input_audio", or "audio_url" for servers that take clips as data URIs only.
        system: text of a system turn in every conversation; "none" for no such turn.
        options: see `greaves.base.chat_api.ChatOptions`: key_env, concurrency, timeout, retries,
            prices, extra (such as {top_k: 50}).

    Raises:
        ModelError: the address or an option is of no use, or the openai package is not installed.
    """

    takes_address = True

    def __init__(
        self,
        address: str,
        *,
        modes: Sequence[Mode] = MODES,
        clip_as: ClipForm = "input_audio",
        system: str = NONE,
        **options: Any,
    ) -> None:
        self.check(address, modes=modes, clip_as=clip_as, system=system, **options)
        self.modes, self._clip_as = frozenset(modes), clip_as
        self._system = None if system == NONE else system
        self._server = ChatServer(address, ChatOptions.read(options))
        place = self._server.address
        self.name, self.revision = place.model.rpartition("/")[2], place.url
        self.fingerprint = content_hash(
            {
                "model": place.model,
                "url": place.url,
                "extra": self._server.options.extra,
                "protocol": PROTOCOL,
                **({} if self._system is None else {"system": self._system}),
            }
        )

    @staticmethod
    def check(
        address: str,
        *,
        modes: Sequence[Mode] = MODES,
        clip_as: ClipForm = "input_audio",
        system: str = NONE,
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
        check_system(system)
        if system == TEMPLATE:
            raise ModelError("a server keeps its template to itself", do="give `system` as a text")

    def render(self, conversation: Conversation) -> str:
        """The messages as JSON, a placeholder for the clip."""
        spoken = [] if conversation.clip is None else [{"type": "input_audio"}]
        return json.dumps(self._messages(conversation, spoken), ensure_ascii=True)

    def _messages(
        self, conversation: Conversation, spoken: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if self._system is not None:
            conversation = conversation.after_system(self._system)
        return _messages(conversation, spoken)

    def respond(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Generated]]:
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
        spoken = [] if conversation.clip is None else [clip_part(conversation.clip, self._clip_as)]
        messages = self._messages(conversation, spoken)
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
