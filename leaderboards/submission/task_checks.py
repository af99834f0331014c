"""What is wrong with the tasks: versions, questions that are missing or changed, absent judges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from greaves.base.errors import DataError
from greaves.base.records import Question, content_hash
from greaves.data.folders import data_folder
from greaves.data.speech.clips import clip_hash
from greaves.data.task import TASKS
from greaves.judge.contract import JUDGES, Judge
from greaves.leaderboards.submission.contents import Submission
from greaves.leaderboards.submission.manifest import SubmittedQuestion

_SHIPPED = re.compile(r"pocket(/[a-z0-9_-]+)?")


def problems(submission: Submission) -> Iterator[str]:
    """Everything that does not match over all cells."""
    yield from _versions(submission)
    yield from _same_questions(submission)
    yield from _known_questions(submission)
    yield from _recipe_judges(submission)


def judges_of(submission: Submission) -> dict[str, set[str]]:
    """Task -> judges with a verdict on it; each must have one on every response to it."""
    found: dict[str, set[str]] = {}
    for verdict in submission.verdicts():
        found.setdefault(verdict.task, set()).add(verdict.judge)
    return found


def installed_rule_judges(judges: Mapping[str, set[str]]) -> dict[str, Judge]:
    """Those of `judges_of` that are installed here, same version, and judge by rule."""
    known = JUDGES.names()
    found = {}
    for identity in sorted(set().union(*judges.values())):
        name = identity.partition("@")[0]
        kind = JUDGES.get(name) if name in known else None
        if kind and kind.by_rule:
            judge = kind()
            if judge.identity == identity:
                found[identity] = judge
    return found


def asked(questions: list[SubmittedQuestion]) -> dict[str, dict[str, str]]:
    """Task -> question id -> hash of all that a model was given."""
    found: dict[str, dict[str, str]] = {}
    for item in questions:
        digest = _digest(item.question, item.clip_sha256)
        found.setdefault(item.question.task, {})[item.question.id] = digest
    return found


def _digest(question: Question, clip_sha256: str | None) -> str:
    return content_hash({**question.model_dump(mode="json"), "clip": clip_sha256})


def _versions(submission: Submission) -> Iterator[str]:
    manifest, where = submission.manifest, "submission.json"
    known = TASKS.names()
    for name in manifest.recipe.tasks:
        if name not in manifest.tasks:
            yield f"{where}: tasks lack {name}, which the recipe asks"
    for name, facts in manifest.tasks.items():
        if name not in manifest.recipe.tasks:
            yield f"{where}: task {name} is not of the recipe"
        if facts.benchmark not in manifest.recipe.benchmarks:
            yield f"{where}: the recipe has no benchmark {facts.benchmark!r} for task {name}"
        if name in known:
            task = TASKS.get(name)
            if (task.version, task.benchmark) != (facts.version, facts.benchmark):
                yield (
                    f"{where}: task {name} has version {facts.version} of {facts.benchmark}, "
                    f"installed is version {task.version} of {task.benchmark}"
                )
    for cell in submission.cells:
        versions = {(item.question.task, item.question.task_version) for item in cell.questions}
        for name, version in sorted(versions):
            if name not in manifest.tasks:
                yield f"{cell.folder}/questions.jsonl: foreign task {name!r}"
            elif version != manifest.tasks[name].version:
                yield (
                    f"{cell.folder}/questions.jsonl: {name} version {version}, "
                    f"{where} says {manifest.tasks[name].version}"
                )


def _same_questions(submission: Submission) -> Iterator[str]:
    """All cells ask the same: otherwise a method could leave out what it does badly at."""
    every: dict[str, dict[str, str]] = {name: {} for name in submission.manifest.recipe.tasks}
    cells = [(cell.folder, asked(cell.questions)) for cell in submission.cells]
    for _, tasks in cells:
        for name, questions in tasks.items():
            every[name] = {**questions, **every.get(name, {})}
    for folder, tasks in cells:
        yield from _differences(f"{folder}/questions.jsonl", tasks, every, "another cell")
    for name, questions in every.items():
        if not questions:
            yield f"{name}: no cell asks a question of this task"


def _known_questions(submission: Submission) -> Iterator[str]:
    """The questions of data that ships with Greaves are known here too."""
    manifest = submission.manifest
    if not submission.cells:
        return
    cell = submission.cells[0]  # the others ask the same, or are told so
    for name, facts in manifest.tasks.items():
        benchmark = manifest.recipe.benchmarks.get(facts.benchmark)
        if name not in TASKS.names() or benchmark is None:
            continue
        if not _SHIPPED.fullmatch(benchmark.data):
            continue
        try:
            folder = data_folder(benchmark.data, facts.benchmark, Path())
            questions = TASKS.get(name)().questions(folder)
        except DataError as error:
            yield f"{name}: the recipe's data cannot be read here: {error}"
            continue
        known = {
            question.id: _digest(question, clip_hash(question.clip) if question.clip else None)
            for question in questions
        }
        found = {name: asked(cell.questions).get(name, {})}
        where = f"{cell.folder}/questions.jsonl"
        yield from _differences(where, found, {name: known}, f"the data {benchmark.data!r}")


def _differences(
    where: str,
    tasks: Mapping[str, Mapping[str, str]],
    wanted: Mapping[str, Mapping[str, str]],
    source: str,
) -> Iterator[str]:
    for name, questions in wanted.items():
        found = tasks.get(name, {})
        for id_, digest in questions.items():
            if id_ not in found:
                yield f"{where}: {name} question {id_!r}: missing; {source} has it"
            elif found[id_] != digest:
                yield f"{where}: {name} question {id_!r}: not as {source} has it"
        for id_ in found:
            if id_ not in questions:
                yield f"{where}: {name} question {id_!r}: foreign; {source} does not have it"


def _recipe_judges(submission: Submission) -> Iterator[str]:
    judges = judges_of(submission)
    for name, facts in submission.manifest.tasks.items():
        benchmark = submission.manifest.recipe.benchmarks.get(facts.benchmark)
        found = {judge.partition("@")[0] for judge in judges.get(name, ())}
        if benchmark and benchmark.judge_spec.registered not in found:
            judge = benchmark.judge_spec.registered
            yield f"{name}: no verdicts by {judge}, the judge of the recipe"
