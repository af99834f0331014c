"""A disk that is full: one line, nothing lost, and the run carries on once there is room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_faults import RRS, Write, by_key, rows, small_disk, whole_rows
from small_folders import copy_pairs

from greaves.align.defence import Defence
from greaves.base.errors import StoreError
from greaves.base.records import Record
from greaves.base.store import Ledger, read_lines

KB = 1024


class Line(Record):
    key: str
    text: str


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "40m") as folder:
        yield folder


def leave(disk: Path, room: int) -> None:
    """Fill the disk but for `room` bytes."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    free = shutil.disk_usage(disk).free
    ballast.write_bytes(bytes(max(0, free - room)))


def test_a_full_disk_is_one_line_wherever_it_strikes_and_nothing_is_lost(
    greaves: Any, write_recipe: Write, tmp_path: Path, disk: Path
) -> None:
    recipe = write_recipe(batch_size=1)
    assert greaves("run", recipe, "--run-dir", tmp_path / "whole")[0] == 0
    folder, seen, struck = disk / "run", dict[str, str](), set[str]()
    for room in range(0, 400, 28):
        leave(disk, room * KB)
        status, _, err = greaves("run", recipe, "--run-dir", folder)
        now = whole_rows(folder)
        assert seen.items() <= now.items()
        seen = now
        if status == 0:
            break
        assert status == 2
        assert "Traceback" not in err
        said = err.splitlines()[-1]
        assert "No space left on device" in said
        struck.add(Path(said.split(": ")[1]).name)
    assert status == 0
    assert len(struck) >= 3
    assert by_key(folder) == by_key(tmp_path / "whole")
    assert rows(folder, "verdicts*.jsonl") == rows(tmp_path / "whole", "verdicts*.jsonl")


def test_an_append_without_room_keeps_what_was_there_and_goes_on_with_room(disk: Path) -> None:
    lines = [Line(key=f"{number:04}", text="x" * 300) for number in range(100)]
    ledger = Ledger(disk / "lines.jsonl", Line)
    leave(disk, 16 * KB)
    with pytest.raises(StoreError, match=r"lines\.jsonl: cannot be written \(No space left"):
        append_by_fives(ledger, lines)
    kept = read_lines(disk / "lines.jsonl", Line)
    assert 0 < len(kept) < 100
    assert kept == ledger.records == lines[: len(kept)]
    (disk / "ballast").unlink()
    again = Ledger(disk / "lines.jsonl", Line)
    again.append(lines[len(kept) :])
    assert read_lines(disk / "lines.jsonl", Line) == lines


def append_by_fives(ledger: Ledger[Line], lines: list[Line]) -> None:
    for number in range(0, len(lines), 5):
        ledger.append(lines[number : number + 5])


def test_a_disk_that_fills_up_while_a_model_is_trained_is_one_line_and_training_goes_on(
    greaves: Any, write_recipe: Write, tmp_path: Path, disk: Path
) -> None:
    recipe = write_recipe(
        methods=[{"method": "rrs", "config": RRS}],
        alignment_data={"mirror": str(copy_pairs(tmp_path / "mirror", 4))},
        tasks=["aiah-text-only"],
    )
    assert greaves("run", recipe, "--run-dir", tmp_path / "whole")[0] == 0
    shutil.copytree(tmp_path / "whole" / "features", disk / "run" / "features")
    leave(disk, 100 * KB)
    status, _, err = greaves("run", recipe, "--run-dir", disk / "run")
    assert status == 2, err
    assert "Traceback" not in err
    assert "no space left on the disk" in err.splitlines()[-1]
    (disk / "ballast").unlink()
    status, _, err = greaves("run", recipe, "--run-dir", disk / "run")
    assert status == 0, err
    assert made(disk / "run") == made(tmp_path / "whole")


def made(folder: Path) -> str:
    (place,) = folder.glob("cells/*/rrs/*/defences/*")
    return Defence.load(place).hash
