"""`greaves serve` before whoever reaches it: an answer or a refusal, never a traceback."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_serving import Served, serving
from strategies import TRICKS, any_text, clip_files, damaged, examples, json_values, spoilt, told

from greaves.commands.serving.protocol import ApiError, Asked, read_request

CLIP = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
REQUEST: dict[str, Any] = {
    "model": "pocket",
    "messages": [
        {"role": "system", "content": "Be safe."},
        {"role": "user", "content": [{"type": "text", "text": "How?"}, CLIP]},
    ],
    "n": 2,
    "temperature": 1.0,
    "top_p": 0.9,
    "max_tokens": 8,
    "seed": 1,
    "stream": False,
}


@pytest.fixture(scope="module")
def server(pocket: Any) -> Iterator[Served]:
    with serving(pocket, "pocket", body=300_000, max_tokens=16) as running:
        yield running


def read(body: bytes) -> Asked | None:
    """What is asked, or nothing if it is refused as the client's fault, in one line."""
    try:
        return read_request(body, served="pocket", max_tokens=16)
    except ApiError as error:
        told(error)
        json.dumps(error.body).encode()
        status = error.status_code
    assert 400 <= status < 500
    return None


def spoken(part: dict[str, Any]) -> bytes:
    return json.dumps({**REQUEST, "messages": [{"role": "user", "content": [part]}]}).encode()


@given(content=spoilt(REQUEST) | spoilt(REQUEST).flatmap(spoilt) | json_values, data=st.data())
@examples(100)
def test_a_request_is_read_or_refused(content: Any, data: st.DataObject) -> None:
    body = json.dumps(content).encode()
    read(data.draw(damaged(body)) if data.draw(st.booleans()) else body)


@given(clip=clip_files, text=any_text)
@examples(100)
def test_a_clip_of_any_bytes_is_taken_or_refused(clip: bytes, text: str) -> None:
    data = base64.b64encode(clip).decode()
    part: dict[str, Any] = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    asked = read(spoken(part))
    assert asked is None or asked.clip == clip
    part["input_audio"]["data"] = text
    read(spoken(part))


DEEP = [b"[" * 200_000, b'{"a":' * 50_000, b'{"messages":' + b"[" * 100_000]
PATHS = ["/etc/passwd", "file:///etc/passwd", "http://a.example/b.wav", "../../x.wav", "data:,x"]


@pytest.mark.parametrize("body", DEEP, ids=range(len(DEEP)))
def test_a_body_without_bottom_is_refused(body: bytes, server: Served) -> None:
    status, answer, _ = server.post(body)
    assert status == 400
    assert "error" in answer


@pytest.mark.parametrize("path", PATHS)
def test_no_clip_is_a_path_or_an_address(path: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": path, "format": "wav"}}
    assert (
        read(json.dumps({**REQUEST, "messages": [{"role": "user", "content": [part]}]}).encode())
        is None
    )
    url = {"type": "audio_url", "audio_url": {"url": path}}
    assert (
        read(json.dumps({**REQUEST, "messages": [{"role": "user", "content": [url]}]}).encode())
        is None
    )


@pytest.mark.parametrize("text", [text for text in TRICKS if text and "\ud800" not in text][:24])
def test_whatever_a_text_says_it_is_answered_as_text(text: str, server: Served) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return
    status, body = server.ask(text, max_tokens=1)
    assert status == 200, body


@pytest.mark.parametrize("words", [600, 60_000])
def test_a_text_that_the_model_has_no_room_for_is_refused_at_once(
    words: int, server: Served
) -> None:
    status, body = server.ask("how " * words)
    assert status == 400
    assert "more than" in body["error"]["message"] or "too many" in body["error"]["message"]
    assert server.ask("How?")[0] == 200


RAW = [
    b"\x00\xff\x00\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nnonsense\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: -5\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /v1/models HTTP/9.9\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET /v1/models\x1b[31m HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]


@pytest.mark.parametrize("data", RAW, ids=range(len(RAW)))
def test_what_is_no_http_is_refused_and_the_server_lives(
    data: bytes, server: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        answer = b""
        with contextlib.suppress(OSError):  # it may hang up before it has heard all
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while part := line.recv(65_536):
                answer += part
    assert not answer or answer.split()[1][:1] == b"4", answer[:80]
    assert b"Traceback" not in answer
    assert "Traceback" not in "".join(capfd.readouterr())
    assert server.ask("How?", max_tokens=1)[0] == 200
