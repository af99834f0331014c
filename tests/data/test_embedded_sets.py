"""The embedded Basic, Mirror and Parallel sets of the pocket LALM."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from greaves.data.alignment.sets import AlignmentData, load_alignment_data
from greaves.data.alignment.verify import verify
from greaves.data.folders import EMBEDDED
from greaves.data.pocket.grammar import read_question, read_response, split_pairs
from greaves.data.pocket.lexicon import CATEGORIES
from greaves.data.speech.clips import clip_hash
from greaves.data.speech.voices import ordinary_voices
from greaves.models.pocket.clips import decode_clip
from greaves.models.pocket.folders import (
    draw_basic,
    draw_mirror,
    draw_parallel,
    write_alignment_set,
)

SETS = ("basic", "mirror", "parallel")


def embedded(name: str) -> AlignmentData:
    return load_alignment_data(EMBEDDED / name, name)


@pytest.mark.parametrize("name", SETS)
def test_an_embedded_set_holds_training_questions_only_and_as_many_of_each_kind(name: str) -> None:
    data, training = embedded(name), set(split_pairs()["train"])
    for item in data.items:
        question = read_question(item.text)
        assert question is not None
        assert question.pair in training
        assert question.kind == item.kind
    assert len(data.harmful) == len(data.benign) >= 96


def test_parallel_takes_over_mirrors_harmful_questions_and_clips() -> None:
    mirror, parallel = embedded("mirror"), embedded("parallel")
    spoken = {item.text: clip_hash(item.clip) for item in mirror.harmful}
    assert all(spoken[item.text] == clip_hash(item.clip) for item in parallel.harmful)
    assert not {item.text for item in parallel.benign} & {item.text for item in mirror.items}
    assert {item.pair for item in parallel.items} == {""}


@pytest.mark.parametrize("name", ["basic", "parallel"])
def test_categories_are_balanced(name: str) -> None:
    counts = Counter(item.category for item in embedded(name).harmful)
    assert counts == dict.fromkeys(CATEGORIES, 16)


def test_basic_refuses_what_is_harmful_and_answers_what_is_benign() -> None:
    basic = embedded("basic")
    for item in basic.items:
        reading = read_response(item.response or "")
        assert reading.kind == ("refusal" if item.kind == "harmful" else "answer")
    others = {item.text for name in ("mirror", "parallel") for item in embedded(name).items}
    assert not others & {item.text for item in basic.items}


def test_the_same_seeds_draw_the_same_sets() -> None:
    voices = ordinary_voices()
    drawn = {
        "mirror": draw_mirror(voices, 10),
        "parallel": draw_parallel(EMBEDDED / "mirror", 10, voices, 12),
        "basic": draw_basic(10, voices, 13),
    }
    for name, lines in drawn.items():
        text = "".join(json.dumps(line.row) + "\n" for line in lines)
        assert text == (EMBEDDED / name / "pairs.jsonl").read_text()


def test_a_drawn_set_is_spoken_and_written(tmp_path: Path) -> None:
    voices, mirror = ordinary_voices(), EMBEDDED / "mirror"
    lines = draw_parallel(mirror, 10, voices, 12)[:4]
    write_alignment_set(tmp_path / "parallel", lines, 12, mirror, "why so few")
    assert verify(tmp_path / "parallel").faults == ()
    # Speech apart from the stream's serial number: as long, and as loud, as what is shipped.
    name = "clips/parallel-benign-001.ogg"
    fresh, shipped = (decode_clip(folder / "parallel" / name) for folder in (tmp_path, EMBEDDED))
    assert np.allclose(fresh, shipped)


def test_an_embedded_set_passes_the_check() -> None:
    assert verify(EMBEDDED / "parallel").faults == ()
