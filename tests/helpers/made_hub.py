"""A local stand-in of the hub's HTTP API: what it takes to create a repository and to fill it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_stand_in_token"


class Hub(ThreadingHTTPServer):
    """Repositories it was given: (type, repo) -> path -> bytes.

    Args:
        status: what every request gets instead of an answer; None to answer.
    """

    def __init__(self, status: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.repos: dict[tuple[str, str], dict[str, bytes]] = {}
        self.created: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer({"error": "Repository not found"}, self.server.status or 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status:
            self._answer({"error": f"no, {TOKEN}"}, self.server.status)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._answer({"warnings": [], "errors": []})
        else:
            self._fill(body)

    def _create(self, wanted: dict[str, Any]) -> None:
        kind, repo = wanted["type"], f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.server.address}/{kind}s/{repo}"
        known = (kind, repo) in self.server.repos
        self.server.repos.setdefault((kind, repo), {})
        self.server.created.append(wanted)
        self._answer({"url": url, "error": "exists"}, 409 if known else 200)

    def _fill(self, body: bytes) -> None:
        _, _, kinds, user, name, verb, _ = self.path.split("?")[0].split("/")
        files = self.server.repos[kinds.removesuffix("s"), f"{user}/{name}"]
        if verb == "preupload":
            asked = [item["path"] for item in json.loads(body)["files"]]
            modes = [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in asked
            ]
            self._answer({"files": modes})
            return
        assert verb == "commit"
        for line in body.splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                files[value["path"]] = base64.b64decode(value["content"])
        url = f"{self.server.address}/{kinds}/{user}/{name}/commit/1"
        self._answer({"commitUrl": url, "commitOid": "1"})

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(status: int | None = None) -> Iterator[Hub]:
    """A hub that answers on localhost."""
    hub = Hub(status)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
