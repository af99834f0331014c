"""Processes that are killed: whichever and whenever, the records are those of a quiet run."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from made_faults import RRS, by_key, finish, rows, start, started, whole_rows
from small_folders import copy_pairs, copy_questions
from warm import PROCESSES
from watching import alive, children, until

from greaves.align.defence import Defence
from greaves.base.records import Question, Response
from greaves.base.run_folder import AskedQuestion, RunFolder
from greaves.base.store import write_json

KILLS = 12


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a recipe: RRS on a few pairs, a few questions asked."""
    import yaml

    root = tmp_path_factory.mktemp("kills")
    pairs, questions = copy_pairs(root / "mirror", 4), copy_questions(root / "aiah", 2, 2)

    def recipe(name: str, **changes: Any) -> Path:
        asked = {"data": str(questions), "judge": "pocket-rules", "samples": 2}
        content: dict[str, Any] = {
            "name": name,
            "models": ["pocket"],
            "methods": ["vanilla", {"method": "rrs", "config": RRS}],
            "alignment_data": {"mirror": str(pairs)},
            "benchmarks": {"aiah": {**asked, "max_new_tokens": 12}},
            "tasks": ["aiah-text-only", "aiah-over-rejection"],
            "batch_size": 1,
        }
        path = root / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}))
        return path

    return recipe


def defences(folder: Path) -> set[str]:
    return {Defence.load(path.parent).hash for path in folder.glob("cells/*/*/*/defences/*/*.json")}


