"""The client: many requests at once, each repeated until it is answered or hopeless."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from anyio.from_thread import start_blocking_portal

from greaves.base.chat_api.address import Address, parse_address
from greaves.base.chat_api.messages import (
    FILTERED,
    ChatFailure,
    ChatReply,
    ChatRequest,
    MalformedReplyError,
    error_in,
    presentable,
    read_reply,
)
from greaves.base.chat_api.options import ChatOptions
from greaves.base.errors import ModelError
from greaves.base.usage import Usage

HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host"}
    | {"transfer-encoding", "user-agent", "x-stainless-raw-response"}
)
"""All that is sent besides the key: the openai package adds facts about the machine, and whatever
OPENAI_CUSTOM_HEADERS and its like hold, which are not meant for any server that a recipe names."""

HOPELESS = 3
"""Requests in a row that fail after all their retries: then the server is down for the others."""


@dataclass
class _Course:
    """How one call of `ask_all` goes: failures in a row, and why the rest is not asked."""

    failed: int = 0
    given_up: str = ""


class ChatServer:
    """A model on an OpenAI-compatible chat server: vLLM, SGLang, OpenAI, `greaves serve`.

    Repeated are attempts that could not connect, were cut off or timed out, statuses 408, 409, 429
    and 5xx, and replies that are not chat completions. Other statuses are final.

    Args:
        address: `MODEL@URL`, or one that is parsed already.
        options: concurrency, timeout, retries, the key's environment variable, prices.

    Raises:
        ModelError: the address or the key is of no use, or the openai package is not installed.
    """

    def __init__(self, address: str | Address, options: ChatOptions | None = None) -> None:
        self.address = parse_address(address) if isinstance(address, str) else address
        self.options = options or ChatOptions()
        self.options.key(self.address)
        try:
            import openai
        except ImportError:
            what = "the openai client is not installed"
            raise ModelError(what, do="pip install 'greaves[servers]'") from None
        self._openai: Any = openai
        self._usage = Usage(cost=0.0 if self.options.prices else None)

    def usage(self) -> Usage:
        """What has been spent so far. Cost is None without prices."""
        return self._usage

    def ask_all(self, requests: Sequence[ChatRequest]) -> list[ChatReply | ChatFailure]:
        """Ask all requests, `concurrency` at a time. Also works where an event loop runs already.

        Returns:
            What became of each request, in their order.
        """
        if not requests:
            return []
        with start_blocking_portal() as portal:  # a notebook's own thread has a loop running
            return portal.call(self._ask_all, requests)

    async def _ask_all(self, requests: Sequence[ChatRequest]) -> list[ChatReply | ChatFailure]:
        key = self.options.key(self.address)

        async def only_ours(request: Any) -> None:
            for name in [name for name in request.headers if name.lower() not in HEADERS]:
                del request.headers[name]
            if key:
                request.headers["Authorization"] = f"Bearer {key}"

        # A key and questions go to the server that was named, and to no other.
        hooks = {"event_hooks": {"request": [only_ours]}, "follow_redirects": False}
        http = self._openai.DefaultAsyncHttpxClient(timeout=self.options.timeout, **hooks)
        # The client insists on a key; the real one is put in by `only_ours`.
        given = {"base_url": self.address.url, "api_key": "none", "http_client": http}
        client = self._openai.AsyncOpenAI(max_retries=0, **given)
        course, slots = _Course(), asyncio.Semaphore(self.options.concurrency)

        async def one(number: int, request: ChatRequest) -> ChatReply | ChatFailure:
            async with slots:
                if course.given_up:
                    return ChatFailure(course.given_up)
                return await self._ask(client, request, number, key, course)

        async with client:
            return await asyncio.gather(*(one(*item) for item in enumerate(requests)))

    async def _ask(
        self, client: Any, request: ChatRequest, number: int, key: str | None, course: _Course
    ) -> ChatReply | ChatFailure:
        jitter = random.Random(f"{self.options.seed}/{number}")
        attempt = 0
        while True:
            outcome = await self._attempt(client, request, key)
            if isinstance(outcome, ChatReply):
                course.failed = 0
                self._count(outcome)
                return outcome
            if not outcome.again or attempt == self.options.retries:
                course.failed += outcome.again
                if outcome.everyone or course.failed >= HOPELESS:
                    course.given_up = outcome.reason
                return outcome
            self._usage += Usage(retries=1)
            first, longest = self.options.first_wait, self.options.longest_wait
            wait = wait_before(
                attempt, after=outcome.after, first=first, longest=longest, jitter=jitter
            )
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(
        self, client: Any, request: ChatRequest, key: str | None
    ) -> ChatReply | ChatFailure:
        try:
            async with asyncio.timeout(self.options.timeout):
                raw = await client.chat.completions.with_raw_response.create(**self._body(request))
            self._usage += Usage(requests=1)
            return read_reply(raw.http_response.content)
        except MalformedReplyError as error:
            words = presentable(str(error), key)
            return ChatFailure(f"the server's reply is not a chat completion: {words}", again=True)
        except (TypeError, ValueError) as error:  # half a surrogate pair, an infinite number
            kind = type(error).__name__
            return ChatFailure(f"the request cannot be written as JSON ({kind})", again=False)
        except (TimeoutError, self._openai.APITimeoutError):
            return ChatFailure(f"no reply within {self.options.timeout:g} s", again=True)
        except self._openai.APIStatusError as error:
            self._usage += Usage(requests=1)
            return _status(error, key)
        except self._openai.OpenAIError as error:
            # Only its type: its words may hold a header.
            kind = type(error.__cause__ or error).__name__
            return ChatFailure(f"the server cannot be reached, or hung up ({kind})", again=True)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        fields = {
            "messages": list(request.messages),
            self.options.token_limit: request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "response_format": request.response_format,
            "extra_body": self.options.extra or None,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return {"model": self.address.model, **given}

    def _count(self, reply: ChatReply) -> None:
        cost = self.options.prices.of(reply) if self.options.prices else None
        self._usage += Usage(0, 0, reply.prompt_tokens, reply.response_tokens, cost)


def _status(error: Any, key: str | None) -> ChatReply | ChatFailure:
    status: int = error.status_code
    code, words = error_in(error.body)
    if status == 400 and code in FILTERED:
        return ChatReply("", withheld=True)
    if status in (401, 403):
        hint = "check the key and option key_env"
        return ChatFailure(f"the server answered {status}; {hint}", False, everyone=status == 401)
    said = presentable(words, key)
    reason = f"the server answered {status}{': ' if said else ''}{said}"
    if status == 404:
        return ChatFailure(f"{reason}; check the model's name and the URL", False, everyone=True)
    again = status in (408, 409, 429) or status >= 500
    if code == "insufficient_quota":  # OpenAI says 429, but waiting does not help
        return ChatFailure(reason, False, everyone=True)
    return ChatFailure(reason, again, after=retry_after(error.response.headers))


def wait_before(
    attempt: int, *, after: float | None, first: float, longest: float, jitter: random.Random
) -> float:
    """Seconds before retry number `attempt` (from 0).

    They double from `first`, cut by a random part of up to a half so that requests that failed
    together do not come back together, and are never less than the server asked for.

    Args:
        attempt: retries made before.
        after: what the server asked for, in seconds (see `retry_after`).
        first: seconds before the first retry.
        longest: seconds; also caps what the server asks for.
        jitter: source of the random part.
    """
    backoff = first * 2.0 ** min(attempt, 30) * jitter.uniform(0.5, 1.0)
    return min(max(backoff, after or 0.0), longest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from Retry-After as seconds or as a date (RFC 9110,
    section 10.2.3), or from OpenAI's retry-after-ms; None if it does not, or not readably."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        moment = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, moment - time.time())
