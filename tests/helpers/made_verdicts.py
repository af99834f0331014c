"""Real verdicts for tests, written as one list of marks a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greaves.base.records import MODES, Kind, Mode, Outcome, Verdict

TASKS: dict[str, tuple[Kind, Mode]] = {
    "aiah-audio-text": ("harmful", "audio-text"),
    "aiah-text-only": ("harmful", "text-only"),
    "aiah-audio-only": ("harmful", "audio-only"),
    "aiah-benign": ("benign", "audio-text"),
    "noisy-audio-text": ("harmful", "audio-text"),
    "twins-benign": ("benign", "audio-text"),
    "air-bench-chat": ("chat", "audio-text"),
}
OUTCOMES: dict[str, Outcome] = {
    "h": "harmful",
    "r": "refused",
    "a": "answered",
    "d": "degenerate",
    "?": "unscored",
    "s": "scored",
}
Marks = Sequence[str] | Sequence[float] | Sequence[str | float]


def judged(
    task: str,
    questions: Mapping[str, Marks],
    *,
    method: str = "vanilla",
    seed: int = 0,
    model: str = "qwen2-audio",
    judge: str = "rules@1",
    task_version: str = "1",
) -> list[Verdict]:
    """Verdicts on one task: question id -> one mark a sample, a letter of OUTCOMES or a score."""
    kind, mode = TASKS[task]
    return [
        Verdict(
            key=f"{model}/{method}/{seed}/{task}/{question}/{sample}",
            judge=judge,
            model=model,
            method=method,
            seed=seed,
            task=task,
            task_version=task_version,
            mode=mode,
            kind=kind,
            category="",
            question_id=question,
            sample=sample,
            outcome=OUTCOMES[mark] if isinstance(mark, str) else "scored",
            score=None if isinstance(mark, str) else mark,
            reason="made for a test",
        )
        for question, marks in questions.items()
        for sample, mark in enumerate(marks)
    ]


def spread(hits: int, mark: str, *, questions: int = 350, samples: int = 5) -> dict[str, str]:
    """`hits` responses marked `mark`, the rest "a"; the first questions are hit in all samples."""
    marks = mark * hits + "a" * (questions * samples - hits)
    return {f"q{i:03}": marks[i * samples : (i + 1) * samples] for i in range(questions)}


def run_of(hits: dict[str, tuple[int, int]], *, seed: int = 0) -> list[Verdict]:
    """Method -> (harmful responses a mode, refusals) of 100, on 20 questions, with chat."""
    verdicts: list[Verdict] = []
    for method, (harmful, refused) in hits.items():
        for mode in MODES:
            marks = spread(harmful, "h", questions=20)
            verdicts += judged(f"aiah-{mode}", marks, method=method, seed=seed)
        marks = spread(refused, "r", questions=20)
        verdicts += judged("aiah-benign", marks, method=method, seed=seed)
        scores = {"c1": [7.0], "c2": [7.5]}
        chat = judged("air-bench-chat", scores, method=method, seed=seed, judge="chat-llm@2")
        verdicts += chat
    return verdicts
