"""Packs a finished run, checks the file that was packed, and only then gives it its name."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from greaves.base.errors import GreavesError, RegistryError
from greaves.base.machine import Machine
from greaves.base.records import Verdict
from greaves.base.run_folder import AskedQuestion, CellFolder, RunFolder
from greaves.base.store import as_lines, replacing
from greaves.data.speech.clips import clip_hash
from greaves.data.task import TASKS
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.show import render
from greaves.leaderboards.submission import contents
from greaves.leaderboards.submission.archive import zipped
from greaves.leaderboards.submission.checks import problems
from greaves.leaderboards.submission.contents import (
    Manifest,
    Submission,
    SubmittedQuestion,
    TaskFacts,
)
from greaves.recipe.schema import Recipe

_FOLDERS = re.compile(r"(?:\bfile:/)?(?<![\w:/.~-])/(?:[^\s/'\"]+/)+")
"""The folders of an absolute path inside a sentence; not those of an address (https://...)."""


class RefusedError(GreavesError):
    """A submission that does not hold.

    Args:
        where: the file, or the run that was packed.
        problems: what does not match, one line each.
    """

    def __init__(self, where: Path, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} things do not match", where=str(where))
        self.place, self.problems = where, problems


def refuse_broken(where: Path, submission: Submission) -> None:
    """Raises RefusedError if anything in the submission does not match."""
    if found := problems(submission):
        raise RefusedError(where, found)


def write_submission(run: RunFolder, name: str, target: Path) -> Submission:
    """Write the submission of a finished run.

    Raises:
        GreavesError: the run is not finished, `name` cannot be a submission's, or the file cannot
            be written.
        RefusedError: what was packed does not hold.
    """
    if not re.fullmatch(contents.NAME, name):
        do = 'use letters, digits, ".", "_" and "-", 64 at most'
        raise GreavesError(f"{name!r} cannot name a submission", where="--name", do=do)
    data = pack(run, name)
    try:
        with replacing(target) as part:
            part.write_bytes(data)
            submission = contents.read_submission(part)
            refuse_broken(run.path, submission)
    except OSError as error:
        raise GreavesError(f"cannot be written ({error.strerror})", where=str(target)) from None
    return submission


def pack(run: RunFolder, name: str) -> bytes:
    """The submission of a run: its records, what was run, on what, and the rows they give.

    Clips stay where they are; their file names and SHA-256 go. The same run packed twice on one
    machine gives the same bytes.

    Args:
        run: every cell of it has answered and judged all questions.

    Raises:
        GreavesError: a cell has not started, the recipe is of another version, a clip is gone, or
            the verdicts make no table.
    """
    facts = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    cells = list(run.cells())
    if not cells or len(cells) < len(facts["cells"]):
        what = f"{len(facts['cells']) - len(cells)} of {len(facts['cells'])} cells have not started"
        raise GreavesError(what, where=str(run.path), do="finish the run first: greaves run")
    try:
        recipe = Recipe.model_validate(without_folders(facts["recipe"]))
        manifest = Manifest(
            format=contents.FORMAT,
            name=name,
            label=facts["label"],
            recipe=recipe,
            recipe_hash=facts["recipe_hash"],
            cells=facts["cells"],
            tasks={task: _task_facts(task) for task in recipe.tasks},
            versions=facts["versions"],
            hashes=run.facts().hashes,
            **dict(Machine.model_validate(facts["machine"])),
            files={},
        )
    except (ValidationError, KeyError):
        what = "the recipe in it is not one that this Greaves reads"
        do = "submit with the version that ran it"
        raise GreavesError(what, where=str(run.path / "run.json"), do=do) from None
    members = {"leaderboard.json": _rows(run, facts["label"])}
    for folder, cell in zip(manifest.folders(), cells, strict=True):
        members |= {f"{folder}/{file}": data for file, data in _cell_files(cell).items()}
    sums = {member: hashlib.sha256(members[member]).hexdigest() for member in sorted(members)}
    manifest = manifest.model_copy(update={"files": sums})
    return zipped({"submission.json": _json(manifest.model_dump(mode="json")), **members})


def _task_facts(name: str) -> TaskFacts:
    try:
        task = TASKS.get(name)
    except RegistryError as error:
        do = "install the package that provides it"
        raise GreavesError(error.what, where="recipe: tasks", do=do) from None
    return TaskFacts(version=task.version, benchmark=task.benchmark)


def _rows(run: RunFolder, label: str) -> bytes:
    verdicts = run.verdicts()
    if not verdicts:
        raise GreavesError("the run has no verdicts", where=str(run.path), do="greaves run")
    return render.as_json(render.as_plain(leaderboard(verdicts, label=label))).encode()


def _cell_files(cell: CellFolder) -> dict[str, bytes]:
    """File -> bytes: the cell's facts and its current records."""
    by_judge: dict[str, list[Verdict]] = {}
    for verdict in cell.current_verdicts():
        file = f"verdicts.{contents.slug(verdict.judge.partition('@')[0])}.jsonl"
        by_judge.setdefault(file, []).append(verdict)
    return {
        "cell.json": _json(without_folders(cell.facts())),
        "questions.jsonl": as_lines(map(_submitted, cell.questions())).encode(),
        "responses.jsonl": as_lines(cell.current_responses()).encode(),
        **{file: as_lines(verdicts).encode() for file, verdicts in by_judge.items()},
    }


def _submitted(asked: AskedQuestion) -> SubmittedQuestion:
    question, clip = asked.question, asked.question.clip
    return SubmittedQuestion(
        question=question.model_copy(update={"clip": Path(clip).name if clip else None}),
        clip_sha256=clip_hash(clip) if clip else None,
        keys=asked.keys,
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def without_folders(value: Any) -> Any:
    """Plain data with every absolute path in its texts cut to the last name.

    Example:
        >>> without_folders({"data": "/home/me/aiah", "model": "Qwen/Qwen2-Audio"})
        {'data': 'aiah', 'model': 'Qwen/Qwen2-Audio'}
    """
    if isinstance(value, dict):
        return {without_folders(name): without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    for path in (PurePosixPath(value), PureWindowsPath(value)):
        if path.is_absolute() or value.startswith("~"):
            return path.name
    return _FOLDERS.sub("", value)
