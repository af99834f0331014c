"""Recipes, records, data and clips: whatever a file holds, it is read or refused in one line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    RECIPE,
    any_text,
    clip_files,
    examples,
    json_lines,
    recipe_files,
    spoilt,
    told,
    wave_files,
)

from greaves.base.errors import DataError, GreavesError, RecipeError
from greaves.base.records import Question, Response, Verdict
from greaves.data.folders import EMBEDDED
from greaves.data.speech.clips import load_clip
from greaves.data.task import TASKS, inside
from greaves.recipe.reading import read_plan


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of this module."""
    return tmp_path_factory.mktemp("hostile")


# -- recipes -------------------------------------------------------------------------------------


def test_the_recipe_that_is_spoilt_is_a_good_one(place: Path) -> None:
    path = place / "good.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    assert len(read_plan(path).cells) == 12


@given(data=recipe_files)
@examples(40)
def test_a_recipe_is_a_plan_or_one_line(place: Path, data: bytes) -> None:
    path = place / "recipe.yaml"
    path.write_bytes(data)
    try:
        plan = read_plan(path)
    except GreavesError as error:
        told(error, str(path))
    else:
        assert plan.cells
        assert len(plan.hash) == 64


BOMBS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip(
        (chr(97 + n) for n in range(25)), (chr(98 + n) for n in range(25)), strict=True
    )),
    "merged": "m0: &m0 {a: 1}\n"
    + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
    "sexagesimal": f"batch_size: 1{':59' * 100_000}",
    "long float": f"batch_size: 1{'0' * 200_000}.5",
    "long": "# x\n" * 400_000,
    "deep": "{a: " * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_recipe_that_unfolds_without_end_is_refused_at_once(name: str, place: Path) -> None:
    path = place / "bomb.yaml"
    path.write_text(BOMBS[name])
    start = time.monotonic()
    with pytest.raises(RecipeError) as error:
        read_plan(path)
    told(error.value)
    assert time.monotonic() - start < 5


# -- records -------------------------------------------------------------------------------------

WHERE = {
    "key": "k", "model": "m", "method": "v", "seed": 0, "task": "t", "task_version": "1",
    "mode": "audio-text", "kind": "chat", "sample": 0,
}  # fmt: skip


@given(text=any_text, name=any_text)
@examples(150)
def test_any_text_comes_back_from_a_line_as_it_was(text: str, name: str) -> None:
    response = Response(**WHERE, category=name, question_id=name, sample_seed=1, text=text)
    verdict = Verdict.of(response, judge="j@1", outcome="unscored", reason=text)
    question = Question(
        id=name, task="t", task_version="1", kind="chat", mode="text-only", text=text,
        prompt=text, category=name, reference=text, about=text,
    )  # fmt: skip
    for record in (response, verdict, question):
        line = record.to_line()
        assert line.isascii()
        assert len(line.splitlines()) == 1
        assert type(record).from_line(line) == record


def test_halves_of_surrogate_pairs_are_replaced_and_pairs_joined() -> None:
    common = {**WHERE, "category": "", "question_id": "q", "sample_seed": 1}
    assert Response(**common, text="a\ud800b").text == "a\ufffdb"
    assert Response(**common, text="\ud83d\ude00").text == "\U0001f600"


# -- data folders --------------------------------------------------------------------------------

CLIP = next((EMBEDDED / "aiah" / "clips").glob("*.ogg"))
AIAH_ROW = {"id": "a", "kind": "harmful", "category": "c", "text": "How?", "clip": "clips/a.ogg"}
AIR_ROW = {
    "path": "0.ogg", "question": "What?", "answer_gt": "That.", "meta_info": "A man.",
    "task_name": "speech_QA", "dataset_name": "made-up", "uniq_id": 0,
}  # fmt: skip
PAIR_ROW = {
    "id": "a", "kind": "harmful", "pair": 1, "category": "c", "prompt": "How?",
    "path": "clips/a.ogg", "response": "No.",
}  # fmt: skip
SPELLED_ROW = {**AIAH_ROW, "prompt": "Spell it."}
PROVENANCE = {"label": "reconstructed", "files": {"questions.jsonl": "0" * 64}, "clips": {}}


@pytest.fixture(scope="module")
def data_folder(place: Path) -> Path:
    """Clips in the places where all benchmarks look for them."""
    folder = place / "data"
    for clip in ("clips/a.ogg", "Chat/speech_QA_made-up/0.ogg"):
        (folder / clip).parent.mkdir(parents=True)
        (folder / clip).write_bytes(CLIP.read_bytes())
    return folder


@given(
    rows=json_lines(AIAH_ROW, {**AIAH_ROW, "id": "b", "kind": "benign"}),
    chat=spoilt([AIR_ROW, {**AIR_ROW, "uniq_id": "x"}]) | st.just([AIR_ROW]),
    spelled=json_lines(SPELLED_ROW),
    settings=spoilt({"seconds": 10.0, "seed": 1}),
)
@examples(12)
def test_every_task_reads_questions_or_tells_one_line(
    data_folder: Path, rows: bytes, chat: Any, spelled: bytes, settings: Any
) -> None:
    (data_folder / "questions.jsonl").write_bytes(rows)
    (data_folder / "Chat" / "Chat_meta.json").write_text(json.dumps(chat))
    (data_folder / "speech_specific.jsonl").write_bytes(spelled)
    (data_folder / "distraction.json").write_text(json.dumps(settings))
    for name in TASKS.names():
        try:
            questions = TASKS.get(name)().questions(data_folder)
        except DataError as error:
            told(error)
        else:
            assert all(Question.from_line(item.to_line()) == item for item in questions)


