"""`greaves data`: build alignment data, and check what was built."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from greaves.base.errors import DataError
from greaves.commands.data_import import import_command, print_left_out
from greaves.commands.listing import AsJson

app = typer.Typer(help="Data: build or check an alignment set, import AIAH.", no_args_is_help=True)
app.command("import")(import_command)


@app.command("build")
def build_command(
    kind: Annotated[str, Argument(help="basic, mirror or parallel.")],
    out: Annotated[Path, Option(help="Folder of the set; an unfinished one is continued.")],
    recipe: Annotated[Path | None, Option(help="YAML recipe; options below override it.")] = None,
    source: Annotated[
        str | None, Option("--from", help="beavertails (default), released or pocket.")
    ] = None,
    dataset: Annotated[
        str | None, Option(help="Name on the hub, or a folder (/..., ./..., ~...).")
    ] = None,
    revision: Annotated[str | None, Option(help="Commit, tag or branch on the hub.")] = None,
    split: Annotated[str | None, Option(help="Split of the dataset.")] = None,
    released: Annotated[Path | None, Option(help="Folder of released files.")] = None,
    harmful: Annotated[str | None, Option(help="Released: file of harmful rows.")] = None,
    benign: Annotated[str | None, Option(help="Released: file of benign rows.")] = None,
    mirror: Annotated[
        str | None, Option(help='Parallel: a Mirror set to take over, or "pocket".')
    ] = None,
    per_category: Annotated[int | None, Option(help="Harmful questions each.")] = None,
    seed: Annotated[int | None, Option(help="Seed of every choice.")] = None,
    rewriter: Annotated[
        str | None, Option(help="embedded, or base URL of an OpenAI-compatible server.")
    ] = None,
    rewriter_model: Annotated[str | None, Option(help="Name of the model there.")] = None,
    attempts: Annotated[int | None, Option(help="Tries of one rewrite.")] = None,
    voice: Annotated[str | None, Option(help="espeak (default) or google.")] = None,
    google_endpoint: Annotated[
        str | None, Option(help="host:port of another server of Google's service.")
    ] = None,
    stop_for_review: Annotated[
        bool, Option(help="Mirror: stop when review.csv is written, before speech.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a set from BeaverTails, released files or the pocket grammar."""
    from greaves.data.alignment.build import build
    from greaves.data.alignment.spec import read_spec

    options = _given(
        {
            "kind": kind,
            "seed": seed,
            "per_category": per_category,
            "mirror": mirror,
            "source": {
                "from": source or ("released" if released else None),
                "dataset": dataset,
                "revision": revision,
                "split": split,
                "folder": str(released) if released else None,
                "harmful": harmful,
                "benign": benign,
            },
            "rewriter": {"endpoint": rewriter, "model": rewriter_model, "attempts": attempts},
            "voice": {"engine": voice, "endpoint": google_endpoint},
        }
    )
    built = build(read_spec(recipe, options), out, stop_for_review=stop_for_review)
    if as_json:
        print(json.dumps(asdict(built), indent=2, default=str))
        return
    for category, count in built.missing.items():
        print(f"{category}: {count} too few in the source", file=sys.stderr)
    print_left_out(built.left_out, "manifest.json")
    if not built.counts:
        print(f"written {built.review}; look through it, then run the same command without")
        print("--stop-for-review")
        return
    counts = "{harmful} harmful and {benign} benign".format(**built.counts)
    print(f"{counts} in {built.folder}\nnext: greaves data check {built.folder}")


@app.command("check")
def check_command(
    folder: Annotated[Path, Argument(help="Folder of a built set.")], as_json: AsJson = False
) -> None:
    """Check a set as it lies: lines, clips, hashes, pairs. Exits with 2 where one is wrong."""
    from greaves.data.alignment.verify import verify

    found = verify(folder)
    data, faults = found.data, list(found.faults)
    counts = {"harmful": len(data.harmful), "benign": len(data.benign)}
    if as_json:
        payload = {"hash": data.hash, **counts, "faults": faults, "left_out": found.left_out}
        print(json.dumps(payload, indent=2))
    else:
        for fault in faults:
            print(fault, file=sys.stderr)
        print(
            "{}: {harmful} harmful, {benign} benign, ".format(data.kind, **counts)
            + f"{len(found.left_out)} left out when built, hash {data.hash[:12]}"
        )
    if faults:
        what = f"{len(faults)} faults, the first: {faults[0]}"
        raise DataError(what, where=str(folder), do="build the set again")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in options.items():
        inner = _given(value) if isinstance(value, dict) else value
        if inner is not None and inner != {}:
            given[name] = inner
    return given
