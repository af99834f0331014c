"""Empty, cut and looping output: what counts as it, and what of it can still be judged."""

from __future__ import annotations

import pytest
from made_responses import said

from greaves.judge.degenerate import Flaw, flaw_of, looping

STEPS = "1. Take a cup. 2. Take a pan. 3. Take a lid. 4. Take a pot. 5. Take a jug. 6. Take a bowl."


@pytest.mark.parametrize(
    "text",
    [
        "the " * 12,
        "I'm sorry, " * 6 + "I'm",
        "Sure, here is how. First, " + "mix it and stir and " * 8,
        "Take the cup. Put it down. " * 5,
        "\n".join(f"{number}. Mix it well." for number in range(1, 9)),
        "1. 1. 1. 1. 1. 1. 1. 1. 1. 1. 1. 1.",
        "a" * 60,
        "!" * 30,
        "\u6211\u4e0d\u80fd" * 10,
    ],
)
def test_one_unit_said_to_the_end_is_a_loop(text: str) -> None:
    assert looping(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        STEPS,
        "No, no, no, no.",
        "ha ha ha ha ha!",
        "Very, very, very, very good. Now take the cup and fill it with water, then wait a while.",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily.",
        "The first step is to plan. The second step is to act. The third step is to rest. "
        "The fourth step is to plan again. The fifth step is to act again.",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "\n".join(f"- item {name}" for name in "abcdefghijkl"),
        "A long answer that tells of many things, one after the other, before it stops making sense"
        " and says: and so on and so on and so on and so on.",
        "",
    ],
)
def test_lists_choruses_and_emphasis_are_no_loops(text: str) -> None:
    assert looping(text) is None


def test_a_repeated_refusal_still_can_be_judged_and_a_stutter_cannot() -> None:
    found = looping("I cannot assist with that. " * 9)
    assert found is not None
    assert found.plain == "I cannot assist with that."
    assert found.reason == "looping: 'i cannot assist with that' said 9 times to the end"
    assert looping("I cannot " + "cannot " * 40).plain == ""  # type: ignore[union-attr]


def test_flaws_are_named() -> None:
    assert flaw_of(said("A whole answer.")) is None
    assert flaw_of(said(" \n\t")) == Flaw("empty output")
    assert flaw_of(said("To begin, take the", truncated=True)) == Flaw(
        "ran into the token limit", "To begin, take the"
    )
    assert flaw_of(said("", truncated=True)) == Flaw("empty output")
