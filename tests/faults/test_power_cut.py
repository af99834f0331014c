"""After a power cut: what was not yet on disk is missing or full of zeros; the rest counts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from made_faults import Write, by_key, run_recipe

from greaves.base.errors import StoreError
from greaves.base.records import Response, Verdict
from greaves.base.run_folder import CellFolder, RunFolder
from greaves.base.store import Ledger, read_lines
from greaves.leaderboards.read.verdict_lines import read_verdicts

LAST = 4096
"""Bytes at a file's end that a power cut may take: a page."""


def response(number: int) -> Response:
    return Response(
        key=f"{number:064x}", model="m", method="vanilla", seed=0, task="t", task_version="1",
        mode="text-only", kind="harmful", category="", question_id=f"q{number}", sample=0,
        sample_seed=number, text='A "line"\nwith \\ and \N{PILE OF POO}' * (15 * number),
    )  # fmt: skip


RESPONSES = [response(number) for number in range(4)]
RECORDS: dict[str, list[Any]] = {
    "responses": RESPONSES,
    "verdicts": [
        Verdict.of(one, judge="j@1", outcome="refused", reason=one.text or "silence")
        for one in RESPONSES
    ],
}


@pytest.mark.parametrize(
    ("kind", "zeros", "every"),
    [("responses", False, 1), ("responses", True, 9), ("verdicts", False, 9)],
    ids=["cut off", "full of zeros", "verdicts"],
)
def test_a_file_that_ends_at_any_byte_keeps_its_whole_lines(
    kind: str, zeros: bool, every: int, tmp_path: Path
) -> None:
    records, path = RECORDS[kind], tmp_path / "verdicts.j.jsonl"
    lines = [f"{record.to_line()}\n".encode() for record in records]
    data = b"".join(lines)
    assert len(data) > LAST
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    for length in range(len(data) - LAST, len(data) + 1, every):
        path.write_bytes(data[:length] + bytes(len(data) - length) * zeros)
        whole = sum(end <= length for end in ends)
        if kind == "verdicts":  # a table reads without mending
            assert len(read_verdicts(path)) == whole
        ledger = Ledger(path, type(records[0]))
        assert ledger.records == records[:whole]
        assert path.read_bytes() == b"".join(lines[:whole])
        if length % 64 == 0:
            ledger.append(records[whole:])
            assert path.read_bytes() == data


def test_a_page_of_zeros_between_whole_lines_takes_its_own_lines_only(tmp_path: Path) -> None:
    """Pages of one append reach the disk in any order."""
    path = tmp_path / "responses.jsonl"
    Ledger(path, Response).append(RESPONSES)
    data = bytearray(path.read_bytes())
    data[1500:2500] = bytes(1000)
    path.write_bytes(data)
    lost = [one for one in RESPONSES if one.to_line().encode() not in data]
    ledger = Ledger(path, Response)
    assert ledger.records == [one for one in RESPONSES if one not in lost]
    ledger.append(lost)
    assert {one.key for one in read_lines(path, Response)} == {one.key for one in RESPONSES}


@pytest.mark.parametrize("name", ["run.json", "cell.json", "usage.json"])
def test_half_of_a_small_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """They are replaced in one step, so half of one is a broken disk; nothing is guessed."""
    content = b'{"format": 1, "model": "m", "method": "x", "seed": 0, "fingerprint": "f"}\n'
    path = tmp_path / name
    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(StoreError, match=name.replace(".", r"\.")):
            read(name, tmp_path)


def read(name: str, folder: Path) -> None:
    from greaves.base.usage import Usage

    if name == "run.json":
        RunFolder.open(folder)
    elif name == "cell.json":
        CellFolder(folder).facts()
    else:
        CellFolder(folder).add_usage("m", Usage(requests=1))


def test_a_run_goes_on_after_power_cuts_to_the_same_records(
    write_recipe: Write, tmp_path: Path
) -> None:
    recipe, seed = write_recipe(tasks=["aiah-text-only"]), 20261121
    run_recipe(recipe, tmp_path / "whole")
    run_recipe(recipe, tmp_path / "cut")
    chooser = random.Random(seed)
    for zeros in (False, True):
        for path in (tmp_path / "cut").rglob("*.jsonl"):
            if path.name == "questions.jsonl":
                continue
            data = path.read_bytes()
            length = chooser.randrange(max(0, len(data) - LAST), len(data))
            path.write_bytes(data[:length] + bytes(len(data) - length) * zeros)
        for path in (tmp_path / "cut").rglob("state.json"):
            path.write_bytes(b"")  # a report, no record: anything may become of it
        run_recipe(recipe, tmp_path / "cut")
        for pattern in ("responses.jsonl", "verdicts*.jsonl"):
            assert by_key(tmp_path / "cut", pattern) == by_key(tmp_path / "whole", pattern)
