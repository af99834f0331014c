"""AIR-Bench chat: its parts, and clips that promise sound and have none."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import soundfile
from made_sources import own_cache, tone  # noqa: F401 - every test has a cache of its own

from greaves.data.imports import clip_facts as module
from greaves.data.imports.clip_facts import cache_folder, clip_facts
from greaves.data.task import TASKS

PARTS = {
    "air-bench-chat": {"speech_QA", "speech_dialogue_QA"},
    "air-bench-chat-sound": {"sound_QA", "sound_generation_QA"},
    "air-bench-chat-music": {"music_QA", "music_generation_analysis_QA"},
    "air-bench-chat-speech-and-sound": {"speech_and_sound_QA"},
    "air-bench-chat-speech-and-music": {"speech_and_music_QA"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two items of each of the eight task names, in the benchmark's own layout."""
    rows = []
    for number, category in enumerate(sorted(set().union(*PARTS.values())) * 2):
        row = {"path": f"{number}.wav", "question": "What is heard?", "answer_gt": "A tone."}
        row |= {"meta_info": "a tone", "task_name": category, "dataset_name": "made-up"}
        rows.append({**row, "uniq_id": number})
        clip = tmp_path / "Chat" / f"{category}_made-up" / f"{number}.wav"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(tone(100.0 + 20 * number))
    (tmp_path / "Chat" / "Chat_meta.json").write_text(json.dumps(rows))
    return tmp_path


def flac_with_a_spoilt_body(path: Path) -> None:
    """A FLAC file whose header tells of 2 s and whose frames are zeros from the middle on."""
    wave = path.with_suffix(".tone.wav")
    wave.write_bytes(tone(300.0, 2.0))
    samples, rate = soundfile.read(wave)
    soundfile.write(path, samples, rate, format="FLAC", subtype="PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))


@pytest.mark.parametrize("name", PARTS)
def test_each_part_asks_its_own_task_names_and_no_others(name: str, folder: Path) -> None:
    questions = TASKS.get(name)().questions(folder)
    assert {question.category for question in questions} == PARTS[name]
    assert len(questions) == 2 * len(PARTS[name])
    assert {(q.task, q.kind, q.mode) for q in questions} == {(name, "chat", "audio-text")}


def test_no_item_belongs_to_two_parts() -> None:
    names = [name for part in PARTS.values() for name in part]
    assert len(names) == len(set(names)) == 8


def test_a_good_header_and_a_spoilt_body_is_left_out_with_the_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = TASKS.get("air-bench-chat")()
    first, *others = task.questions(folder)
    clip = Path(str(first.clip))
    flac_with_a_spoilt_body(clip)
    assert soundfile.info(clip).duration == 2.0
    assert task.questions(folder) == others
    assert caplog.messages[-1].endswith(f"empty or corrupt: {first.id}")
    assert task.left_out(folder).keys() == {first.id}
    assert task.left_out(folder)[first.id].startswith("the clip cannot be read as audio")


def test_a_clip_longer_than_a_model_hears_is_left_out_and_does_not_stop_the_run(
    folder: Path,
) -> None:
    task = TASKS.get("air-bench-chat")()
    first = task.questions(folder)[0]
    Path(str(first.clip)).write_bytes(tone(300.0, 31.0))
    assert task.left_out(folder) == {first.id: "the clip lasts 31.0 s, more than 30 s"}


def test_a_clip_is_decoded_once_and_again_only_when_its_bytes_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = sorted(folder.rglob("*.wav"))
    before = clip_facts(clips)
    decoded: list[Path] = []
    decode = module._decode
    monkeypatch.setattr(module, "_decode", lambda clip: decoded.append(clip) or decode(clip))
    moved = folder.parent / "moved"
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("cache"))
    assert list(clip_facts(sorted(moved.rglob("*.wav"))).values()) == list(before.values())
    assert not decoded
    time.sleep(0.01)
    clips[0].write_bytes(b"")
    assert clip_facts(clips)[clips[0]].fault == "the clip is an empty file"
    assert decoded == [clips[0]]
    assert list(cache_folder().rglob("*.json"))


def test_a_spoilt_or_unwritable_cache_costs_time_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = sorted(folder.rglob("*.wav"))
    before = clip_facts(clips)
    for file in cache_folder().rglob("*.json"):
        file.write_text('{"' + "0" * 64 + '": 5}')
    assert clip_facts(clips) == before
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert clip_facts(clips) == before
