"""A clock that is set while a run is under way: nothing is decided by the time of day."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_faults import Write, by_key, finish

YEAR = 365 * 24 * 3600

SESSION = """
import os, sys, time
from greaves.commands import cli

recipe, folder = sys.argv[1:]

def greaves(*arguments):
    sys.argv = ["greaves", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        if stop.code:
            raise
greaves("run", recipe, "--run-dir", folder, "--only", "aiah-text-only")
os.environ["CLOCK_JUMPS"] = "-{year}"
greaves("status", folder, "--json")
greaves("run", recipe, "--run-dir", folder)
os.environ["CLOCK_JUMPS"] = "{year}"
greaves("status", folder, "--json")
greaves("run", recipe, "--run-dir", folder)
os.environ["CLOCK_JUMPS"] = "=1700000000"
assert time.time() == 1700000000
for _ in range(2):
    greaves("run", recipe, "--run-dir", folder, "--fresh", "--only", "aiah-text-only")
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the clock of a process, for all of its code, in C as in Python."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux: apt-get install gcc libc6-dev")
    library = tmp_path_factory.mktemp("clock") / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def test_a_clock_that_jumps_by_years_changes_no_record_and_breaks_no_command(
    clock: Path, write_recipe: Write, tmp_path: Path
) -> None:
    recipe = write_recipe(tasks=["aiah-text-only", "aiah-over-rejection"])
    finish(recipe, tmp_path / "whole")
    jumps = {"CLOCK_JUMPS": f"0,-{YEAR},{YEAR},-{YEAR // 2}", "CLOCK_PERIOD": "70"}
    run = subprocess.run(
        [sys.executable, "-c", SESSION.replace("{year}", str(YEAR)), str(recipe), "run"],
        cwd=tmp_path,
        env={**os.environ, **jumps, "LD_PRELOAD": str(clock)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        assert '"seconds_left": -' not in line
        assert '"per_second": -' not in line
    assert "about -" not in run.stderr
    first, second = sorted(tmp_path.glob("run.before-*"))
    assert second.name == f"{first.name}-2"  # the same moment twice
    assert by_key(first) == by_key(tmp_path / "whole")
    assert by_key(first, "verdicts*.jsonl") == by_key(tmp_path / "whole", "verdicts*.jsonl")
    assert by_key(second) == by_key(tmp_path / "run")
    versions = json.loads((first / "run.json").read_text())["earlier_versions"]
    assert versions == []
