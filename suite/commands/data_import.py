"""`greaves data import`: bring a benchmark's files into the layout that its tasks read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import ValidationError
from typer import Argument, Option

from greaves.base.errors import DataError
from greaves.commands.listing import AsJson
from greaves.data.imports.aiah_layout import Distraction

SHOWN = 20
"""Names of left-out questions that are printed."""


def import_command(
    benchmark: Annotated[str, Argument(help="aiah.")],
    source: Annotated[str, Argument(help="Folder, SafeBench.csv, or hub:OWNER/NAME@REVISION.")],
    out: Annotated[Path, Argument(help="The data folder; an unfinished one is continued.")],
    layout: Annotated[
        str, Option(help="authors, hub, sarsteer, safebench, greaves, or auto.")
    ] = "auto",
    texts: Annotated[
        Path | None, Option(help="Questions in words: SafeBench.csv, or a list of clips.")
    ] = None,
    clips: Annotated[str, Option(help="Sub-folder of SOURCE with the clips.")] = "",
    topic: Annotated[
        list[str] | None, Option(help="Only this topic, not AIAH's seven; repeatable.")
    ] = None,
    benign: Annotated[
        str | None, Option(help="Source of benign questions: a folder, .txt or .jsonl.")
    ] = None,
    benign_layout: Annotated[str, Option(help="sarsteer, greaves, texts, or auto.")] = "auto",
    benign_texts: Annotated[
        Path | None, Option(help="As --texts, such as SARSteer's test_250.json.")
    ] = None,
    speech_specific: Annotated[
        Path | None, Option(help="Table of setting 3 from the authors: text, prompt, clip.")
    ] = None,
    speech_columns: Annotated[
        str, Option(help="Its columns, e.g. text=Question,prompt=Template,clip=File.")
    ] = "",
    distraction_seconds: Annotated[
        float | None, Option(help="Length of the clips of setting 2 (AIAH: 2 to 14).")
    ] = None,
    distraction_seed: Annotated[int | None, Option(help="Seed of their noise.")] = None,
    voice: Annotated[str, Option(help="espeak or google: speaks what has no clip.")] = ("espeak"),
    seed: Annotated[int, Option(help="Seed of the voices.")] = 0,
    licence: Annotated[str, Option(help="Licence of SOURCE, where you know better.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a data folder from the authors' files, a hub copy, or questions that are spoken."""
    from greaves.data.alignment.spec import VoiceSpec
    from greaves.data.imports.aiah_import import AIAHImport, import_aiah
    from greaves.data.imports.aiah_layout import TOPICS
    from greaves.data.imports.aiah_sources import SourceSpec
    from greaves.data.imports.own_questions import columns_of

    if benchmark != "aiah":
        do = "only aiah is; air-bench is read as it is published"
        raise DataError(f"{benchmark[:40]!r} is not imported", do=do)
    if voice not in ("espeak", "google"):
        what = f"{voice[:40]!r} is not a speech engine"
        raise DataError(what, where="--voice", do="espeak or google")
    topics = tuple(topic) if topic else TOPICS
    wanted = AIAHImport(
        harmful=SourceSpec(source, layout, texts, clips, topics, licence),
        benign=(SourceSpec(benign, benign_layout, benign_texts, topics=topics) if benign else None),
        speech_specific=speech_specific,
        columns=columns_of(speech_columns),
        distraction=_distraction(distraction_seconds, distraction_seed),
        voice=VoiceSpec(engine="google" if voice == "google" else "espeak"),
        seed=seed,
    )
    done = import_aiah(wanted, out)
    if as_json:
        print(json.dumps(asdict(done), indent=2, default=str))
        return
    print_left_out(done.left_out, "provenance.json")
    for remark in done.remarks:
        print(remark, file=sys.stderr)
    counts = ", ".join(f"{count} {name}" for name, count in done.counts.items())
    print(f"{counts} questions in {done.folder}" + (f" ({done.label})" if done.label else ""))
    print(f"next: greaves tasks show aiah-audio-text --data {done.folder}")


def print_left_out(left_out: Mapping[str, str], file: str) -> None:
    """Print the first left-out questions with their reasons, and which file has them all."""
    for name, reason in list(left_out.items())[:SHOWN]:
        print(f"left out {name}: {reason}", file=sys.stderr)
    if len(left_out) > SHOWN:
        print(f"... {len(left_out)} in all, see {file}", file=sys.stderr)


def _distraction(seconds: float | None, seed: int | None) -> Distraction | None:
    given = {"seconds": seconds, "seed": seed}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return Distraction.model_validate(given) if given else None
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--distraction-{first['loc'][0]}"
        raise DataError(first["msg"].lower(), where=where) from None