def test_a_run_killed_a_dozen_times_leaves_what_an_undisturbed_one_does(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """The moments are drawn by a seed; each attempt may go on for longer, so that it ends."""
    recipe = write("dozen")
    began = time.monotonic()
    finish(recipe, tmp_path / "quiet")
    whole = time.monotonic() - began
    chooser = random.Random(20261121)
    seen: dict[str, str] = {}
    for _ in range(KILLS):
        process = start(recipe, tmp_path / "killed")
        process.join(chooser.random() * 0.8 * whole)
        process.kill()
        process.join()
        now = whole_rows(tmp_path / "killed")
        assert seen.items() <= now.items()
        seen = now
    finish(recipe, tmp_path / "killed")
    for pattern in ("responses.jsonl", "verdicts*.jsonl"):
        assert by_key(tmp_path / "killed", pattern) == by_key(tmp_path / "quiet", pattern)
    assert defences(tmp_path / "killed") == defences(tmp_path / "quiet")


# -- processes that train together ---------------------------------------------------------------


def spawned(process: int) -> list[int]:
    """The processes that train, as torch.multiprocessing starts them."""
    return [
        one
        for one in children(process)
        if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def test_a_worker_that_is_killed_fails_its_cell_by_name_and_takes_the_others_along(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    methods = [{"method": "rrs", "config": {**RRS, "epochs": 200}}, "vanilla"]
    recipe = write("workers", methods=methods, training={"processes": 2, "micro_batch": 4})
    process = start(recipe, tmp_path / "run")
    training = "cells/pocket/rrs/seed-0/defences/*.work/cut.json"
    until(lambda: list((tmp_path / "run").glob(training)))
    workers = spawned(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    process.join(60)
    assert process.exitcode == 2
    assert not any(map(alive, workers))
    said = (tmp_path / "run.log").read_text()
    assert "of 2 ended without a word (SIGKILL)" in said
    assert "1 of 2 cells failed: pocket / rrs / seed 0" in said
    assert {row["method"] for row in rows(tmp_path / "run", "responses.jsonl")} == {"vanilla"}


LAUNCHER = """
import os, subprocess, sys
recipe, port = sys.argv[1:]
variables = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
command = [sys.executable, "-m", "greaves", "run", recipe]
subprocess.run(command, env={**os.environ, **variables})
"""
"""Starts a worker as the launchers of DeepSpeed, torch and accelerate do, and waits for it."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_workers_end_with_a_launcher_that_is_killed(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """The first process, here the test, never answers, so the worker would wait for days."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        first.settimeout(120)
        port = str(first.getsockname()[1])
        command = [sys.executable, "-c", LAUNCHER, str(write("launched")), port]
        launcher = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        connection, _ = first.accept()
        with connection:
            (worker,) = children(launcher.pid)
            launcher.kill()
            launcher.wait()
            until(lambda: not alive(worker), 20)


# -- a judge -------------------------------------------------------------------------------------

COUNT = 150


class SlowJudge(BaseHTTPRequestHandler):
    """Takes a moment for each verdict."""

    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        time.sleep(0.01)
        message = {"role": "assistant", "content": '{"reason": "slow", "outcome": "refused"}'}
        data = json.dumps(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _judge(folder: Path, port: int) -> None:
    from greaves.commands import cli

    address = f"llm:judge@http://127.0.0.1:{port}/v1"
    sys.argv = ["greaves", "judge", str(folder), "--judge", address]
    cli.main()


def answered(path: Path) -> RunFolder:
    """A run with responses, and no verdicts yet."""
    folder = RunFolder(path)
    write_json(
        path / "run.json",
        {"format": 1, "name": "a", "label": "", "recipe_hash": "r", "cells": [["m", "x", 0]]},
    )
    cell = folder.cell("m", "x", 0)
    facts = {"model": "m", "method": "x", "seed": 0, "fingerprint": "f", "defence_hash": "d"}
    cell.write_facts(facts)
    same: dict[str, Any] = {
        "task": "t",
        "task_version": "1",
        "kind": "harmful",
        "mode": "text-only",
    }
    questions = [Question(id=f"q{number}", text="How?", **same) for number in range(COUNT)]
    cell.write_questions(AskedQuestion(question=one, keys=(f"key-{one.id}",)) for one in questions)
    cell.responses().append(
        Response(
            key=f"key-{one.id}", model="m", method="x", seed=0, category="", question_id=one.id,
            sample=0, sample_seed=1, text=f"Answer to {one.id}.", **same,
        )
        for one in questions
    )  # fmt: skip
    return folder


def test_a_judge_process_that_is_killed_goes_on_with_what_it_had_not_judged(tmp_path: Path) -> None:
    answered(tmp_path / "run")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowJudge)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        work = PROCESSES.Process(target=_judge, args=(tmp_path / "run", server.server_address[1]))
        work.start()
        until(lambda: len(rows(tmp_path / "run", "verdicts*.jsonl")) > 0)
        work.kill()
        work.join()
        kept = rows(tmp_path / "run", "verdicts*.jsonl")
        assert 0 < len(kept) < COUNT
        asked = SlowJudge.asked
        again = PROCESSES.Process(target=_judge, args=(tmp_path / "run", server.server_address[1]))
        again.start()
        again.join(60)
        assert again.exitcode == 0
    finally:
        server.shutdown()
        server.server_close()
    found = rows(tmp_path / "run", "verdicts*.jsonl")
    assert len({row["key"] for row in found}) == len(found) == COUNT
    assert found[: len(kept)] == kept
    assert SlowJudge.asked - asked <= COUNT - len(kept) + 8  # requests may have been on their way


# -- SIGTERM -------------------------------------------------------------------------------------


def _command(*arguments: str) -> None:
    from greaves.commands import cli

    sys.argv = ["greaves", *arguments]
    cli.main()


def test_sigterm_ends_a_run_as_ctrl_c_does_and_the_next_one_carries_on(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """As Slurm sends it before it takes the machine away."""
    recipe, folder = write("preempted", methods=["vanilla"]), tmp_path / "run"
    log = tmp_path / "log"
    work = started(log, _command, "run", str(recipe), "--run-dir", str(folder))
    until(lambda: whole_rows(folder))
    os.kill(work.pid, signal.SIGTERM)
    work.join(30)
    assert work.exitcode == 128 + signal.SIGTERM
    assert "greaves: interrupted; run the same command again to carry on\n" in log.read_text()
    kept = by_key(folder)
    finish(recipe, folder)
    assert kept.items() < by_key(folder).items()
