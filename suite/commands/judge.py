"""`greaves judge`: a second opinion on a finished run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from greaves.base.errors import GreavesError
from greaves.base.lock import cell_lock, lock
from greaves.base.progress import Steps
from greaves.base.records import Question
from greaves.base.run_folder import CellFolder, RunFolder
from greaves.base.usage import Usage
from greaves.commands.listing import AsJson
from greaves.judge.contract import Judge
from greaves.judge.judging import JudgeSpec, judge_responses, make_judge, note_judge


def judge(
    run: Annotated[Path, Argument(help="A run folder, as `greaves run` left it.")],
    judge: Annotated[str, Option(help="Name of a judge, or NAME:ADDRESS, such as llm:MODEL@URL.")],
    task: Annotated[
        list[str] | None, Option(help="Only this task; repeatable. Default: all.")
    ] = None,
    options: Annotated[
        list[str] | None,
        Option(help="Options of the judge: a JSON object, or key=value; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the responses of a run once more, with another judge, beside the verdicts it has."""
    folder = RunFolder.open(run)
    chosen = make_judge(JudgeSpec(judge=judge, options=_options(options or ())))
    with lock(run), Steps(plain=True if as_json else None) as steps:
        wanted = _questions(folder, chosen, task or ())
        note_judge(folder, chosen, second_opinion=True)
        found = _judge(folder, chosen, wanted, steps)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "judge": chosen.identity, **found}))
        return
    typer.echo(_line(chosen.identity, found))
    if found["unscored"]:
        typer.echo(f"unscored, most often: {found['unscored_because']}")
        typer.echo("the same command asks for them again")
    typer.echo(f"next: greaves agreement {run}")


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Options from JSON objects and key=value; a value is read as JSON, or taken as text."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            try:
                found |= json.loads(text)
            except (ValueError, RecursionError) as error:
                raise GreavesError(f"--options: not JSON ({error})") from None
        elif key and equals:
            found[key.strip()] = value
            with suppress(ValueError):
                found[key.strip()] = json.loads(value)
        else:
            what = f"--options {text!r} is neither a JSON object nor key=value"
            raise GreavesError(what, do="write, for instance, --options concurrency=4")
    return found


def _questions(
    folder: RunFolder, judge: Judge, tasks: Sequence[str]
) -> dict[CellFolder, list[Question]]:
    asked = {cell: [item.question for item in cell.questions()] for cell in folder.cells()}
    kinds = {question.task: question.kind for all_ in asked.values() for question in all_}
    for name in tasks:
        if name not in kinds:
            what = f"--task {name}: the run has no such task"
            raise GreavesError(what, do=f"it has: {', '.join(kinds)}")
    judged = judge.kinds
    chosen = {name for name in tasks or kinds if kinds[name] in judged}
    if not chosen:
        raise GreavesError(
            f"the judge {judge.name} judges {' and '.join(sorted(judged))} questions;"
            f" {'these tasks have' if tasks else 'the run has'} none",
            where=str(folder.path),
        )
    return {
        cell: [question for question in questions if question.task in chosen]
        for cell, questions in asked.items()
    }


def _judge(
    folder: RunFolder, judge: Judge, wanted: dict[CellFolder, list[Question]], steps: Steps
) -> dict[str, Any]:
    judged = unscored = 0
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    spent: Usage | None = None
    for cell, questions in wanted.items():
        name = str(cell.path.relative_to(folder.path / "cells"))
        progress = partial(steps.update, f"{name}: verdicts")
        with cell_lock(cell.path) as check:
            done = judge_responses(cell, judge, questions, progress=progress, may_write=check)
        judged, unscored = judged + done.judged, unscored + done.unscored
        spent = done.usage if spent is None else spent + (done.usage or Usage())
        tasks = {question.task for question in questions}
        own = [one for one in cell.current_verdicts() if one.judge == judge.identity]
        verdicts = [verdict for verdict in own if verdict.task in tasks]
        outcomes.update(verdict.outcome for verdict in verdicts)
        reasons.update(verdict.reason for verdict in verdicts if verdict.outcome == "unscored")
        steps.say(f"{name}: {done.judged} responses judged")
    return {
        "judged": judged,
        "unscored": unscored,
        "outcomes": dict(sorted(outcomes.items())),
        "unscored_because": reasons.most_common(1)[0][0] if reasons else "",
        "usage": asdict(spent) if spent else None,
    }


def _line(identity: str, found: dict[str, Any]) -> str:
    total = sum(found["outcomes"].values())
    parts = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items())
    line = f"{identity}: {found['judged']} responses judged now, {total} in all: {parts}"
    usage = found["usage"]
    if usage and usage["requests"]:
        tokens = usage["prompt_tokens"] + usage["response_tokens"]
        cost = "" if usage["cost"] is None else f", {usage['cost']:.2f} USD"
        line += f"; {usage['requests']} requests, {tokens:,} tokens{cost}"
    return line
