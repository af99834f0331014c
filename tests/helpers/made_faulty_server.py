"""A chat server on this machine that replies as a test wants it, faults of the wire included."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """A reply that is none.

    Attributes:
        status: of the reply.
        headers: besides the length and the type.
        body: as bytes.
        content_type: of the body.
        missing: bytes that are promised and not sent; the connection is closed.
        reset: the connection is reset before anything is sent.
        hang: seconds before anything is sent.
        drip: seconds before each byte of the body.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    content_type: str = "application/json"
    missing: int = 0
    reset: bool = False
    hang: float = 0.0
    drip: float = 0.0


def completion(text: str | None = "fine", finish: str = "stop", **message: Any) -> Fault:
    """A chat completion as OpenAI's own server writes it."""
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "total_tokens": 1010,
            "prompt_tokens_details": {"audio_tokens": 400},
        },
    }
    return Fault(body=json.dumps(body).encode())


class FaultyServer:
    """What was asked of the server, and how it replies to the n-th request (from 0)."""

    def __init__(self, reply: Callable[[int, dict[str, Any]], Fault]) -> None:
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.under_way = 0
        self.most_under_way = 0
        self.url = ""
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"m@{self.url}"

    def enter(self, request: dict[str, Any], headers: dict[str, str]) -> int:
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.requests.append(request)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            return len(self.requests) - 1

    def leave(self) -> None:
        with self._lock:
            self.under_way -= 1


@contextmanager
def faulty_server(reply: Callable[[int, dict[str, Any]], Fault]) -> Iterator[FaultyServer]:
    state = FaultyServer(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = state.enter(request, dict(self.headers))
            try:
                self._send(state.reply(number, request))
            except OSError:
                self.close_connection = True
            finally:
                state.leave()

        def _send(self, fault: Fault) -> None:
            time.sleep(fault.hang)
            if fault.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", fault.content_type)
            self.send_header("Content-Length", str(len(fault.body) + fault.missing))
            self.end_headers()
            for byte in fault.body if fault.drip else b"":
                time.sleep(fault.drip)
                self.wfile.write(bytes([byte]))
            self.wfile.write(b"" if fault.drip else fault.body)
            self.close_connection = self.close_connection or fault.missing > 0

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
