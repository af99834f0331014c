"""A model behind an OpenAI-compatible chat server that takes `input_audio`.

It is a black box: parts of a defence act on clips, conversations and answers, and on nothing else.
What the server runs cannot be seen, so the fingerprint is that of the question put to
it: model name, URL, and the options that change an answer.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile

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
from greaves.data.speech.clips import load_clip
from greaves.models.chat_text import NONE, TEMPLATE, chat_turns, check_system
from greaves.models.contract import LALM, Generated, Seeds, Unanswered, register_model
from greaves.models.points import RATE, Wave

PROTOCOL = "input_audio: wav, 16 kHz, mono, 16-bit; clip before text; one request a sample"
"""How a question is put; part of the fingerprint."""

ClipForm = Literal["input_audio", "audio_url"]
"""OpenAI's own form, or a data URI, which SGLang took before it took the other."""


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
        facts = {"model": place.model, "url": place.url, "extra": self._server.options.extra}
        system_turn = {} if self._system is None else {"system": self._system}
        self.fingerprint = content_hash({**facts, "protocol": PROTOCOL, **system_turn})

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
        """The turns of a conversation; its clip, if it has one, comes as a part."""
        if conversation.reply:
            what = "a chat server begins the assistant's turn itself: it takes no prefilled reply"
            raise ModelError(what, do="leave such tasks and methods to models that are loaded here")
        if self._system is not None:
            conversation = conversation.after_system(self._system)
        turns = chat_turns(conversation, "")
        if spoken:
            said = [{"type": "text", "text": conversation.text}] if conversation.text else []
            turns[-1]["content"] = spoken + said
        return turns

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Seeds
    ) -> list[list[Generated]]:
        requests: list[ChatRequest] = []
        for turn, own in zip(conversations, seeds, strict=True):
            spoken = [] if turn.clip is None else [clip_part(turn.clip, self._clip_as)]
            ask = partial(
                ChatRequest,
                self._messages(turn, spoken),
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
            )
            requests += [ask(seed=seed) for seed in own]
        outcomes = self._server.ask_all(requests)
        found = [_generated(one) if isinstance(one, ChatReply) else None for one in outcomes]
        left = iter(found)
        answers = [[next(left) for _ in own] for own in seeds]
        failures = [one for one in outcomes if isinstance(one, ChatFailure)]
        if failures:
            what = f"{self.name}: {len(failures)} of {len(requests)} requests of a batch failed"
            raise Unanswered(f"{what}: {failures[0].reason}", answers)
        return [[one for one in own if one] for own in answers]

    def usage(self) -> Usage:
        return self._server.usage()


def _generated(reply: ChatReply) -> Generated:
    return Generated(
        reply.text.strip(),
        reply.truncated,
        reply.prompt_tokens or None,  # 0 where the server does not count
        reply.response_tokens or None,
    )


def clip_part(path: str | Path, form: ClipForm = "input_audio") -> dict[str, Any]:
    """A clip as a part of a message.

    Raises:
        DataError: the clip is missing or broken (see `greaves.data.speech.clips.load_clip`).
    """
    data = base64.b64encode(wav(load_clip(path, RATE))).decode("ascii")
    if form == "audio_url":
        return {"type": form, form: {"url": f"data:audio/wav;base64,{data}"}}
    return {"type": form, form: {"data": data, "format": "wav"}}


def wav(samples: Wave) -> bytes:
    """A WAV file, 16-bit PCM, mono, 16 kHz: the same samples give the same bytes anywhere.

    Args:
        samples: [samples] in -1..1; what lies outside is clipped.
    """
    numbers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    file = io.BytesIO()
    soundfile.write(file, numbers, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
