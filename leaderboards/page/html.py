"""The page itself: one HTML file that fetches nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from greaves.base.run_folder import RunFolder
from greaves.base.store import write_text
from greaves.leaderboards.board.text_rows import text_rows
from greaves.leaderboards.page.data import page_data
from greaves.leaderboards.page.transcripts import Clips, transcripts
from greaves.leaderboards.read.run_slices import shown_verdicts

_SCRIPTS = ("core.js", "table.js", "plots.js", "categories.js", "reader.js", "start.js")
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def write_page(
    run: RunFolder, target: Path, *, clips: bool = True, assets_dir: Path | None = None
) -> Path:
    """Write the leaderboard, plots and transcripts of a run as one self-contained HTML file.

    Args:
        clips: whether readers can listen to the questions.
        assets_dir: copy clips into this folder and refer to them from the page; None embeds them.

    Returns:
        `target`.

    Raises:
        GreavesError: the run has no verdicts, or some that cannot stand in one table.
        StoreError: the run folder cannot be read.
    """
    verdicts, facts = shown_verdicts(run), run.facts()
    read = transcripts(run, Clips(target, assets_dir) if clips else None)
    data = page_data(facts, verdicts, text_rows(run, label=facts.label))
    media = "data:" if assets_dir is None else "'self' file:"
    write_text(target, render(facts.name, data, read, media=media))
    return target


def render(title: str, data: dict[str, Any], read: dict[str, Any], *, media: str = "data:") -> str:
    """The page as text; `media` tells its content security policy where clips come from."""
    libraries, own = _inline(_vega()), _inline(_own_script())
    style = _asset("page.css")
    policy = (
        f"default-src 'none'; script-src {_hash(libraries)} {_hash(own)}; "
        f"style-src {_hash(style)}; media-src {media}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        data=as_json_script(data),
        transcripts=as_json_script(read),
        libraries=libraries,
        script=own,
    )


def as_json_script(value: Any) -> str:
    """JSON that no HTML parser can leave: <, >, & and line separators are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Lone surrogates, which UTF-8 cannot hold, become JSON escapes.
    return text.translate(_UNSAFE).encode("utf-8", "backslashreplace").decode("utf-8")


def _own_script() -> str:
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed with all they need, as one script."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


@cache
def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """A script as an HTML parser hands it on unchanged, so that its hash holds."""
    unix = script.replace("\r\n", "\n").replace("\r", "\n")
    return unix.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
