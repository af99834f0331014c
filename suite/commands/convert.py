"""`greaves convert`: checkpoints of models whose makers ship code of their own, made native."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from greaves.commands.listing import AsJson

app = typer.Typer(
    help="Make a checkpoint native, so that it loads without remote code.", no_args_is_help=True
)


@app.callback()
def _conversions() -> None:
    pass


@app.command("qwen-audio")
def qwen_audio_command(
    source: Annotated[
        Path, Argument(metavar="SRC", help="Folder of Qwen/Qwen-Audio-Chat as downloaded.")
    ],
    destination: Annotated[
        Path, Argument(metavar="DST", help="New folder of the native checkpoint.")
    ],
    as_json: AsJson = False,
) -> None:
    """First-generation Qwen-Audio to a native Qwen2AudioForConditionalGeneration checkpoint."""
    from greaves.base.progress import Steps
    from greaves.models.conversion.qwen_audio import convert

    with Steps() as steps:
        made = convert(source, destination, on_tensor=partial(steps.update, "convert tensors"))
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        facts = {"folder": str(made.folder), "tensors": made.tensors, "bytes": made.total_bytes}
        print(json.dumps({**facts, "files": made.files, "warnings": made.warnings}, indent=2))
        return
    size = f"{made.total_bytes / 1e9:.1f} GB" if made.total_bytes > 1e8 else "under 0.1 GB"
    files = f"{made.files} file{'s' if made.files > 1 else ''}"
    print(f"{made.tensors} tensors of {source} in {made.folder}: {size} in {files}")
    print(f"next: greaves models check qwen-audio --path {shlex.quote(str(made.folder))}")
