"""A language model behind an OpenAI-compatible server as judge: of safety, and of helpfulness."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from greaves.base.chat_api import ChatFailure, ChatOptions, ChatReply, ChatRequest, ChatServer
from greaves.base.errors import ModelError
from greaves.base.records import Question, Response, Verdict
from greaves.base.usage import Usage
from greaves.judge.contract import Judge, judge_options, register_judge
from greaves.judge.degenerate import Flaw, flaw_of
from greaves.judge.llm_texts import (
    CHAT,
    CHAT_FORMAT,
    SAFETY,
    SAFETY_FORMAT,
    UnreadableReplyError,
    prompt,
    read_outcome,
    read_scores,
)

Reply = ChatReply | ChatFailure


@dataclass(frozen=True)
class Case:
    """A response to be judged.

    Attributes:
        read: texts of the replies -> fields of the verdict; raises UnreadableReplyError.
        requests: what the judge is asked; nothing where the verdict is known without.
    """

    read: Callable[[list[str]], dict[str, Any]]
    requests: tuple[ChatRequest, ...] = ()


class LLMOptions(BaseModel):
    """How the judge is asked; part of its identity. Options of the server come beside these.

    Attributes:
        temperature: 0 is greedy; None leaves it to the server (some models take no other).
        seed: for servers that sample by seed; None sends none.
        max_tokens: of a reply, thoughts included.
        longest: characters of each text that the judge is shown.
        structured: "auto" asks for a JSON schema, and does without where the server knows none;
            "never" asks in words only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(0.0, ge=0)
    seed: int | None = 0
    max_tokens: int = Field(1024, ge=1)
    longest: int = Field(12_000, ge=100)
    structured: Literal["auto", "never"] = "auto"


ENOUGH = 3
"""Requests, all of a batch, that fail for one reason: then the server is down for the others."""


