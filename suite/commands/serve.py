"""`greaves serve`: try a model, defended or not, by hand or from another program."""

from __future__ import annotations

import json
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import yaml
from typer import Argument, Option

from greaves.base.errors import GreavesError, ModelError
from greaves.models.contract import LALM, load_model


def serve(
    model: Annotated[str, Argument(help="A model, as recipes name it.")],
    defence: Annotated[Path | None, Option(help="Folder of a saved defence to put on it.")] = None,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[
        str | None, Option(help="Name that requests give. Default: the model's own.")
    ] = None,
    option: Annotated[
        list[str] | None,
        Option(help="KEY=VALUE for the model's loader, such as path=FOLDER; repeatable."),
    ] = None,
    max_tokens: Annotated[int, Option(help="The most tokens of one answer.", min=1)] = 512,
    max_body_mb: Annotated[
        float, Option(help="The longest request, in megabytes.", min=0.001)
    ] = 25.0,
    batch_size: Annotated[int, Option(help="Samples answered together.", min=1)] = 32,
) -> None:
    """Serve a model over OpenAI's chat protocol, with or without a defence."""
    try:
        import uvicorn

        from greaves.commands.serving.app import make_app
    except ImportError:
        what = "starlette and uvicorn are not installed"
        raise ModelError(what, do="pip install 'greaves[serve]'") from None
    # Here, since every command of greaves imports this module.
    from greaves.align.defence import Defence
    from greaves.base.chat_api.address import is_this_machine

    loaded = _load(model, option or [])
    put_on = Defence.load(defence) if defence else Defence()
    served = name or loaded.name
    limits = {"body": int(max_body_mb * 1e6), "max_tokens": max_tokens, "rows": batch_size}
    local = is_this_machine(host)
    hosts = ["localhost", "127.0.0.1", "::1", "[::1]", host] if local else ["*"]
    fingerprint = f"{loaded.fingerprint[:12]}-{put_on.hash[:12]}"
    with _listening(host, port) as listening, put_on.attached(loaded) as defended:
        app = make_app(defended, served, fingerprint, hosts, **limits)
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False}
        config = uvicorn.Config(app, timeout_graceful_shutdown=5, **quiet)
        shown = f"[{host}]" if ":" in host else host
        _announce(served, f"http://{shown}:{listening.getsockname()[1]}/v1", defence)
        if not local:
            warning = f"anybody who reaches {host} may ask; there is no key"
            print(f"greaves: warning: {warning}", file=sys.stderr)
        with suppress(KeyboardInterrupt):  # uvicorn has ended by then, and raises it once more
            uvicorn.Server(config).run(sockets=[listening])
    print("stopped")


def _load(name: str, options: list[str]) -> LALM:
    given: dict[str, Any] = {}
    for one in options:
        key, equals, value = one.partition("=")
        if not equals:
            raise GreavesError(f"option {one!r} has no value", do="write --option KEY=VALUE")
        given[key] = value
        with suppress(yaml.YAMLError):
            given[key] = yaml.safe_load(value)
    return load_model(name, given)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        what = f"cannot listen on {host}, port {port} ({error.strerror or error})"
        raise GreavesError(what, do="choose another with --port (0 takes a free one)") from None


def _announce(served: str, url: str, defence: Path | None) -> None:
    content = {"model": served, "messages": [{"role": "user", "content": "Hello?"}]}
    under = f" under {defence}" if defence else ""
    print(f"{served}{under} answers at {url}; Ctrl-C ends it. Try:")
    kind, data = "-H 'Content-Type: application/json'", shlex.quote(json.dumps(content))
    print(f"  curl {url}/chat/completions {kind} -d {data}", flush=True)
