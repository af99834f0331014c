"""`greaves tasks show`: what a task asks, under which licence, and what a data folder holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.base.text import printable
from greaves.commands.listing import AsJson
from greaves.data.folders import data_folder
from greaves.data.imports.clip_facts import clip_facts
from greaves.data.imports.provenance import changes, data_label
from greaves.data.task import TASKS, Task

METRICS = {
    "harmful": "ASR in %, lower is better",
    "benign": "ORR in %, lower is better",
    "chat": "score from 1 to 10, higher is better",
}
MODES = {
    "audio-text": "a clip and a text",
    "text-only": "a text, no clip",
    "audio-only": "a clip, no text",
}
SHOWN = 20
"""Names printed of a long list; --json has them all."""

STATED = ("layout", "licence", "citation", "homepage")


def show(
    name: Annotated[str, Argument(help="Name of the task; list them: greaves tasks")],
    data: Annotated[str | None, Option(help='A data folder to look through, or "pocket".')] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a task asks, its licence and citation; with --data, what is in a data folder."""
    task = TASKS.get(name)()
    facts = about(task)
    if data is None:
        facts["example"] = _embedded_example(task)
        found: dict[str, Any] = {}
    else:
        folder = data_folder(data, task.benchmark, Path.cwd())
        questions = task.questions(folder)
        facts["example"] = _example(questions[0])
        found = contents(task, folder, questions)
    if as_json:
        print(json.dumps({**facts, **({"data": found} if found else {})}, indent=2))
        return
    for key, value in facts.items():
        print(f"{key:<9} {value}")
    if found:
        _print_contents(found)


def about(task: Task) -> dict[str, str]:
    """What a task says of itself."""
    summary = (type(task).__doc__ or "").strip().split("\n")[0]
    return {
        "task": task.name,
        "summary": summary,
        "version": task.version,
        "kind": task.kind,
        "mode": f"{task.mode}: {MODES[task.mode]}",
        "metric": METRICS[task.kind],
        "benchmark": task.benchmark,
        **{name: getattr(task, name) or "not stated" for name in STATED},
    }


def contents(task: Task, folder: Path, questions: list[Question]) -> dict[str, Any]:
    """What a data folder holds for a task.

    Args:
        task: the task.
        folder: its data folder.
        questions: what the task reads from it.

    Returns:
        Counts, by category too; hours of different clips; what is left out and which clips would
        stop a run, each with the reason; the label and what has changed since the import.
    """
    asked = {question.id: Path(question.clip) for question in questions if question.clip}
    facts = clip_facts(asked.values())
    return {
        "folder": str(folder),
        "label": data_label(folder),
        "questions": len(questions),
        "categories": dict(sorted(Counter(question.category for question in questions).items())),
        "clips": len(facts),
        "hours": round(sum(one.seconds for one in facts.values()) / 3600, 4),
        "left_out": task.left_out(folder),
        "broken": {name: facts[clip].fault for name, clip in asked.items() if facts[clip].fault},
        "changed": changes(folder),
    }


def _embedded_example(task: Task) -> str:
    """The first question that ships with the package; data of one's own may be no sight."""
    try:
        folder = data_folder("pocket", task.benchmark, Path.cwd())
        return _example(task.questions(folder)[0])
    except DataError:
        return "none: no such questions ship with Greaves; give --data"


def _example(question: Question) -> str:
    clip = f"[clip {Path(question.clip).name}]" if question.clip else ""
    text = " ".join(filter(None, (clip, question.prompt)))
    return printable(" ".join(text.split()))


def _print_contents(found: Mapping[str, Any]) -> None:
    print()
    print(f"{found['folder']}" + (f" ({found['label']})" if found["label"] else ""))
    print(f"questions {found['questions']}, clips {found['clips']}, {found['hours']:.2f} h")
    for category, count in found["categories"].items():
        print(f"  {category or 'without category'}: {count}")
    _print_names("left out", found["left_out"])
    _print_names("would stop a run", found["broken"])
    for line in found["changed"][:SHOWN]:
        print(line)


def _print_names(title: str, names: Mapping[str, str]) -> None:
    if names:
        print(f"{title}: {len(names)}")
    for name, reason in list(names.items())[:SHOWN]:
        print(f"  {name}: {reason}")
    if len(names) > SHOWN:
        print(f"  and {len(names) - SHOWN} more: --json lists them")
