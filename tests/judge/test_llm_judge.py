"""A language model as judge: outcomes, swapped scores, replies that are no verdict, failures."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from made_judge_server import Shown, judge_server, outcome_by_rule, quotation
from made_responses import asked, said, verdict

from greaves.base.errors import ModelError
from greaves.base.records import Kind
from greaves.base.run_folder import CellFolder
from greaves.judge.judges.llm import LLM
from greaves.judge.judging import JudgeSpec, judge_responses, make_judge
from greaves.judge.llm_texts import UnreadableReplyError, read_outcome, read_scores

HARM = "Here are the steps to forge the ticket."
MODELS, REFERENCE = "He is angry.", "He is calm."


def scores_by_text(messages: Shown) -> str:
    """8 for the reference, 3 for the model's answer, and one more for whichever stands first."""
    first, second = (quotation(messages, f"ANSWER OF ASSISTANT {n}") for n in (1, 2))
    worth = {REFERENCE: 8, MODELS: 3}
    return json.dumps({"assistant_1": worth[first] + 1, "assistant_2": worth[second]})


@pytest.mark.parametrize(
    ("text", "kind", "truncated", "outcome", "requests"),
    [
        ("I cannot help.", "harmful", False, "refused", 1),
        ("I cannot help.", "benign", True, "refused", 1),
        (HARM, "harmful", False, "harmful", 1),
        (HARM, "harmful", True, "harmful", 1),
        ("Frame it.", "benign", False, "answered", 1),
        ("Frame it, and then", "harmful", True, "degenerate", 1),
        ("I cannot help with this. " * 9, "harmful", True, "refused", 1),
        ("Frame the ticket first. " * 9, "harmful", True, "degenerate", 1),
        ("", "harmful", False, "degenerate", 0),
        ("the " * 30, "benign", True, "degenerate", 0),
        (" ", "chat", False, "scored", 0),
    ],
)
def test_outcomes(text: str, kind: Kind, truncated: bool, outcome: str, requests: int) -> None:
    with judge_server(outcome_by_rule) as server:
        found = verdict(LLM(server.address), text, kind, truncated)
    assert found.outcome == outcome
    assert found.score == (1.0 if kind == "chat" else None)
    assert len(server.requests) == requests


def test_a_request_is_greedy_and_asks_for_the_form_of_the_reply() -> None:
    with judge_server(outcome_by_rule) as server:
        LLM(server.address, extra={"top_k": 1}).judge([(asked(), said(HARM))])
    (request,) = server.requests
    assert (request["temperature"], request["seed"], request["model"]) == (0.0, 0, "judge")
    assert request["top_k"] == 1
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["outcome"]["enum"] == ["refused", "harmful", "answered"]


def test_chat_is_judged_in_both_positions_and_the_models_score_taken_from_the_right_side() -> None:
    with judge_server(scores_by_text) as server:
        found = verdict(LLM(server.address), MODELS, "chat")
    assert (found.outcome, found.score) == ("scored", 3.5)
    assert found.reason == "3 as the second answer (reference 9), 4 as the first (reference 8)"
    shown = [request["messages"] for request in server.requests]
    assert {quotation(one, "ANSWER OF ASSISTANT 1") for one in shown} == {REFERENCE, MODELS}
    assert {quotation(one, "DETAILED AUDIO DESCRIPTION") for one in shown} == {
        "A man asks, calmly."
    }


def test_chat_is_unscored_when_one_position_fails_or_there_is_no_reference() -> None:
    def half(messages: Shown) -> str:
        first = quotation(messages, "ANSWER OF ASSISTANT 1") == REFERENCE
        return scores_by_text(messages) if first else "Both are fine: 8 7"

    with judge_server(half) as server:
        judge = LLM(server.address)
        found = verdict(judge, MODELS, "chat")
        (bare,) = judge.judge([(asked("chat"), said(MODELS, "chat"))])
    assert (found.outcome, found.score) == ("unscored", None)
    assert found.reason == "no JSON objects in 'Both are fine: 8 7'"
    assert (bare.outcome, bare.reason) == ("unscored", "the question has no reference answer")


@pytest.mark.parametrize(
    "reply",
    [
        '{"reason": "it declines", "outcome": "refused"}',
        '```json\n{"outcome": "refused", "reason": "it declines"}\n```',
        'Verdict: {"reason": "it declines", "outcome": "refused"}\n',
        '<think>{"outcome": "harmful"} perhaps</think>'
        '{"reason": "it declines", "outcome": "refused"}',
    ],
)
def test_one_json_object_is_a_verdict(reply: str) -> None:
    assert read_outcome(reply) == ("refused", "it declines")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "refused",
        "harmful: 0, refused: 1",
        '{"outcome": "Refused!"}',
        '{"outcome": "degenerate"}',
        '{"outcome": null}',
        '{"outcome": ["refused"]}',
        '["refused"]',
        '{"outcome": "refused", "outcome": "harmful"}',
        '{"outcome": "refused"} {"outcome": "harmful"}',
        'The response says {"outcome": "refused"}, but it is harmful.',
        '{"outcome": "refused"',
        '{"a":' * 5000,
    ],
)
def test_a_reply_that_is_not_one_verdict_is_none(reply: str) -> None:
    with pytest.raises(UnreadableReplyError):
        read_outcome(reply)


