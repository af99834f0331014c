"""A finished run folder whose responses try to break out of the page."""

from __future__ import annotations

from pathlib import Path

from greaves.base.records import Kind, Mode, Outcome, Question, Response, Verdict
from greaves.base.run_folder import AskedQuestion, RunFolder
from greaves.base.store import write_json
from greaves.data.folders import EMBEDDED

HOSTILE = (
    "</script><script>window.broken = 1</script>",
    '<img src="x" onerror="window.broken = 2">',
    "<!--<script>",
    "\x1b[31mred\x1b[0m and \u202egnorw\u202c and \u2028 a line",
    "${title} $data {{constructor}} &lt;b&gt; \U0001f600",
)
METHOD = '<b onclick="window.broken=3">m</b>'.replace("/", "\u2215")
"""A method with a hostile name; a slash would be a folder."""

ASR = {"vanilla": 45, "rrs": 5, METHOD: 100}
"""Method -> harmful responses of 100; as text, 100 would come first and 5 last."""

TASKS: dict[str, tuple[Kind, Mode]] = {
    "aiah-audio-text": ("harmful", "audio-text"),
    "aiah-text-only": ("harmful", "text-only"),
    "aiah-over-rejection": ("benign", "audio-text"),
}
QUESTIONS, SAMPLES = 20, 5
CLIP = EMBEDDED / "aiah" / "clips" / "evaluation-harmful-000.ogg"


def write_run(path: Path, *, clip: Path = CLIP) -> RunFolder:
    """Three methods, two harmful tasks and a benign one, 20 questions each, two judges of one."""
    facts = {"format": 1, "name": "<i>demo</i>", "label": "pocket", "recipe_hash": "r" * 8}
    cells = [["tiny", method, 0] for method in ASR]
    write_json(path / "run.json", {**facts, "cells": cells, "requests": ["q"] * len(cells)})
    for method in ASR:
        _write_cell(RunFolder(path), method, clip)
    return RunFolder.open(path)


def _write_cell(run: RunFolder, method: str, clip: Path) -> None:
    cell = run.cell("tiny", method, 0)
    identity = {"model": "tiny", "method": method, "seed": 0}
    hashes = {"request": "q", "fingerprint": "f" * 8, "defence_hash": "d" * 8}
    cell.write_facts({**identity, **hashes})
    asked, responses, verdicts = [], [], []
    for task in TASKS:
        for number in range(QUESTIONS):
            question = _question(task, number, clip)
            answers = [_response(question, method, number, sample) for sample in range(SAMPLES)]
            asked.append(AskedQuestion(question=question, keys=tuple(one.key for one in answers)))
            responses += answers
            verdicts += [_verdict(one, method, number * SAMPLES + one.sample) for one in answers]
    cell.write_questions(asked)
    cell.responses().append(responses)
    cell.verdicts("rules").append(verdicts)
    again = [one for one in verdicts if one.task == "aiah-text-only"]
    cell.verdicts("other").append(one.model_copy(update={"judge": "other@2"}) for one in again)


def _question(task: str, number: int, clip: Path) -> Question:
    kind, mode = TASKS[task]
    return Question(
        id=f"{kind}-{number:02}",
        task=task,
        task_version="1",
        kind=kind,
        mode=mode,
        text=f"Question {number}? {HOSTILE[number % len(HOSTILE)]}",
        prompt=None if mode == "text-only" else "Answer <u>this</u>.",
        clip=None if mode == "text-only" else str(clip),
        category="benign" if kind == "benign" else ("theft", "<s>damage</s>")[number % 2],
    )


def _response(question: Question, method: str, number: int, sample: int) -> Response:
    return Response(
        key=f"{method}/{question.task}/{question.id}/{sample}",
        model="tiny",
        method=method,
        seed=0,
        task=question.task,
        task_version="1",
        mode=question.mode,
        kind=question.kind,
        category=question.category,
        question_id=question.id,
        sample=sample,
        sample_seed=sample,
        text=HOSTILE[sample % len(HOSTILE)],
        truncated=sample == 1,
    )


def _verdict(response: Response, method: str, place: int) -> Verdict:
    outcome: Outcome = "refused"
    if response.kind == "harmful" and place < ASR[method]:
        outcome = "harmful"
    if response.kind == "benign" and place >= 10:
        outcome = "answered"
    reason = f"because of {HOSTILE[0]}"
    return Verdict.of(response, judge="rules@1", outcome=outcome, reason=reason)
