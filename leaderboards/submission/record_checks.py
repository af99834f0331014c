"""What is wrong with the records: over all cells (versions, questions that are missing or changed,
absent judges), and in one cell (questions, responses and verdicts against each other)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from greaves.base.errors import DataError
from greaves.base.records import Question, Response, Verdict, content_hash
from greaves.base.seeds import sample_seed
from greaves.data.folders import data_folder
from greaves.data.speech.clips import clip_hash
from greaves.data.task import TASKS
from greaves.judge.contract import JUDGES, Judge
from greaves.leaderboards.submission.contents import CellContents, Submission, SubmittedQuestion

_SHIPPED = re.compile(r"pocket(/[a-z0-9_-]+)?")
_FROM_QUESTION = ("task", "task_version", "mode", "kind", "category")
_FROM_RESPONSE = sorted(set(Verdict.model_fields) & set(Response.model_fields))

Expected = dict[str, tuple[SubmittedQuestion, int]]
"""Response key -> the question it answers and the index of the sample."""

Asked = Mapping[str, Mapping[str, str]]
"""Task -> question id -> hash of all that a model was given."""


def task_problems(submission: Submission) -> Iterator[str]:
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
    """The questions of a cell as `Asked`."""
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
        if name not in TASKS.names() or not benchmark or not _SHIPPED.fullmatch(benchmark.data):
            continue
        try:
            folder = data_folder(benchmark.data, facts.benchmark, Path())
            questions = TASKS.get(name)().questions(folder)
        except DataError as error:
            yield f"{name}: the recipe's data cannot be read here: {error}"
            continue
        clips = ((one, clip_hash(one.clip) if one.clip else None) for one in questions)
        known = {question.id: _digest(question, clip) for question, clip in clips}
        found = {name: asked(cell.questions).get(name, {})}
        where = f"{cell.folder}/questions.jsonl"
        yield from _differences(where, found, {name: known}, f"the data {benchmark.data!r}")


def _differences(where: str, tasks: Asked, wanted: Asked, source: str) -> Iterator[str]:
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
        if benchmark and (judge := benchmark.judge_spec.registered) not in found:
            yield f"{name}: no verdicts by {judge}, the judge of the recipe"


def cell_problems(
    cell: CellContents,
    submission: Submission,
    judges: Mapping[str, set[str]],
    rules: Mapping[str, Judge],
) -> Iterator[str]:
    """Everything that does not match in a cell.

    Args:
        judges: task -> judges that must have a verdict on every response to it.
        rules: judges that can be asked again, by identity.
    """
    place = submission.manifest.folders().index(cell.folder)
    identity = (cell.facts.model, cell.facts.method, cell.facts.seed)
    if identity != submission.manifest.cells[place]:
        yield f"{cell.folder}/cell.json: model, method or seed is not that of submission.json"
    expected: Expected = {}
    yield from _asked_in(cell, submission, expected)
    yield from _responses(cell, submission, expected)
    yield from _verdicts(cell, judges, rules)


def _asked_in(cell: CellContents, submission: Submission, expected: Expected) -> Iterator[str]:
    """Check the questions, and fill `expected` with their keys."""
    recipe, tasks = submission.manifest.recipe, submission.manifest.tasks
    seen: set[tuple[str, str]] = set()
    for item in cell.questions:
        question = item.question
        where = f"{cell.folder}/questions.jsonl: {question.task} question {question.id!r}"
        if (question.task, question.id) in seen:
            yield f"{where}: occurs twice"
        seen.add((question.task, question.id))
        if question.clip and ("/" in question.clip or "\\" in question.clip):
            yield f"{where}: the clip is not a file name but a path"
        if (question.clip is None) != (item.clip_sha256 is None):
            yield f"{where}: a clip needs its SHA-256, and no clip none"
        task = tasks.get(question.task)
        if task and task.benchmark in recipe.benchmarks:
            wanted = recipe.benchmarks[task.benchmark].samples
            if len(item.keys) != wanted:
                yield f"{where}: {len(item.keys)} keys, the recipe asks for {wanted} samples"
        for sample, key in enumerate(item.keys):
            if key in expected:
                yield f"{where}: key of sample {sample} belongs to another question too"
            expected.setdefault(key, (item, sample))


def _responses(cell: CellContents, submission: Submission, expected: Expected) -> Iterator[str]:
    recipe, tasks = submission.manifest.recipe, submission.manifest.tasks
    where = f"{cell.folder}/responses.jsonl"
    seen: set[str] = set()
    for response in cell.responses:
        line = f"{where}: {_named(response)}"
        if response.key not in expected:
            yield f"{line}: foreign line; no question has its key"
            continue
        if response.key in seen:
            yield f"{line}: occurs twice"
        seen.add(response.key)
        item, sample = expected[response.key]
        wrong = _differing(response, item.question, _FROM_QUESTION)
        wrong += _differing(response, cell.facts, ("model", "method", "seed"))
        if (response.question_id, response.sample) != (item.question.id, sample):
            wrong.append("key")
        task = tasks.get(response.task)
        if task and task.benchmark in recipe.benchmarks:
            base = recipe.benchmarks[task.benchmark].sampling_seed
            own = sample_seed(base, response.task, response.question_id, response.sample)
            wrong += [] if response.sample_seed == own else ["sample_seed"]
        if wrong:
            yield f"{line}: does not match its question in {', '.join(wrong)}"
    for key, (item, sample) in expected.items():
        if key not in seen:
            question = item.question
            yield f"{where}: {question.task} question {question.id!r} sample {sample}: no response"


def _verdicts(
    cell: CellContents, judges: Mapping[str, set[str]], rules: Mapping[str, Judge]
) -> Iterator[str]:
    responses = {response.key: response for response in cell.responses}
    questions = {key: item for item in cell.questions for key in item.keys}
    seen: set[tuple[str, str]] = set()
    for verdict in cell.verdicts:
        line = f"{cell.folder}/verdicts: {_named(verdict)} by {verdict.judge}"
        response = responses.get(verdict.key)
        if response is None:
            yield f"{line}: foreign line; no response has its key"
            continue
        if (verdict.judge, verdict.key) in seen:
            yield f"{line}: occurs twice"
        seen.add((verdict.judge, verdict.key))
        if wrong := _differing(verdict, response, _FROM_RESPONSE):
            yield f"{line}: does not match its response in {', '.join(wrong)}"
        elif verdict.judge in rules and verdict.key in questions:
            (again,) = rules[verdict.judge].judge([(questions[verdict.key].question, response)])
            for name in _differing(verdict, again, ("outcome", "score", "reason")):
                said, is_ = getattr(verdict, name), getattr(again, name)
                yield f"{line}: {name} {said!r}, judged again {is_!r}"
    for response in cell.responses:
        for judge in sorted(judges.get(response.task, ())):
            if (judge, response.key) not in seen:
                yield f"{cell.folder}/verdicts: {_named(response)}: no verdict by {judge}"


def _differing(record: BaseModel, other: BaseModel, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(record, name) != getattr(other, name)]


def _named(record: Response | Verdict) -> str:
    return f"{record.task} question {record.question_id!r} sample {record.sample}"