@given(rows=json_lines(PAIR_ROW, {**PAIR_ROW, "id": "b", "kind": "benign"}))
@examples(40)
def test_every_alignment_set_is_read_or_told_in_one_line(data_folder: Path, rows: bytes) -> None:
    from greaves.data.alignment.sets import load_alignment_data

    (data_folder / "pairs.jsonl").write_bytes(rows)
    try:
        assert load_alignment_data(data_folder, "mirror").hash
    except DataError as error:
        told(error)


@given(content=spoilt(PROVENANCE))
@examples(40)
def test_provenance_is_read_or_told_in_one_line(data_folder: Path, content: Any) -> None:
    from greaves.data.imports.provenance import changes, data_label

    (data_folder / "provenance.json").write_text(json.dumps(content))
    try:
        data_label(data_folder)
        changes(data_folder)
    except DataError as error:
        told(error)
    finally:
        (data_folder / "provenance.json").unlink()


@pytest.mark.parametrize("kind", ["file", "folder", "absolute", "dots", "loop"])
def test_no_link_and_no_path_leads_out_of_a_data_folder(kind: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    (folder / "clips").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.ogg").write_bytes(CLIP.read_bytes())
    name = {"absolute": str(outside / "a.ogg"), "dots": "clips/../../outside/a.ogg"}.get(
        kind, "clips/a.ogg"
    )
    if kind == "file":
        (folder / "clips" / "a.ogg").symlink_to(outside / "a.ogg")
    if kind == "folder":
        (folder / "clips").rmdir()
        (folder / "clips").symlink_to(outside)
    if kind == "loop":
        (folder / "clips" / "a.ogg").symlink_to("a.ogg")
    with pytest.raises(DataError):
        inside(folder, name, "here")
    (folder / "questions.jsonl").write_text(json.dumps({**AIAH_ROW, "clip": name}))
    with pytest.raises(DataError):
        TASKS.get("aiah-audio-text")().questions(folder)


# -- clips ---------------------------------------------------------------------------------------


@given(data=clip_files, rate=st.sampled_from((16_000, 24_000)))
@examples(150)
def test_a_clip_is_finite_sound_at_the_wanted_rate_or_one_line(
    place: Path, data: bytes, rate: int
) -> None:
    path = place / "clip.wav"
    path.write_bytes(data)
    try:
        wave = load_clip(path, rate)
    except DataError as error:
        told(error, str(path))
    else:
        assert (wave.dtype, wave.ndim) == (np.float32, 1)
        assert np.isfinite(wave).all()
        assert 0.09 * rate < len(wave) <= 30.01 * rate


@given(data=wave_files())
@examples(40)
def test_faults_and_facts_of_any_clip_are_found(place: Path, data: bytes) -> None:
    from greaves.data.imports.clip_facts import _decode
    from greaves.data.speech.clips import clip_fault

    path = place / "faulty.wav"
    path.write_bytes(data)
    fault, facts = clip_fault(path), _decode(path)
    assert fault or not facts.fault
    assert np.isfinite([facts.seconds, facts.mean, facts.power]).all()


def hours_of_silence(path: Path, form: str, subtype: str) -> None:
    with soundfile.SoundFile(path, "w", 8_000, 1, subtype, format=form) as file:
        block = np.zeros(8_000 * 600, np.int16)
        for _ in range(12):
            file.write(block)


def streamed(path: Path) -> None:
    """A FLAC whose header does not tell how long it is."""
    soundfile.write(path, np.zeros(32_000), 16_000, "PCM_16", format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)


def sparse(path: Path) -> None:
    """A WAV file of ten minutes that takes no room on disk, and claims eight channels."""
    soundfile.write(path, np.zeros((800, 8)), 384_000, "FLOAT", format="WAV")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    os.truncate(path, 2**31)


@pytest.mark.parametrize("kind", ["flac", "streamed", "sparse", "pipe", "folder", "device"])
def test_a_clip_that_would_fill_memory_or_never_end_is_refused_before(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.wav"
    if kind == "flac":
        hours_of_silence(path, "FLAC", "PCM_16")
        assert path.stat().st_size < 2**20
    if kind == "streamed":
        streamed(path)
    if kind == "sparse":
        sparse(path)
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    if kind == "device":
        path.symlink_to("/dev/zero")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(DataError) as error:
        load_clip(path, 16_000)
    told(error.value)
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000, "\ud800", "\x1b[31m", ""])
def test_what_cannot_be_a_path_is_no_clip(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_clip(f"{tmp_path}/{name}", 16_000)
    told(error.value)


# -- the whole program ---------------------------------------------------------------------------


def test_the_program_ends_with_one_line_and_status_2(place: Path) -> None:
    path = place / "\x1b[31mred\udcff.yaml"
    path.write_bytes(b"name: \xff")
    command = [
        sys.executable,
        "-c",
        "from greaves.commands.cli import main; main()",
        "run",
        str(path),
    ]
    found = subprocess.run(command, capture_output=True, timeout=60)
    assert (found.returncode, found.stdout) == (2, b"")
    lines = found.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].isprintable()
