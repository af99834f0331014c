"""Our server in a thread, what is sent to it by hand, and faults put in front of it."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from made_faulty_server import Fault

from greaves.commands.serving.app import make_app
from greaves.models.contract import LALM


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    model: str

    @property
    def address(self) -> str:
        return f"{self.model}@{self.url}"

    def post(
        self, content: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body and headers of the reply to a request."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.url}/chat/completions",
            data,
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read()), dict(reply.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), dict(error.headers)

    def ask(self, text: str = "Hello?", **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of the reply to one user turn."""
        turn = {"role": "user", "content": text}
        request = {"model": self.model, "messages": [turn], "max_tokens": 8, **fields}
        status, body, _ = self.post(request)
        return status, body

    def through(self, request: dict[str, Any]) -> Fault:
        """What the server replies, as a faulty server passes it on."""
        status, body, _ = self.post(request)
        return Fault(status, body=json.dumps(body).encode())


@contextmanager
def serving(model: LALM, name: str, **limits: int) -> Iterator[Served]:
    """`model` behind the real application and the real HTTP server."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = make_app(model, name, "made-for-a-test", ("127.0.0.1",), **limits)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", name)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
