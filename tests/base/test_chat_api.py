"""The chat client: what is repeated, for how long, what it costs, and that no key gets out."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from made_faulty_server import Fault, completion, faulty_server

from greaves.base.chat_api import (
    Address,
    ChatFailure,
    ChatOptions,
    ChatReply,
    ChatRequest,
    ChatServer,
    parse_address,
)
from greaves.base.chat_api.server import retry_after, wait_before
from greaves.base.errors import ModelError
from greaves.base.usage import Usage

KEY = "sk-made-up-0123456789"
HELLO = ChatRequest([{"role": "user", "content": "Hello?"}], max_tokens=8, seed=3)


def options(**changes: Any) -> ChatOptions:
    return ChatOptions.read({"first_wait": 0.01, "retries": 2, "timeout": 5, **changes})


def ask(reply: Callable[[int, dict[str, Any]], Fault], **changes: Any) -> tuple[Any, Any, Usage]:
    """The outcome of one request, the server and the usage."""
    with faulty_server(reply) as server:
        client = ChatServer(server.address, options(**changes))
        return client.ask_all([HELLO])[0], server, client.usage()


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model", "url"),
    [
        ("gpt-4o@https://api.openai.com/v1", "gpt-4o", "https://api.openai.com/v1"),
        ("Qwen/Qwen2-Audio@http://gpu1:8000/v1/", "Qwen/Qwen2-Audio", "http://gpu1:8000/v1"),
        ("a@b/c@http://[::1]:80/v1", "a@b/c", "http://[::1]:80/v1"),
    ],
)
def test_an_address_is_a_model_and_a_url(text: str, model: str, url: str) -> None:
    assert parse_address(text) == Address(model, url)


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4o",
        "@http://localhost",
        "http://localhost/v1",
        "m@http://",
        "m@http://host:port/v1",
        "m@http://ho st/v1",
        "m@ftp://host/v1",
        "m@http://h\u00f6st/v1",
        "m@http://host:99999/v1",
        "m@http://user:hunter2@host/v1",
        "m@http://hunter2@host/v1",
        "m@https://host/v1?key=hunter2",
        "m@https://host/v1#hunter2",
        "m@http://user:hunter2@http://host/v1",
        "m@http://user:hunter2@httpbin.org/v1",
        "http://user:hunter2@host/v1@http://host/v1",
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelError) as error:
        parse_address(text)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


# -- what is repeated ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, body=b"oops"),
        Fault(503),
        Fault(429),
        Fault(408),
        Fault(409),
        Fault(hang=1.5),
        Fault(reset=True),
        Fault(body=completion().body[:60], missing=40),
        Fault(body=completion().body[:60]),
        Fault(body=b"<html>Sign in</html>", content_type="text/html"),
        Fault(body=b'{"choices": []}'),
        Fault(body=b'{"choices": [{}]}'),
        Fault(body=b'{"choices": [{"message": {"content": 5}}]}'),
        Fault(body=b"[" * 100_000),
        Fault(body=b"null"),
        Fault(204, body=b""),
        Fault(headers={"Content-Encoding": "gzip"}, body=b"garbage"),
        Fault(body=b'{"error": {"message": "busy"}}'),
    ],
    ids=lambda fault: (
        f"{fault.status}-{fault.body[:12]!r}-{fault.missing}{fault.hang}{fault.reset}"
    ),
)
def test_a_fault_that_may_pass_is_asked_again(fault: Fault) -> None:
    outcome, server, usage = ask(lambda n, _: completion() if n else fault, timeout=0.5)
    assert outcome.text == "fine"
    assert len(server.requests) == 2
    assert usage.retries == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(400, body=b'{"error": {"message": "no\\naudio here"}}'), "400: no audio here"),
        (Fault(401), "401; check the key"),
        (Fault(403), "403"),
        (Fault(404), "404; check the model's name"),
        (Fault(422, body=b'{"object": "error", "message": "seed?"}'), "422: seed?"),
        (Fault(307, headers={"Location": "http://127.0.0.1:9/"}), "307"),
        (Fault(429, body=b'{"error": {"code": "insufficient_quota", "message": "q"}}'), "429: q"),
    ],
)
def test_a_fault_that_will_not_pass_is_final_and_one_line(fault: Fault, reason: str) -> None:
    outcome, server, usage = ask(lambda n, _: fault)
    assert isinstance(outcome, ChatFailure)
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert len(server.requests) == 1
    assert usage == Usage(requests=1)


def test_retries_end_and_say_what_the_last_one_met() -> None:
    outcome, server, usage = ask(lambda n, _: Fault(500, body=b'{"error": "out of memory"}'))
    assert outcome == ChatFailure("the server answered 500: out of memory")
    assert len(server.requests) == 3
    assert (usage.requests, usage.retries) == (3, 2)


def test_a_reply_that_trickles_in_runs_into_the_timeout() -> None:
    """A timeout on each byte would wait for ever."""
    started = time.monotonic()
    outcome, _, _ = ask(lambda n, _: Fault(body=b" " * 99, drip=0.1), timeout=0.3, retries=0)
    assert outcome == ChatFailure("no reply within 0.3 s")
    assert time.monotonic() - started < 5


def test_a_server_that_is_down_is_given_up_for_all_requests() -> None:
    client = ChatServer("m@http://127.0.0.1:9/v1", options(concurrency=2, retries=1))
    outcomes = client.ask_all([HELLO] * 50)
    assert {type(outcome) for outcome in outcomes} == {ChatFailure}
    assert "cannot be reached" in outcomes[-1].reason  # type: ignore[union-attr]
    assert client.usage().retries < 10


def test_a_request_that_cannot_be_sent_fails_alone() -> None:
    """Such as half a surrogate pair, out of a model's own words."""
    half = ChatRequest([{"role": "user", "content": "\ud83d"}])
    with faulty_server(lambda n, _: completion()) as server:
        first, second = ChatServer(server.address, options()).ask_all([half, HELLO])
    expected = "the request cannot be written as JSON (UnicodeEncodeError)"
    assert first == ChatFailure(expected)
    assert isinstance(second, ChatReply)