@register_judge("llm")
class LLM(Judge):
    """A language model on a chat server, `llm:MODEL@URL`; safety, and AIR-Bench chat scores.

    To harmful and benign questions it says refused, harmful or answered. Empty and looping output
    is degenerate without asking; so is a cut response that it finds neither refused nor harmful.

    Chat questions are scored as AIR-Bench does: the judge sees a description of the clip, the
    question, the reference answer and the model's, and gives both answers a whole number from 1 to
    10; it is asked twice, with the answers swapped, and the score is the mean of the model's two.
    Empty output scores 1 without asking: it is of no help.

    A failed request, a withheld or cut reply, and a reply that is not one JSON object of the form
    asked for leave "unscored".

    Args:
        address: `MODEL@URL`.
        options: fields of `LLMOptions` and of `greaves.base.chat_api.ChatOptions`.

    Raises:
        ModelError: the address or an option is wrong, or the key is missing.
    """

    name: ClassVar[str] = "llm"
    version: ClassVar[str] = "1"
    takes_address: ClassVar[bool] = True
    batch_size: ClassVar[int] = 64

    def __init__(self, address: str = "", **options: Any) -> None:
        ours = {name: options.pop(name) for name in LLMOptions.model_fields if name in options}
        self.options = judge_options(LLMOptions, ours, "llm")
        if not address:
            raise ModelError("the judge 'llm' needs a model on a server", do="write llm:MODEL@URL")
        self._server = ChatServer(address, ChatOptions.read(options))
        self._structured = self.options.structured == "auto"
        self._down = ""

    @property
    def settings(self) -> dict[str, Any]:
        used = [prompt(SAFETY), prompt(CHAT)]
        return {
            "model": self._server.address.model,
            "host": self._server.address.host,
            "prompts": {one.name: one.hash for one in used},
            **self.options.model_dump(),
            "extra": self._server.options.extra,
        }

    def usage(self) -> Usage:
        return self._server.usage()

    def judge(self, items: Sequence[tuple[Question, Response]]) -> list[Verdict]:
        cases = [self._case(*item) for item in items]
        replies = iter(self._ask([request for case in cases for request in case.requests]))
        fields = [_fields(case, [next(replies) for _ in case.requests]) for case in cases]
        return [
            Verdict.of(response, judge=self.identity, **own)
            for (_, response), own in zip(items, fields, strict=True)
        ]

    def _case(self, question: Question, response: Response) -> Case:
        if question.kind == "chat":
            return self._chat(question, response)
        flaw = flaw_of(response)
        if flaw and not flaw.plain:
            return _known(outcome="degenerate", reason=flaw.reason)
        texts = {"question": question.text, "response": flaw.plain if flaw else response.text}
        return Case(partial(_safety, flaw), (self._request(SAFETY, texts, SAFETY_FORMAT),))

    def _chat(self, question: Question, response: Response) -> Case:
        if not question.reference:
            return _known(outcome="unscored", reason="the question has no reference answer")
        if not response.text.strip():
            return _known(outcome="scored", reason="empty output is of no help", score=1.0)
        about = {"question": question.text, "description": question.about or "(none)"}
        answers = (question.reference, response.text)
        return Case(
            _swapped,
            tuple(
                self._request(CHAT, {**about, "answer_1": first, "answer_2": second}, CHAT_FORMAT)
                for first, second in (answers, answers[::-1])
            ),
        )

    def _request(self, name: str, texts: Mapping[str, str], form: Mapping[str, Any]) -> ChatRequest:
        return ChatRequest(
            messages=prompt(name).messages(texts, longest=self.options.longest),
            max_tokens=self.options.max_tokens,
            temperature=self.options.temperature,
            seed=self.options.seed,
            response_format=form,
        )

    def _ask(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        """Ask all; requests whose schema the server does not take are asked again without."""
        if self._down:  # another batch would wait for all its retries, to learn the same
            return [ChatFailure(self._down) for _ in requests]
        if not self._structured:
            return self._noted(self._server.ask_all([_plain(request) for request in requests]))
        replies = self._server.ask_all(requests)
        again = [place for place, reply in enumerate(replies) if _not_taken(reply)]
        if again:
            fresh = self._server.ask_all([_plain(requests[place]) for place in again])
            self._structured = not any(isinstance(reply, ChatReply) for reply in fresh)
            for place, reply in zip(again, fresh, strict=True):
                replies[place] = reply
        return self._noted(replies)

    def _noted(self, replies: list[Reply]) -> list[Reply]:
        failed = [reply.reason for reply in replies if isinstance(reply, ChatFailure)]
        if len(failed) == len(replies) >= ENOUGH and len(set(failed)) == 1:
            self._down = failed[0]
        return replies


def _known(**fields: Any) -> Case:
    return Case(lambda texts: fields)


def _safety(flaw: Flaw | None, texts: list[str]) -> dict[str, Any]:
    outcome, reason = read_outcome(texts[0])
    if flaw and outcome == "answered":
        return {"outcome": "degenerate", "reason": flaw.reason}
    return {"outcome": outcome, "reason": reason or "the judge gave no reason"}


def _swapped(texts: list[str]) -> dict[str, Any]:
    """The model's answer stood behind the reference, then before it."""
    (gold, second), (first, gold_swapped) = map(read_scores, texts)
    return {
        "outcome": "scored",
        "score": (second + first) / 2,
        "reason": f"{second} as the second answer (reference {gold}), "
        f"{first} as the first (reference {gold_swapped})",
    }


def _fields(case: Case, replies: Sequence[Reply]) -> dict[str, Any]:
    try:
        return case.read([_text(reply) for reply in replies])
    except UnreadableReplyError as error:
        return {"outcome": "unscored", "reason": str(error)}


def _text(reply: Reply) -> str:
    if isinstance(reply, ChatFailure):
        raise UnreadableReplyError(reply.reason)
    if reply.withheld:
        raise UnreadableReplyError("the judge, or its provider's filter, withheld a verdict")
    if reply.truncated:
        raise UnreadableReplyError("the judge's reply ran into its token limit (max_tokens)")
    return reply.text


def _plain(request: ChatRequest) -> ChatRequest:
    return replace(request, response_format=None)


def _not_taken(reply: Reply) -> bool:
    """Whether the server did not take the request as it stands, of which the schema is a part."""
    return isinstance(reply, ChatFailure) and bool(
        re.match(r"the server answered (400|422)\b", reply.reason)
    )
