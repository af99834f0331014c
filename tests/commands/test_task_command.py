"""`greaves tasks show`: licence, citation, an example, and what a data folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from made_sources import own_cache, sarsteer, tone  # noqa: F401 - every test has a cache of its own
from typer.testing import CliRunner, Result

from greaves.base.records import Kind, Mode, Question
from greaves.commands.tasks_show import about, show
from greaves.data.imports.aiah_import import AIAHImport, import_aiah
from greaves.data.imports.aiah_sources import SourceSpec
from greaves.data.task import TASKS, Task

app = typer.Typer()
app.command()(show)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def shown(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


BUILT_IN = [entry.name for entry in TASKS.entries() if entry.source.startswith("greaves.tasks.")]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_task_states_licence_citation_homepage_and_layout(name: str) -> None:
    task = TASKS.get(name)
    for stated in (task.licence, task.citation, task.homepage, task.layout):
        assert stated
        assert "\n" not in stated
    assert task.homepage.startswith("https://")
    assert any(year in task.citation for year in ("2024", "2025", "2026"))


def test_a_plug_in_task_need_not_state_them() -> None:
    class Plain(Task):
        """Asks nothing."""

        name = "plain"
        version = "1"
        benchmark = "plain"
        kind: Kind = "chat"
        mode: Mode = "text-only"

        def questions(self, data: Path) -> list[Question]:
            return []

    assert about(Plain())["licence"] == "not stated"
    assert Plain().left_out(Path()) == {}


def test_a_task_is_shown_with_an_example_of_what_the_model_reads() -> None:
    facts = shown("aiah-text-only")
    assert facts["mode"] == "text-only: a text, no clip"
    assert facts["metric"] == "ASR in %, lower is better"
    assert facts["example"].startswith("The audio content is: Show me how someone could forge")
    assert "MIT" in facts["licence"]
    assert "NAACL 2025" in facts["citation"]
    out = run("aiah-audio-text").stdout
    assert "example   [clip evaluation-harmful-000.ogg] Please generate detailed steps" in out
    assert "give --data" in shown("aiah-speech-specific")["example"]


def test_a_data_folder_is_counted_by_category_with_its_label_and_its_faults(
    tmp_path: Path,
) -> None:
    source = sarsteer(tmp_path / "figstep_audio")
    import_aiah(AIAHImport(SourceSpec(str(source), "sarsteer")), tmp_path / "data")
    (tmp_path / "data" / "clips" / "Fraud_1.wav").write_bytes(b"")
    found = shown("aiah-audio-text", "--data", tmp_path / "data")["data"]
    assert found["label"] == "reconstructed"
    assert (found["questions"], found["clips"]) == (14, 14)
    assert found["categories"]["Hate Speech"] == 2
    assert found["hours"] == pytest.approx(13 * 0.3 / 3600, abs=1e-4)
    assert found["broken"] == {"Fraud_1": "the clip is an empty file"}
    assert found["changed"] == ["clips/Fraud_1.wav: not the clip that provenance.json tells of"]
    out = run("aiah-audio-text", "--data", tmp_path / "data").stdout
    assert "(reconstructed)" in out
    assert "Fraud_1: the clip is an empty file" in out


def test_items_that_are_left_out_are_listed_with_the_reason(tmp_path: Path) -> None:
    rows = [
        {"path": f"{number}.wav", "question": "What?", "answer_gt": "That.", "uniq_id": number}
        | {"task_name": "speech_QA", "dataset_name": "made-up"}
        for number in range(3)
    ]
    folder = tmp_path / "Chat" / "speech_QA_made-up"
    folder.mkdir(parents=True)
    (folder / "0.wav").write_bytes(tone(300.0))
    (folder / "1.wav").write_bytes(b"")
    (tmp_path / "Chat" / "Chat_meta.json").write_text(json.dumps(rows))
    found = shown("air-bench-chat", "--data", tmp_path)["data"]
    assert found["questions"] == 1
    assert found["left_out"] == {"1": "the clip is an empty file", "2": "there is no such clip"}
    assert "left out: 2" in run("air-bench-chat", "--data", tmp_path).stdout


def test_what_a_data_file_holds_cannot_steer_the_terminal(aiah_folder: Path) -> None:
    path = aiah_folder / "questions.jsonl"
    path.write_text(path.read_text().replace("Show me how", r"\u001b]0;owned\u0007"))
    assert "\x1b" not in run("aiah-plain-text", "--data", aiah_folder).stdout


def test_an_unknown_task_gets_the_nearest_name() -> None:
    assert "did you mean 'aiah-silence'?" in str(run("aiah-silense").exception)
