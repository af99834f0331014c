"""Counts the stops of one question on its way from a recipe to a printed interval.

A stop is a function of ours that holds the question, its clip, its response or its verdict in an
argument, or a collection of them, while a small run is made and its table is printed.

    python benchmarks/journey.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import greaves

RECIPE = """\
name: journey
label: pocket
models: [pocket]
methods: [vanilla]
tasks: [aiah-audio-text]
benchmarks: {aiah: {data: pocket, judge: pocket-rules, samples: 1, max_new_tokens: 8}}
"""
ROOT = Path(greaves.__path__[0]).parent
FOLDERS = tuple(str(ROOT / name) for name in ("suite", "tasks", "methods", "leaderboards"))
DEPTH = 3
"""How deep collections and fields are looked into."""


def holds(value: Any, wanted: str, depth: int = DEPTH) -> bool:
    """Whether a value is, or carries, the question or its clip."""
    if isinstance(value, str | Path):
        return wanted in str(value)
    if depth == 0 or isinstance(value, bytes | int | float | type(None)):
        return False
    if isinstance(value, Mapping):
        return any(holds(one, wanted, depth - 1) for one in list(value.values())[:8])
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds(one, wanted, depth - 1) for one in list(value)[:8])
    name = type(value).__name__
    if name in RECORDS:
        return wanted in repr(value)
    return False


RECORDS = {
    "Question", "Response", "Verdict", "Conversation", "Asked", "AskedQuestion", "Request",
    "SeededInstance", "Instance", "Row", "Generated",
}  # fmt: skip


class Journey:
    """Remembers the functions that were called with the question in hand."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.stops: dict[tuple[str, str], None] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See `sys.setprofile`."""
        code = frame.f_code
        ours = code.co_filename.startswith(FOLDERS)
        if event != "call" or not ours or code.co_name.startswith("<"):
            return
        stop = (code.co_filename[len(str(ROOT)) :], code.co_qualname)
        if stop in self.stops:
            return
        sys.setprofile(None)
        try:
            if any(holds(value, self.wanted) for value in list(frame.f_locals.values())):
                self.stops[stop] = None
        except Exception:  # noqa: S110 - an object that is not finished yet has no fields
            pass
        finally:
            sys.setprofile(self)


def main() -> None:
    """Make the run, print the table, print the stops."""
    from greaves.commands import cli

    with tempfile.TemporaryDirectory() as work:
        recipe = Path(work) / "journey.yaml"
        recipe.write_text(RECIPE, encoding="utf-8")
        run = Path(work) / "run"
        journey = Journey("evaluation-harmful-000")
        sys.setprofile(journey)
        for arguments in (["run", str(recipe), "--run-dir", str(run)], ["leaderboard", str(run)]):
            sys.argv = ["greaves", *arguments]
            try:
                cli.main()
            except SystemExit:
                sys.setprofile(journey)
        sys.setprofile(None)
    for file, name in journey.stops:
        print(f"{file}: {name}")
    files = {file for file, _ in journey.stops}
    print(f"{len(journey.stops)} stops in {len(files)} files")


if __name__ == "__main__":
    main()
