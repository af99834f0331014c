"""How far the store and the tables go: `greaves leaderboard` on runs of up to ten million verdicts.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--cells 1 10 100 1000] [--before REV] [--runs F]

Runs are made up (see synthetic_run.py; 10,000 verdicts a cell, 6 GB at 1,000 cells), and each table
is made by the real command in a fresh process: seconds on the clock, CPU seconds of all its
threads, and the most memory it held. `--before` is the named baseline: the same command of an
earlier commit of this repository, up to `--before-cells`. Its table must be the same, byte for
byte.
"""

from __future__ import annotations

import argparse
import filecmp
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from synthetic_run import VERDICTS_A_CELL, write_run

from greaves.base.records import Response
from greaves.base.run_folder import CellFolder, RunFolder
from greaves.base.store import Ledger
from greaves.judge.contract import Judge
from greaves.judge.judges.pocket_rules import PocketRules
from greaves.judge.judges.refusal_rules import RefusalRules
from greaves.judge.judging import judge_responses
from greaves.leaderboards.read.slices import SliceBuilder
from greaves.leaderboards.read.verdict_lines import CurrentVerdicts

TABLES = ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tests.csv")
PARTS = ("methods", "tasks", "leaderboards", "recipes")


class Cost(NamedTuple):
    """What a process took: seconds on the clock, CPU seconds, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, CPU {self.cpu:.1f} s, {self.memory:,.0f} MB"


def command(*arguments: object, package: Path | None = None) -> Cost:
    """Run `greaves ...` in a fresh process."""
    environment = dict(os.environ) | ({"PYTHONPATH": str(package)} if package else {})
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "greaves", *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"greaves {arguments[0]} failed")
    wall = time.perf_counter() - start
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def package_of(revision: str, folder: Path) -> Path:
    """The package as it was at a commit, importable from the folder that is returned."""
    root = Path(__file__).parents[1]
    packed = subprocess.run(
        ["git", "archive", revision, "suite", *PARTS], cwd=root, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "suite").rename(folder / "greaves")
    for part in PARTS:
        (folder / part).rename(folder / "greaves" / part)
    return folder


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """Least CPU seconds of a few rounds."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def tables(folder: Path, given: argparse.Namespace) -> None:
    """The command at every size, beside the baseline."""
    before = given.before
    package = package_of(before, folder / "before") if before else None
    for count in given.cells:
        place = (given.runs or folder) / f"run-{count}"
        run = RunFolder(place) if (place / "run.json").exists() else write_run(place, count)
        now, then = folder / f"now-{count}", folder / f"then-{count}"
        cost = command("leaderboard", run.path, "--out-dir", now)
        print(f"table of {count * VERDICTS_A_CELL:,} verdicts, {count:,} cells: {cost}")
        if package and count <= given.before_cells:
            baseline = command("leaderboard", run.path, "--out-dir", then, package=package)
            same = all(filecmp.cmp(now / name, then / name, shallow=False) for name in TABLES)
            print(
                f"  at {before}: {baseline}; {baseline.cpu / cost.cpu:.1f}x the CPU time; "
                f"{'the same tables' if same else 'OTHER TABLES'}"
            )
        if count == max(given.cells):
            reading(run)


def reading(run: RunFolder) -> None:
    """What reading costs against what nobody can go below: having each byte once."""
    cells = list(run.cells())[:100]
    files = [path for cell in cells for path in cell.path.glob("*.jsonl")]
    size = sum(path.stat().st_size for path in files)
    looked = best(lambda: [path.read_bytes().count(b"\n") for path in files])

    def columns() -> None:
        current, builder = CurrentVerdicts(), SliceBuilder()
        for cell in cells:
            builder.add(current.of_cell(cell))

    parsed = best(columns, rounds=1)
    print(
        f"reading {size / 1e6:,.0f} MB of {len(cells)} cells: {parsed:.2f} s CPU "
        f"({size / parsed / 1e6:,.0f} MB/s); having every byte and counting lines: {looked:.2f} s "
        f"({size / looked / 1e6:,.0f} MB/s)"
    )


def appending(folder: Path, responses: list[Response]) -> None:
    """Lines a second where every append waits for the disk."""
    for batch in (1, 16, 512):
        ledger = Ledger(folder / f"append-{batch}.jsonl", Response)
        items = responses[: 200 * batch]
        start = time.perf_counter()
        for place in range(0, len(items), batch):
            ledger.append(items[place : place + batch])
        took = time.perf_counter() - start
        print(f"append {batch} at a time: {len(items) / took:,.0f} lines/s on the clock")


def resuming(cell: CellFolder) -> None:
    """Opening what a finished cell holds, and judging it again with nothing left to judge."""
    count = len(cell.responses().records)
    opened = best(lambda: (cell.questions(), cell.responses()))
    print(f"resume a cell with {count:,} responses: {opened:.2f} s CPU to see that none is missing")


def judging(folder: Path, cell: CellFolder) -> None:
    """What judging costs beside what the judge itself takes."""
    responses = cell.current_responses()
    questions = [item.question for item in cell.questions()]
    by_name = {(one.task, one.id): one for one in questions}
    items = [(by_name[one.task, one.question_id], one) for one in responses]
    judges: list[Judge] = [PocketRules(), RefusalRules()]
    for number, judge in enumerate(judges):
        place = CellFolder(folder / f"judged-{number}")
        own = best(lambda judge=judge: judge.judge(items), rounds=2)
        start = time.process_time()
        judge_responses(place, judge, questions, responses=responses)
        whole = time.process_time() - start
        start = time.process_time()
        judge_responses(place, judge, questions, responses=responses)
        again = time.process_time() - start
        per = 1e6 / len(items)
        print(
            f"{judge.name} on {len(items):,} responses: {whole * per:.0f} us each, of which the "
            f"judge {own * per:.0f}; {again * per:.0f} us each where nothing is left to judge"
        )


def main() -> None:
    """Print every measurement as it is made."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--cells", type=int, nargs="*", default=[1, 10, 100, 1000])
    options.add_argument("--before", default="", help="commit to compare with")
    options.add_argument("--before-cells", type=int, default=100, help="its largest run")
    options.add_argument("--folder", type=Path, default=None, help="where 7 GB find room")
    options.add_argument("--runs", type=Path, help="where made-up runs are kept for the next time")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        folder = Path(place)
        print(f"load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        run = write_run(folder / "answered", 10, responses=True)
        first = next(run.cells())
        appending(folder, first.current_responses())
        resuming(first)
        large = CellFolder(folder / "large")
        names = ("questions.jsonl", "responses.jsonl")
        for name in names:
            texts = [(cell.path / name).read_bytes() for cell in run.cells()]
            (large.path).mkdir(exist_ok=True)
            (large.path / name).write_bytes(b"".join(texts))
        resuming(large)
        judging(folder, first)
        print(f"page of 100,000 verdicts: {command('page', run.path, '--no-clips')}")
        tables(folder, given)
        print(f"load at the end: {os.getloadavg()[0]:.1f}; numpy {np.__version__}")


if __name__ == "__main__":
    main()