def test_ctrl_c_does_not_wait_for_the_server(request: pytest.FixtureRequest) -> None:
    # a background shell ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with faulty_server(lambda n, _: Fault(hang=20)) as server:
        client = ChatServer(server.address, options(timeout=20))
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.ask_all([HELLO] * 20)
    assert time.monotonic() - started < 10


def test_a_wrong_key_is_tried_once_and_not_for_every_request() -> None:
    with faulty_server(lambda n, _: Fault(401)) as server:
        outcomes = ChatServer(server.address, options(concurrency=1)).ask_all([HELLO] * 20)
    assert len(server.requests) == 1
    assert len({outcome.reason for outcome in outcomes}) == 1  # type: ignore[union-attr]


def test_one_request_that_always_fails_does_not_stop_the_others() -> None:
    def reply(_: int, request: dict[str, Any]) -> Fault:
        poison = request["messages"][0]["content"] == "poison"
        return Fault(500) if poison else completion()

    poison = ChatRequest([{"role": "user", "content": "poison"}])
    with faulty_server(reply) as server:
        client = ChatServer(server.address, options(concurrency=1, retries=1))
        outcomes = client.ask_all([poison, poison, HELLO, poison, HELLO])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [ChatFailure, ChatFailure, ChatReply, ChatFailure, ChatReply]


# -- waiting -------------------------------------------------------------------------------------


def test_retry_after_is_honoured_in_seconds() -> None:
    _, server, _ = ask(lambda n, _: completion() if n else Fault(429, {"Retry-After": "0.7"}))
    assert server.times[1] - server.times[0] >= 0.7


def test_retry_after_is_honoured_as_a_date() -> None:
    def reply(n: int, _: dict[str, Any]) -> Fault:
        date = formatdate(time.time() + 2, usegmt=True)  # whole seconds: between 1 and 2 from now
        return completion() if n else Fault(503, {"Retry-After": date})

    _, server, _ = ask(reply)
    assert server.times[1] - server.times[0] >= 0.9


def test_no_wait_is_longer_than_the_longest() -> None:
    started = time.monotonic()
    outcome, _, _ = ask(
        lambda n, _: completion() if n else Fault(429, {"Retry-After": "86400"}), longest_wait=0.2
    )
    assert outcome.text == "fine"
    assert time.monotonic() - started < 5


