"""AIAH's questions from the authors, the hub, SARSteer, SafeBench and the user's own files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import made_sources as made
import pytest
import typer
from made_sources import own_cache  # noqa: F401 - every test has a cache of its own
from typer.testing import CliRunner, Result

from greaves.base.records import Question
from greaves.commands.data_import import import_command
from greaves.data.imports.provenance import changes, data_label, run_label
from greaves.data.task import TASKS

app = typer.Typer()
app.command()(import_command)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["aiah", *map(str, arguments)])


def done(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def mistake(*arguments: object) -> str:
    line = str(run(*arguments).exception)
    assert "\n" not in line
    return line


def ask(name: str, folder: Path) -> list[Question]:
    return TASKS.get(name)().questions(folder)


def provenance(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return content


def test_the_authors_clips_get_their_questions_from_safebench_by_topic_and_number(
    tmp_path: Path,
) -> None:
    source, out = made.clips(tmp_path / "AIAH" / "audio"), tmp_path / "data"
    table = made.safebench(tmp_path / "SafeBench.csv")
    found = done(source.parent, out, "--layout", "authors", "--texts", table)
    assert found["counts"] == {"harmful": 14}
    assert found["label"] == data_label(out) == ""
    questions = ask("aiah-audio-text", out)
    assert [q.id for q in questions] == [name for name, _, _ in made.names(2)]
    for asked, (name, topic, number) in zip(questions, made.names(2), strict=True):
        assert asked.text == made.question(topic, number)
        assert asked.category == topic
        assert Path(str(asked.clip)).read_bytes() == (source / f"{name}.wav").read_bytes()
    about = provenance(out)
    assert about["parts"]["harmful"]["layout"] == "authors"
    assert about["parts"]["harmful"]["files"].keys() == {"SafeBench.csv"}
    assert len(about["clips"]) == 14
    assert not changes(out)


def test_a_hub_copy_in_parquet_is_read_without_decoding_and_needs_the_questions(
    tmp_path: Path,
) -> None:
    clips = made.clips(tmp_path / "wav")
    hub = made.parquet(tmp_path / "hub", clips)
    line = mistake(hub, tmp_path / "none")
    assert "the clips come without their questions in words" in line
    out, table = tmp_path / "data", made.safebench(tmp_path / "SafeBench.csv")
    assert done(hub, out, "--texts", table)["counts"] == {"harmful": 14}
    first = ask("aiah-audio-only", out)[0]
    assert Path(str(first.clip)).read_bytes() == (clips / "Illegal_Activity_1.wav").read_bytes()
    assert provenance(out)["parts"]["harmful"]["layout"] == "hub"


def test_clips_in_the_hubs_own_cache_are_links_and_are_read(tmp_path: Path) -> None:
    cached = tmp_path / "datasets--garak-llm--audio_achilles_heel"
    blobs, snapshot = made.clips(cached / "blobs", 1), cached / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    table = made.safebench(tmp_path / "SafeBench.csv", 1)
    both = ("--layout", "hub", "--texts", table)
    assert done(snapshot, tmp_path / "data", *both)["counts"] == {"harmful": 7}
    (tmp_path / "elsewhere.wav").write_bytes(made.tone(50.0))
    (snapshot / "Fraud_1.wav").unlink()
    (snapshot / "Fraud_1.wav").symlink_to(tmp_path / "elsewhere.wav")
    assert "leaves the data folder" in mistake(snapshot, tmp_path / "other", *both)


def test_safe_twins_of_sarsteer_become_the_benign_questions(tmp_path: Path) -> None:
    source, twins = made.clips(tmp_path / "AIAH"), made.sarsteer(tmp_path / "figstep_audio_safe")
    table = made.safebench(tmp_path / "SafeBench.csv")
    both = (source, tmp_path / "a", "--layout", "authors", "--texts", table, "--benign", twins)
    found = done(*both)
    assert found["counts"] == {"harmful": 14, "benign": 14}
    assert found["label"] == ""
    benign = ask("aiah-over-rejection", tmp_path / "a")
    assert [q.id for q in benign] == [f"safe-{name}" for name, _, _ in made.names(2)]
    assert benign[1].text == "How do I polish spoon 1?"
    assert any("real hyphens are lost" in remark for remark in found["remarks"])
    split = ("--benign-texts", twins / "test_250.json", "--benign-layout", "sarsteer")
    found = done(source, tmp_path / "b", *both[2:], *split)
    assert found["counts"] == {"harmful": 14, "benign": 10}
    assert found["left_out"]["safe-Illegal_Activity_1"].startswith("its question is not in")


def test_safebench_is_spoken_and_every_such_folder_is_labelled_reconstructed(
    tmp_path: Path,
) -> None:
    table, out = made.safebench(tmp_path / "SafeBench.csv", 1), tmp_path / "data"
    (tmp_path / "own.txt").write_text("How do I polish a spoon?\n\nWho frames maps?\n")
    found = done(table, out, "--benign", tmp_path / "own.txt")
    assert found["label"] == data_label(out) == "reconstructed"
    assert found["counts"] == {"harmful": 7, "benign": 2}
    assert any("Legal Opinion (1)" in remark for remark in found["remarks"])
    assert any("not 50 questions of every topic: Illegal Activity 1" in r for r in found["remarks"])
    harmful, benign = ask("aiah-audio-text", out), ask("aiah-over-rejection", out)
    assert [q.category for q in harmful] == list(made.TOPICS)
    assert [q.text for q in benign] == ["How do I polish a spoon?", "Who frames maps?"]
    about = provenance(out)
    assert about["speech"]["engine"] == "espeak-ng"
    assert about["parts"]["harmful"]["licence"].endswith("MIT")
    assert run_label("", {"aiah": out, "air-bench": tmp_path}) == "aiah: reconstructed"
    assert run_label("mine", {"aiah": out}) == "mine; aiah: reconstructed"
    # Taken over into another folder, it stays what it is.
    assert done(out, tmp_path / "again")["label"] == "reconstructed"
    # The same command again speaks nothing anew and changes nothing.
    stamps = {clip: clip.stat().st_mtime_ns for clip in (out / "clips").iterdir()}
    done(table, out, "--benign", tmp_path / "own.txt")
    assert {clip: clip.stat().st_mtime_ns for clip in (out / "clips").iterdir()} == stamps
    # What a stopped import lacks is spoken again, to the same bytes.
    one = out / "clips" / "Fraud_1.wav"
    spoken = one.read_bytes()
    one.unlink()
    done(table, out, "--benign", tmp_path / "own.txt")
    assert one.read_bytes() == spoken
    assert not changes(out)
    assert "another build" in mistake(table, out)


def test_whether_sarsteers_clips_are_the_authors_must_be_said_and_is_not_assumed(
    tmp_path: Path,
) -> None:
    source = made.sarsteer(tmp_path / "figstep_audio")
    line = mistake(source, tmp_path / "data")
    assert "whose files these are cannot be told" in line
    assert "--layout authors|hub|sarsteer" in line
    assert done(source, tmp_path / "a", "--layout", "sarsteer")["label"] == "reconstructed"
    assert done(source, tmp_path / "b", "--layout", "authors")["label"] == ""


def test_clips_that_are_missing_empty_broken_silent_doubled_or_strange_are_named(
    tmp_path: Path,
) -> None:
    source = made.clips(tmp_path / "AIAH", 3)
    (source / "Fraud_1.wav").unlink()
    (source / "Fraud_2.wav").write_bytes(b"")
    (source / "Fraud_3.wav").write_bytes(b"no sound at all")
    silence = made.tone(0.0)
    (source / "Hate_Speech_1.wav").write_bytes(silence)
    (source / "Hate_Speech_2.wav").write_bytes((source / "Hate_Speech_3.wav").read_bytes())
    (source / "Fraud_9.wav").write_bytes(made.tone(1500.0))
    (source / "noise.wav").write_bytes(made.tone(1600.0))
    table = made.safebench(tmp_path / "SafeBench.csv", 3)
    found = done(source, tmp_path / "data", "--layout", "authors", "--texts", table)
    reasons = found["left_out"]
    assert reasons.pop("Fraud_1") == "there is no clip of it"
    assert reasons.pop("Fraud_2") == "the clip is an empty file"
    assert reasons.pop("Fraud_3").startswith("the clip cannot be read as audio")
    assert reasons.pop("Fraud_9") == "its question is not in the list of questions"
    assert reasons.pop("Hate_Speech_1").startswith("the clip is silent")
    assert reasons.pop("Hate_Speech_2") == "its clip is also that of another question"
    assert reasons.pop("Hate_Speech_3") == "its clip is also that of another question"
    assert not reasons
    assert any("noise.wav" in remark for remark in found["remarks"])
    counts = Counter(q.category for q in ask("aiah-audio-text", tmp_path / "data"))
    assert counts == {topic: 3 for topic in made.TOPICS if topic not in ("Fraud", "Hate Speech")}


def test_setting_3_comes_from_the_authors_table_with_its_columns_named(tmp_path: Path) -> None:
    source, table = made.clips(tmp_path / "AIAH"), made.safebench(tmp_path / "SafeBench.csv")
    (source / "letters.wav").write_bytes(made.tone(1700.0, 0.6))
    spelled = source / "setting3.csv"
    spelled.write_text(
        "Question,Template,File\n"
        "How do I pilfer a spoon?,Join the letters: how to ___?,letters.wav\n"
    )
    both = ("--layout", "authors", "--texts", table, "--speech-specific", spelled)
    assert "field 'clip' is missing" in mistake(source, tmp_path / "none", *both)
    columns = ("--speech-columns", "text=Question,prompt=Template,clip=File")
    found = done(source, tmp_path / "data", *both, *columns)
    assert found["counts"] == {"harmful": 14, "speech-specific": 1}
    (question,) = ask("aiah-speech-specific", tmp_path / "data")
    assert question.text == "How do I pilfer a spoon?"
    assert question.prompt == "Join the letters: how to ___?"
    assert Path(str(question.clip)).read_bytes() == (source / "letters.wav").read_bytes()
    assert len(ask("aiah-audio-text", tmp_path / "data")) == 14
    assert "does not name a column" in mistake(
        source, tmp_path / "x", *both, "--speech-columns", "word=Question"
    )


def test_what_was_changed_after_an_import_is_named(tmp_path: Path) -> None:
    source = made.sarsteer(tmp_path / "figstep_audio", 1)
    out = tmp_path / "data"
    done(source, out, "--layout", "sarsteer")
    (out / "clips" / "Fraud_1.wav").write_bytes(made.tone(50.0))
    with (out / "questions.jsonl").open("a") as file:
        file.write("\n")
    assert changes(out) == [
        "questions.jsonl: not the file that provenance.json tells of",
        "clips/Fraud_1.wav: not the clip that provenance.json tells of",
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.replace("task_id", "number"), "column 'task_id' is missing"),
        (lambda t: t.replace("ForbidQI,1,1,", "ForbidQI,1,one,"), "csv:2: task_id 'one' is not"),
        (lambda t: t.replace("ForbidQI,1,2,", "ForbidQI,1,1,"), "Illegal_Activity_1 occurs twice"),
        (lambda t: t.replace("Fraud", "../Fraud"), "category_name '../Fraud' is not a topic"),
        (lambda t: t.splitlines()[0], "there are no questions"),
    ],
)
def test_a_broken_safebench_is_named_by_line_and_column(
    spoil: Any, message: str, tmp_path: Path
) -> None:
    table = made.safebench(tmp_path / "SafeBench.csv")
    table.write_text(spoil(table.read_text()))
    assert message in mistake(table, tmp_path / "data")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "there is no such file or folder"),
        (("AIAH", "--layout", "authors"), "the clips come without their questions in words"),
        (("AIAH", "--layout", "benchmark"), "'benchmark' is not a layout of harmful questions"),
        (("AIAH/empty", "--layout", "authors"), "no clip is called by topic and number"),
        (("t.csv", "--topic", "Gardening"), "no harmful questions"),
        (("t.csv", "--voice", "robot"), "'robot' is not a speech engine"),
        (("t.csv", "--distraction-seconds", "90"), "--distraction-seconds: input should be less"),
        (("t.csv", "--benign", "t.csv"), "--benign-layout sarsteer|greaves|texts"),
        (("two", "--layout", "authors"), "two clips are called Fraud_1"),
        (("hub:nobody/nothing",), "the dataset cannot be fetched"),
    ],
)
def test_a_mistake_gets_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made.clips(tmp_path / "AIAH", 1)
    (tmp_path / "AIAH" / "empty").mkdir()
    for folder in ("a", "b"):
        (tmp_path / "two" / folder).mkdir(parents=True)
        (tmp_path / "two" / folder / "Fraud_1.wav").write_bytes(made.tone(100.0))
    made.safebench(tmp_path / "t.csv")
    assert message in mistake(arguments[0], "out", *arguments[1:])
