"""The server itself: /v1/models and /v1/chat/completions."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from greaves.commands.serving.batching import Batcher
from greaves.commands.serving.protocol import ApiError, completion, read_request
from greaves.models.contract import LALM

T = TypeVar("T")

LOOK = 0.5
"""Seconds between two looks at whether whoever asked is still there."""


def make_app(
    model: LALM,
    served: str,
    fingerprint: str,
    hosts: Sequence[str] = ("*",),
    *,
    body: int = 25_000_000,
    max_tokens: int = 512,
    rows: int = 32,
) -> Starlette:
    """The server as an ASGI application.

    Args:
        model: its defence attached for as long as the application runs.
        served: name that requests give.
        fingerprint: of model and defence together; part of every reply.
        hosts: names under which the server may be called; a web page that gives this machine a
            name of its own is turned away.
        body: bytes of a request. Default 25 MB, as OpenAI's own audio limit.
        max_tokens: written in answer to one request, and the default where it names none.
        rows: samples in a batch.
    """
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="greaves-serve-") as folder:
            app.state.batcher = Batcher(model, Path(folder), rows)
            worker = asyncio.create_task(app.state.batcher.work())
            try:
                yield
            finally:
                worker.cancel()
                with suppress(asyncio.CancelledError):
                    await worker

    async def models(_: Request) -> Response:
        entry = {"id": served, "object": "model", "created": started, "owned_by": "greaves"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def chat_completions(request: Request) -> Response:
        sent = await _body(request, body)
        # Reading a clip's header takes its time: others are heard meanwhile.
        asked = await asyncio.to_thread(read_request, sent, served=served, max_tokens=max_tokens)
        answered = await _while_connected(request, request.app.state.batcher.answer(asked))
        return JSONResponse(completion(answered, served=served, fingerprint=fingerprint))

    return Starlette(
        routes=[
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _fault},
        lifespan=lifespan,
    )


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, as long as it is JSON and not too long.

    The content type matters: without it, any web page could send requests from a user's browser.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send JSON, with Content-Type: application/json")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ApiError(413, f"the request is longer than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait({task}, timeout=LOOK))[0]:
        if await request.is_disconnected():
            task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        raise ApiError(499, "the client has hung up") from None


async def _fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not isinstance(error, ApiError):
        known = "GET /v1/models and POST /v1/chat/completions"
        message = f"{request.method} {request.url.path} is not offered; there are {known}"
        error = ApiError(error.status_code, message)
    return JSONResponse(error.body, error.status_code, headers=error.headers)