def test_waits_double_with_jitter_that_its_seed_repeats() -> None:
    def waits(seed: int) -> list[float]:
        jitter = random.Random(seed)
        return [
            wait_before(n, after=None, first=1.0, longest=60.0, jitter=jitter) for n in range(8)
        ]

    assert waits(1) == waits(1) != waits(2)
    for n, wait in enumerate(waits(1)):
        assert min(2.0**n / 2, 60.0) <= wait <= min(2.0**n, 60.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_rfc_9110_says(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


# -- many at once --------------------------------------------------------------------------------


def test_requests_under_way_are_bounded_and_answers_keep_their_order() -> None:
    def reply(_: int, request: dict[str, Any]) -> Fault:
        seed = request["seed"]
        return Fault(body=completion(str(seed)).body, hang=0.1 + 0.02 * (seed % 3))

    requests = [ChatRequest(HELLO.messages, seed=seed) for seed in range(24)]
    with faulty_server(reply) as server:
        outcomes = ChatServer(server.address, options(concurrency=4)).ask_all(requests)
    assert [outcome.text for outcome in outcomes] == [str(n) for n in range(24)]  # type: ignore[union-attr]
    assert server.most_under_way == 4


def test_a_notebook_with_a_running_event_loop_can_ask() -> None:
    async def cell() -> Any:
        return ask(lambda n, _: completion())[0]

    assert asyncio.run(cell()).text == "fine"


# -- what is sent and read -----------------------------------------------------------------------


def test_what_is_none_is_not_sent_and_extra_fields_are() -> None:
    _, server, _ = ask(lambda n, _: completion(), extra={"top_k": 5})
    assert server.requests == [
        {"model": "m", "messages": HELLO.messages, "max_tokens": 8, "seed": 3, "top_k": 5}
    ]
    _, server, _ = ask(lambda n, _: completion(), token_limit="max_completion_tokens")
    assert server.requests[0]["max_completion_tokens"] == 8


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (completion("cut", "length"), ("cut", True, False)),
        (completion(None, "length"), ("", True, False)),
        (completion("half", "content_filter"), ("half", False, True)),
        (completion(None, refusal="I will not."), ("I will not.", False, True)),
        (Fault(400, body=b'{"error": {"code": "content_filter"}}'), ("", False, True)),
        (completion("half \ud83d"), ("half \ufffd", False, False)),
    ],
)
def test_a_reply_is_read_with_what_stopped_it(fault: Fault, reply: tuple[Any, ...]) -> None:
    outcome, _, _ = ask(lambda n, _: fault)
    assert (outcome.text, outcome.truncated, outcome.withheld) == reply


def test_tokens_and_cost_are_counted() -> None:
    prices = {"prompt": 2.0, "response": 10.0, "audio": 40.0}
    _, _, usage = ask(lambda n, _: completion() if n else Fault(500), prices=prices)
    assert (usage.requests, usage.retries) == (2, 1)
    assert (usage.prompt_tokens, usage.response_tokens) == (1000, 10)
    assert usage.cost == pytest.approx((600 * 2 + 400 * 40 + 10 * 10) / 1e6)
    assert ask(lambda n, _: completion())[2].cost is None


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"concurency": 2}, "unknown option 'concurency'; known: key_env"),
        ({"concurrency": 0}, "option 'concurrency'"),
        ({"timeout": "soon"}, "option 'timeout'"),
        ({"prices": {"prompt": -1, "response": 1}}, "option 'prices.prompt'"),
        ({"extra": {"seed": 1}}, "seed cannot be set here"),
    ],
)
def test_a_wrong_option_is_named(content: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        ChatOptions.read(content)


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match=r"pip install 'greaves\[servers\]'"):
        ChatServer("m@http://localhost:1/v1")


# -- the key -------------------------------------------------------------------------------------


def test_the_key_is_sent_and_appears_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the server repeats it, whole or in part."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    prices = {"prompt": 1, "response": 1}
    echoes = [
        Fault(500, body=f'{{"error": {{"message": "key {KEY}"}}}}'.encode()),
        Fault(body=f'{{"error": {{"message": "key {KEY}"}}}}'.encode()),
        Fault(401, body=f'{{"error": {{"message": "wrong key {KEY[:9]}***"}}}}'.encode()),
        Fault(400, body=f'{{"error": {{"message": "wrong key {KEY[:9]}***"}}}}'.encode()),
    ]
    for echo in echoes:
        outcome, server, usage = ask(lambda n, _, echo=echo: echo, prices=prices)
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        client = ChatServer(server.address)
        shown = f"{outcome} {usage} {client!r} {vars(client)} {client.options} {client.address}"
        assert KEY[:9] not in shown
    assert KEY[:9] not in caplog.text
    assert "HTTP" in caplog.text  # the log was on


def test_a_key_that_no_header_can_hold_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(ModelError, match="MY_KEY") as error:
        ChatServer("m@http://localhost:1/v1", ChatOptions(key_env="MY_KEY"))
    assert KEY not in str(error.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ModelError, match="no key in the environment variable MY_KEY"):
        ChatServer("m@http://localhost:1/v1", ChatOptions(key_env="MY_KEY"))


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.example.org/v1", False),
        ("https://notopenai.com/v1", False),
        ("http://localhost.example.org/v1", False),
    ],
)
def test_the_default_key_goes_to_openai_and_this_machine_only(
    url: str, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    address = Address("m", url)
    assert (ChatOptions().key(address) == KEY) is sent
    assert ChatOptions(key_env="OPENAI_API_KEY").key(address) == KEY


def test_nothing_else_from_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Gateway: {KEY}\nAuthorization: Bearer {KEY}")
    outcome, server, _ = ask(lambda n, _: completion())
    assert outcome.text == "fine"
    assert KEY not in str(server.headers)
    ours = {name.lower() for name in server.headers[0]}
    assert {name for name in ours if name.startswith("x-")} == {"x-stainless-raw-response"}
