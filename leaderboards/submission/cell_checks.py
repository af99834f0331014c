"""What is wrong with one cell: its questions, responses and verdicts against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from greaves.base.records import Response, Verdict
from greaves.base.seeds import sample_seed
from greaves.judge.contract import Judge
from greaves.leaderboards.submission.contents import CellContents, Submission
from greaves.leaderboards.submission.manifest import SubmittedQuestion

_FROM_QUESTION = ("task", "task_version", "mode", "kind", "category")
_FROM_RESPONSE = sorted(set(Verdict.model_fields) & set(Response.model_fields))

Expected = dict[str, tuple[SubmittedQuestion, int]]
"""Response key -> the question it answers and the index of the sample."""


def problems(
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
    yield from _questions(cell, submission, expected)
    yield from _responses(cell, submission, expected)
    yield from _verdicts(cell, judges, rules)


def _questions(cell: CellContents, submission: Submission, expected: Expected) -> Iterator[str]:
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
        wrong = [
            name
            for name in _FROM_QUESTION
            if getattr(response, name) != getattr(item.question, name)
        ]
        wrong += [
            name
            for name in ("model", "method", "seed")
            if getattr(response, name) != getattr(cell.facts, name)
        ]
        if (response.question_id, response.sample) != (item.question.id, sample):
            wrong.append("key")
        task = tasks.get(response.task)
        if task and task.benchmark in recipe.benchmarks:
            base = recipe.benchmarks[task.benchmark].sampling_seed
            if response.sample_seed != sample_seed(
                base, response.task, response.question_id, response.sample
            ):
                wrong.append("sample_seed")
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
        wrong = [
            name for name in _FROM_RESPONSE if getattr(verdict, name) != getattr(response, name)
        ]
        if wrong:
            yield f"{line}: does not match its response in {', '.join(wrong)}"
        elif verdict.judge in rules and verdict.key in questions:
            yield from _judged_again(line, rules[verdict.judge], questions, response, verdict)
    for response in cell.responses:
        for judge in sorted(judges.get(response.task, ())):
            if (judge, response.key) not in seen:
                yield f"{cell.folder}/verdicts: {_named(response)}: no verdict by {judge}"


def _judged_again(
    line: str,
    judge: Judge,
    questions: dict[str, SubmittedQuestion],
    response: Response,
    verdict: Verdict,
) -> Iterator[str]:
    (again,) = judge.judge([(questions[response.key].question, response)])
    for name in ("outcome", "score", "reason"):
        said, is_ = getattr(verdict, name), getattr(again, name)
        if said != is_:
            yield f"{line}: {name} {said!r}, judged again {is_!r}"


def _named(record: Response | Verdict) -> str:
    return f"{record.task} question {record.question_id!r} sample {record.sample}"
