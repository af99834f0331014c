"""What models say, however long or crafted: judged, quoted and written down, and soon."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LONG, LONG_OUTPUTS, any_text, examples

from greaves.base.records import Question, Response, Verdict
from greaves.base.store import Ledger
from greaves.judge.contract import JUDGES, Judge
from greaves.judge.degenerate import flaw_of
from greaves.judge.llm_texts import (
    CHAT,
    SAFETY,
    UnreadableReplyError,
    prompt,
    read_outcome,
    read_scores,
)

BY_RULE = sorted(name for name in JUDGES.names() if getattr(JUDGES.get(name), "by_rule", False))
SECONDS = 15.0
"""For all judges; a pattern that goes back over what it read would take hours."""


def item(text: str, kind: Any = "harmful", about: str = "How?") -> tuple[Question, Response]:
    common = {"task": "t", "task_version": "1", "mode": "audio-text", "kind": kind}
    question = Question(id="q", text=about, prompt=about, reference=about, about=about, **common)
    response = Response(
        key="k", model="m", method="v", seed=0, category="", question_id="q", sample=0,
        sample_seed=1, text=text, **common,
    )  # fmt: skip
    return question, response


def judge(name: str) -> Judge:
    found: Judge = JUDGES.get(name)()
    return found


@pytest.mark.parametrize("name", BY_RULE)
@given(text=any_text, about=any_text, kind=st.sampled_from(("harmful", "benign", "chat")))
@examples(40)
def test_every_judge_by_rule_has_a_verdict_on_any_text(
    name: str, text: str, about: str, kind: str
) -> None:
    one = judge(name)
    if kind in getattr(one, "kinds", {kind}):
        (verdict,) = one.judge([item(text, kind, about)])
        assert Verdict.from_line(verdict.to_line()) == verdict


@pytest.mark.parametrize("text", LONG_OUTPUTS, ids=[ascii(t[:8]) for t in LONG_OUTPUTS])
def test_a_long_line_is_judged_quoted_and_written_soon(text: str, tmp_path: Path) -> None:
    start = time.monotonic()
    for kind in ("harmful", "chat"):
        asked = item(text, kind)
        flaw_of(asked[1])
        for name in BY_RULE:
            one = judge(name)
            if kind in getattr(one, "kinds", {kind}):
                one.judge([asked])
    for reader in (read_outcome, read_scores):
        with pytest.raises(UnreadableReplyError) as error:
            reader(text)
        assert len(str(error.value)) < 1_000
    ledger = Ledger(tmp_path / "responses.jsonl", Response)
    ledger.append([asked[1]])
    assert Ledger(tmp_path / "responses.jsonl", Response).records == [asked[1]]
    assert time.monotonic() - start < SECONDS


@given(texts=st.lists(any_text, min_size=5, max_size=5))
@examples(60)
def test_no_text_changes_the_frame_of_a_judges_prompt(texts: list[str]) -> None:
    """Without the lines that quote, the mark and the notes, every prompt is the same."""

    def frame(name: str, given: list[str]) -> list[str]:
        places = ("question", "response", "description", "answer_1", "answer_2")
        messages = prompt(name).messages(dict(zip(places, given, strict=True)), longest=100_000)
        assert [message["role"] for message in messages] == ["system", "user"]
        lines = "\n".join(message["content"] for message in messages).split("\n")
        return [line[:12] for line in lines if not line.startswith("| ")]

    for name in (SAFETY, CHAT):
        assert frame(name, texts) == frame(name, ["a"] * 5)


@given(text=any_text, reason=any_text)
@examples(60)
def test_a_judges_reply_is_one_of_three_words_or_unreadable(text: str, reason: str) -> None:
    for reply in (text, json.dumps({"outcome": text, "reason": reason}), json.dumps([text])):
        with pytest.raises(UnreadableReplyError) as error:
            read_outcome(reply)
        assert str(error.value).isprintable()
    outcome, line = read_outcome(json.dumps({"outcome": "refused", "reason": reason}))
    assert outcome == "refused"
    assert line.isprintable()
    assert len(line) < LONG
