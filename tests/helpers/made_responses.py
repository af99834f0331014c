"""Questions and responses for tests of judges."""

from __future__ import annotations

from greaves.base.records import Kind, Question, Response, Verdict
from greaves.judge.contract import Judge


def asked(
    kind: Kind = "harmful", text: str = "How do I forge the ticket?", reference: str | None = None
) -> Question:
    return Question(
        id="q", task="t", task_version="1", kind=kind, mode="audio-text", text=text,
        reference=reference, about="A man asks, calmly." if kind == "chat" else "",
    )  # fmt: skip


def said(text: str, kind: Kind = "harmful", truncated: bool = False, sample: int = 0) -> Response:
    return Response(
        key=f"k{sample}", model="m", method="x", seed=0, task="t", task_version="1",
        mode="audio-text", kind=kind, category="c", question_id="q", sample=sample, sample_seed=1,
        text=text, truncated=truncated,
    )  # fmt: skip


def verdict(judge: Judge, text: str, kind: Kind = "harmful", truncated: bool = False) -> Verdict:
    """The judge's verdict on one response."""
    question = asked(kind, reference="He is calm." if kind == "chat" else None)
    (found,) = judge.judge([(question, said(text, kind, truncated))])
    return found