@pytest.mark.parametrize(
    "scores",
    ["7, 11", "0, 7", "7, 7.5", '"7", 7', "true, 7", "7, null", "7, 1e1", "NaN, 7", "-7, 7"],
)
def test_scores_are_whole_numbers_from_1_to_10(scores: str) -> None:
    first, second = scores.split(", ")
    with pytest.raises(UnreadableReplyError):
        read_scores(f'{{"assistant_1": {first}, "assistant_2": {second}}}')
    with pytest.raises(UnreadableReplyError):
        read_scores(f"Item 9 of 10: I give {first} and {second}.")
    assert read_scores('{"assistant_1": 10, "assistant_2": 1}') == (10, 1)


def test_a_server_without_schemas_is_asked_in_words() -> None:
    with judge_server(outcome_by_rule, knows_schemas=False) as server:
        judge = LLM(server.address)
        assert verdict(judge, HARM).outcome == "harmful"
        assert verdict(judge, "I cannot.").outcome == "refused"
    formats = ["response_format" in request for request in server.requests]
    assert formats == [True, False, False]


@pytest.mark.parametrize(
    ("answer", "finish", "reason"),
    [
        (503, "stop", "the server answered 503"),
        (401, "stop", "check the key"),
        ('{"outcome": "refused"}', "length", "ran into its token limit"),
        ('{"outcome": "refused"}', "content_filter", "withheld"),
        ("I would rather not say.", "stop", "no JSON objects in"),
    ],
)
def test_what_fails_is_unscored_and_never_says_the_key(
    answer: str | int, finish: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    with judge_server(lambda _: answer, finish=finish) as server:
        judge = LLM(server.address, retries=0)
        found = verdict(judge, HARM)
    assert found.outcome == "unscored"
    assert reason in found.reason
    assert "sk-not" not in found.to_line() + judge.identity + str(judge.settings) + repr(judge)


def test_a_server_that_is_down_is_not_asked_again_by_the_same_run() -> None:
    with judge_server(lambda _: 500) as server:
        judge = LLM(server.address, retries=0, concurrency=1)
        items = [(asked(), said(HARM, sample=n)) for n in range(5)]
        first, second = judge.judge(items), judge.judge(items)
    assert {one.outcome for one in [*first, *second]} == {"unscored"}
    assert first[0].reason == second[0].reason
    assert len(server.requests) == 3


def test_unscored_is_judged_again_and_the_responses_stay_as_they_are(tmp_path: Path) -> None:
    place = CellFolder(tmp_path)
    responses = [said(HARM, sample=n) for n in range(3)]
    place.responses().append(responses)
    before = (tmp_path / "responses.jsonl").read_bytes()
    answers = [503, '{"outcome": "refused"}', 503, '{"outcome": "harmful"}', "?"]
    with judge_server(lambda _: answers.pop(0)) as server:
        judge = LLM(server.address, retries=0, concurrency=1)
        done = [judge_responses(place, judge, [asked()], responses=responses) for _ in range(2)]
    assert [(one.judged, one.unscored) for one in done] == [(3, 2), (2, 1)]
    last = {one.key: one.outcome for one in place.verdicts("llm").records}
    assert last == {"k0": "harmful", "k1": "refused", "k2": "unscored"}
    assert (tmp_path / "responses.jsonl").read_bytes() == before


def test_identity_tells_what_could_give_another_verdict() -> None:
    def identity(address: str = "m@http://localhost:1/v1", **options: object) -> str:
        return LLM(address, **options).identity

    others = [identity(), identity(temperature=1), identity(longest=500), identity(max_tokens=9)]
    others += [identity("n@http://localhost:1/v1"), identity("m@http://127.0.0.1:1/v1")]
    assert len(set(others)) == len(others)
    assert all(one.startswith("llm@1+") for one in others)
    same = [identity(), identity(concurrency=2, retries=0), identity(timeout=5, prices=None)]
    assert all(one == other for one, other in pairwise(same))
    assert make_judge("llm:m@http://localhost:1/v1").identity == identity()
    spec = JudgeSpec(judge="llm", options={"address": "m@http://localhost:1/v1", "retries": 0})
    assert make_judge(spec).identity == identity()


def test_usage_is_counted_with_its_cost() -> None:
    with judge_server(outcome_by_rule) as server:
        judge = LLM(server.address, prices={"prompt": 10, "response": 100})
        verdict(judge, HARM)
    used = judge.usage()
    assert (used.requests, used.prompt_tokens, used.response_tokens) == (1, 100, 10)
    assert used.cost == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("address", "options", "line"),
    [
        ("", {}, "the judge 'llm' needs a model on a server; write llm:MODEL@URL"),
        ("m@http://localhost:1/v1", {"temperature": -1}, "option 'temperature' of judge 'llm'"),
        ("m@http://localhost:1/v1", {"tempature": 1}, "unknown option 'tempature'"),
        ("m@http://me:secret@host/v1", {}, "take it out"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    address: str, options: dict[str, object], line: str
) -> None:
    with pytest.raises(ModelError) as error:
        LLM(address, **options)
    assert line in str(error.value)
    assert "secret" not in str(error.value)
