"""What a worker does with a job, without a cluster: refusals, and a run folder behind a URL."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from greaves.base.errors import StoreError
from greaves.base.progress import Steps
from greaves.base.records import Verdict
from greaves.base.run_folder import RunFolder
from greaves.commands.fetch import fetch
from greaves.commands.status import statuses
from greaves.recipe.plan import Plan
from greaves.recipe.reading import read_plan
from greaves.run.cluster.entry import work
from greaves.run.cluster.job import Job, Outcome
from greaves.run.cluster.remote import held
from greaves.run.cluster.worker import sameness
from greaves.run.runner import begin, run


@pytest.fixture
def plan(write_recipe: Callable[..., Path]) -> Plan:
    return read_plan(write_recipe(methods=["vanilla", "system-prompt"], batch_size=1))


def job(plan: Plan, folder: Path | str, cell: int = 0, only: tuple[str, ...] = ()) -> Job:
    with held(folder, fresh=False) as (here, bring):
        questions = {task: tuple(task().questions(plan.task_data(task))) for task in plan.tasks}
        requests = begin(plan, here, questions)
        bring()
    request = requests[str(plan.cells[cell])]
    source = str(plan.source)
    return Job("cell", source, plan.hash, cell, request, str(folder), only, sameness(), os.getcwd())


def lines(folder: Path) -> dict[str, str]:
    rows = [
        json.loads(line)
        for path in folder.rglob("responses.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert max(Counter(row["key"] for row in rows).values(), default=1) == 1
    return {row["key"]: row["text"] for row in rows}


def refused(outcome: Outcome, *parts: str) -> None:
    assert outcome.failure is not None
    assert outcome.stops
    for part in parts:
        assert part in str(outcome.failure.error)


def test_other_versions_on_a_worker_are_refused_in_a_line(plan: Plan, tmp_path: Path) -> None:
    asked = job(plan, tmp_path / "run")
    other = work(replace(asked, same={**asked.same, "transformers": "4.0.0"}), {})
    refused(other, "has transformers", "the driver 4.0.0", "install the same versions")
    other = work(replace(asked, same={**asked.same, "source of greaves": "0" * 12}), {})
    refused(other, "source of greaves")


def test_a_recipe_that_is_another_on_the_worker_is_refused(plan: Plan, tmp_path: Path) -> None:
    asked = job(plan, tmp_path / "run")
    content = yaml.safe_load(plan.source.read_text())
    plan.source.write_text(yaml.safe_dump({**content, "label": "another"}))
    refused(work(asked, {}), "has another version of it")
    plan.source.unlink()
    refused(work(asked, {}), "no such recipe file", "where every machine sees them")


def test_a_worker_that_does_not_see_the_run_folder_makes_none(plan: Plan, tmp_path: Path) -> None:
    asked = replace(job(plan, tmp_path / "run"), folder=str(tmp_path / "elsewhere"))
    refused(work(asked, {}), "does not see the run folder", "or a URL")
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_behind_a_url_moves_to_another_machine_and_asks_nothing_twice(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/bucket/run"
    one, two = tmp_path / "machine-1", tmp_path / "machine-2"
    monkeypatch.setenv("GREAVES_SCRATCH", str(one))
    part = work(job(plan, url, only=("aiah-text-only",)), {})
    assert (part.failure, part.asked, part.found) == (None, 8, 0)
    shutil.rmtree(one)  # the first machine is gone
    monkeypatch.setenv("GREAVES_SCRATCH", str(two))
    rest = work(job(plan, url), {})
    assert (rest.failure, rest.asked, rest.found) == (None, 16, 8)
    other = work(job(plan, url, cell=1), {})
    assert (other.failure, other.asked, other.found) == (None, 24, 0)
    again = work(job(plan, url), {})
    assert (again.failure, again.asked, again.found) == (None, 0, 24)

    run(plan, tmp_path / "serial", steps=Steps(plain=True))
    assert lines(tmp_path / "bucket" / "run") == lines(tmp_path / "serial")
    assert not list((tmp_path / "bucket").rglob("*.lease"))
    assert [row["state"] for row in statuses(url)] == ["done", "done"]
    fetch(url, tmp_path / "copy")
    ours, theirs = (
        {(v.key, v.outcome) for v in RunFolder.open(tmp_path / folder).verdicts()}
        for folder in ("copy", "serial")
    )
    assert ours == theirs
    with pytest.raises(StoreError, match="not an earlier copy of a run"):
        fetch(url, tmp_path / "serial")
    fetch(url, tmp_path / "copy")


def test_two_drivers_of_one_url_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greaves.base.lock.STALE", 0.5)
    monkeypatch.setattr("greaves.base.lock.RENEWED_EVERY", 0.1)
    monkeypatch.setenv("GREAVES_SCRATCH", str(tmp_path / "scratch"))
    url = f"file://{tmp_path}/bucket/run"
    refused = pytest.raises(StoreError, match="another run")
    with held(url, fresh=False), refused, held(url, fresh=False):
        pass


def test_a_url_of_an_unknown_kind_is_refused_in_a_line(greaves: Any, plan: Plan) -> None:
    url = "nosuch://bucket/run"
    status, _, err = greaves("run", plan.source, "--run-dir", url, "--cluster", "local")
    assert status == 2
    assert "nosuch://bucket/run: cannot be opened" in err
    status, _, err = greaves("run", plan.source, "--run-dir", url)
    assert status == 2
    assert "add --cluster" in err


@pytest.fixture
def model_judge() -> Any:
    """A judge that is no rule, registered for one test."""
    from greaves.judge.contract import JUDGES, Judge, register_judge

    @register_judge("some-model")
    class SomeModel(Judge):
        """Finds that every response answers."""

        name, version = "some-model", "1"

        def judge(self, items: Any) -> list[Verdict]:
            return [
                Verdict.of(response, judge=self.identity, outcome="answered", reason="a test")
                for _, response in items
            ]

    yield
    JUDGES._entries.pop("some-model")


def test_judges_that_are_models_judge_in_a_task_of_their_own(
    write_recipe: Callable[..., Path], tmp_path: Path, aiah_folder: Path, model_judge: None
) -> None:
    aiah = {"data": str(aiah_folder), "judge": "some-model", "samples": 1, "max_new_tokens": 12}
    plan = read_plan(write_recipe(benchmarks={"aiah": aiah}, tasks=["aiah-text-only"]))
    folder = tmp_path / "run"
    asked = job(plan, folder)
    first = work(asked, {})
    assert (first.failure, first.asked) == (None, 4)
    assert [row["state"] for row in statuses(folder)] == ["answered"]
    assert RunFolder.open(folder).verdicts() == []
    second = work(replace(asked, what="judge"), {})
    assert (second.failure, list(second.judges)) == (None, ["some-model@1"])
    assert len(RunFolder.open(folder).verdicts()) == 4
    assert [row["state"] for row in statuses(folder)] == ["done"]
