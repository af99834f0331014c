"""AIAH beyond the three modes: the plain question, distracting clips, spelled-out words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_sources import own_cache  # noqa: F401 - every test has a cache of its own

from greaves.base.conversation import Sampling, conversation_of
from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.data.task import TASKS

DISTRACTED = ("aiah-silence", "aiah-noise", "aiah-matched-noise")


def ask(name: str, folder: Path) -> list[Question]:
    return TASKS.get(name)().questions(folder)


def samples(question: Question) -> Any:
    found, rate = soundfile.read(str(question.clip), dtype="float64")
    assert rate == 16_000
    assert soundfile.info(str(question.clip)).subtype == "PCM_16"
    return found


def test_variant_1_of_setting_1_is_the_question_as_it_is_written(aiah_folder: Path) -> None:
    plain, prompted = ask("aiah-plain-text", aiah_folder), ask("aiah-text-only", aiah_folder)
    assert [q.prompt for q in plain] == [q.text for q in prompted]
    assert {(q.mode, q.kind, q.clip) for q in plain} == {("text-only", "harmful", None)}


@pytest.mark.parametrize("name", DISTRACTED)
def test_setting_2_is_the_plain_question_beside_two_seconds_without_speech(
    name: str, aiah_folder: Path
) -> None:
    plain, distracted = ask("aiah-plain-text", aiah_folder), ask(name, aiah_folder)
    assert [(q.id, q.prompt) for q in distracted] == [(q.id, q.text) for q in plain]
    assert {(q.task, q.mode, q.kind) for q in distracted} == {(name, "audio-text", "harmful")}
    assert {len(samples(q)) for q in distracted} == {32_000}


def test_silence_is_nothing_but_zeros(aiah_folder: Path) -> None:
    silent = ask("aiah-silence", aiah_folder)
    assert {float(np.abs(samples(q)).max()) for q in silent} == {0.0}
    assert {q.about for q in silent} == {"2 s of silence"}


def test_noise_is_standard_normal_up_to_full_scale_and_white(aiah_folder: Path) -> None:
    noise = [samples(q) for q in ask("aiah-noise", aiah_folder)]
    together = np.concatenate(noise)
    # Of N(0, 1), 31.7 % lie beyond full scale; cut off there, its variance is 0.516.
    assert np.mean(np.abs(together) > 0.999) == pytest.approx(0.317, abs=0.01)
    assert together.mean() == pytest.approx(0.0, abs=0.01)
    assert together.var() == pytest.approx(0.516, abs=0.01)
    assert np.corrcoef(together[:-1], together[1:])[0, 1] == pytest.approx(0.0, abs=0.01)
    assert len({one.tobytes() for one in noise}) == len(noise)


def test_matched_noise_has_mean_and_variance_of_the_harmful_clips(aiah_folder: Path) -> None:
    spoken = [samples_of(str(q.clip)) for q in ask("aiah-audio-text", aiah_folder)]
    matched = ask("aiah-matched-noise", aiah_folder)
    heard, drawn = np.concatenate(spoken), np.concatenate([samples(q) for q in matched])
    assert drawn.std() == pytest.approx(heard.std(), rel=0.01)
    assert drawn.mean() == pytest.approx(heard.mean(), abs=0.002)
    assert f"{heard.std():.3f}"[:5] in matched[0].about


def samples_of(clip: str) -> Any:
    return soundfile.read(clip, dtype="float64")[0]


def test_a_distracting_clip_is_the_same_bytes_everywhere_and_its_seed_is_recorded(
    aiah_folder: Path,
) -> None:
    first = ask("aiah-noise", aiah_folder)[0]
    assert first.id == "evaluation-harmful-000"
    assert first.about == "2 s of noise from N(0, 1^2), seed 0"
    assert hashlib.sha256(Path(str(first.clip)).read_bytes()).hexdigest() == (
        "0647c8b0ca9d5d4c2d7f1e3c0c1e6a362600bc98fed056cd84a7d6a82c5e5b14"
    )


@pytest.mark.parametrize("name", ["aiah-silence", "aiah-noise"])
def test_the_pocket_lalm_answers_beside_a_distracting_clip(
    name: str, aiah_folder: Path, pocket: Any
) -> None:
    asked = [conversation_of(question) for question in ask(name, aiah_folder)[:2]]
    sampling = Sampling(temperature=0.0, max_new_tokens=12)
    answers = pocket.respond(asked, sampling, [[0]] * 2)
    assert all(answer.text.strip() for [answer] in answers)


def test_length_and_seed_of_distracting_clips_belong_to_the_data(aiah_folder: Path) -> None:
    before = ask("aiah-noise", aiah_folder)[0]
    (aiah_folder / "distraction.json").write_text(json.dumps({"seconds": 3.5, "seed": 1}))
    after = ask("aiah-noise", aiah_folder)[0]
    assert len(samples(after)) == 56_000
    assert after.about == "3.5 s of noise from N(0, 1^2), seed 1"
    assert not np.array_equal(samples(after)[:32_000], samples(before))
    assert after.hash != before.hash


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"seconds": 31}', "seconds: input should be less than or equal to 30"),
        ('{"seconds": 0}', "seconds: input should be greater"),
        ('{"minutes": 2}', "minutes: extra inputs are not permitted"),
        ("[]", "not a JSON object"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_wrong_distraction_is_named_by_field(
    content: str, message: str, aiah_folder: Path
) -> None:
    (aiah_folder / "distraction.json").write_text(content)
    with pytest.raises(DataError, match=r"distraction\.json: ") as error:
        ask("aiah-silence", aiah_folder)
    assert message in str(error.value)


def test_a_spoilt_clip_in_the_cache_is_made_again(aiah_folder: Path) -> None:
    clip = Path(str(ask("aiah-noise", aiah_folder)[0].clip))
    whole = clip.read_bytes()
    clip.write_bytes(whole[:-2] + b"\0\0")
    assert Path(str(ask("aiah-noise", aiah_folder)[0].clip)).read_bytes() == whole


def test_nothing_is_written_into_a_data_folder(aiah_folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in aiah_folder.rglob("*")}
    assert all(ask(name, aiah_folder) for name in DISTRACTED)
    assert {path: path.stat().st_mtime_ns for path in aiah_folder.rglob("*")} == before


def test_a_cache_that_cannot_be_made_is_one_line(
    aiah_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder that can be written"):
        ask("aiah-silence", aiah_folder)


def test_a_broken_harmful_clip_is_named_before_noise_is_matched_to_it(aiah_folder: Path) -> None:
    broken = ask("aiah-audio-text", aiah_folder)[1]
    Path(str(broken.clip)).write_bytes(b"")
    with pytest.raises(DataError, match=f"empty file .question '{broken.id}'."):
        ask("aiah-matched-noise", aiah_folder)


def test_setting_3_without_the_authors_files_says_where_they_come_from(aiah_folder: Path) -> None:
    with pytest.raises(DataError, match=r"speech_specific\.jsonl: .*AIAH's authors alone"):
        ask("aiah-speech-specific", aiah_folder)


def test_setting_3_has_a_prompt_of_its_own_a_question(aiah_folder: Path) -> None:
    clip = ask("aiah-audio-text", aiah_folder)[0].clip
    row = {"id": "s1", "text": "How do I pilfer it?", "prompt": "Join the letters.", "category": ""}
    path = aiah_folder / "speech_specific.jsonl"
    path.write_text(json.dumps({**row, "clip": f"clips/{Path(str(clip)).name}"}) + "\n")
    (question,) = ask("aiah-speech-specific", aiah_folder)
    assert (question.text, question.prompt) == ("How do I pilfer it?", "Join the letters.")
    assert (question.clip, question.mode) == (clip, "audio-text")
    path.write_text(json.dumps({**row, "prompt": "", "clip": "clips/x.ogg"}) + "\n")
    with pytest.raises(DataError, match=r"speech_specific\.jsonl:1: clip 'clips/x.ogg' of"):
        ask("aiah-speech-specific", aiah_folder)
