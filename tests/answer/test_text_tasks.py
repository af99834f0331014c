"""Text tasks in a recipe: found cheaply, refused in one line, asked once, shown in every table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_text_tasks import made_text_tasks
from small_folders import copy_pairs, copy_questions

from greaves.answer.text_tasks import current_columns, text_task_index
from greaves.base import registry
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError, ModelError, RecipeError
from greaves.base.progress import Steps
from greaves.base.records import MODES
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.text_rows import text_notes, text_rows
from greaves.models.contract import LALM, MODELS, Generated
from greaves.recipe.reading import read_plan
from greaves.run.runner import run

TASKS = ["made_choice", "made_rolling", "made_generation"]
RRS_CONFIG = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01}
RRS = {"method": "rrs", "name": "short-rrs", "config": RRS_CONFIG}


class Parrot(LALM):
    """A black box that says the last word of what it was told, and a stop string after it."""

    revision, fingerprint, modes = "1", "parrot", frozenset(MODES)
    decoder_layers = refusal_token_id = 0

    def __init__(self) -> None:
        self.name, self.system = "parrot", ""

    def render(self, conversation: Conversation) -> str:
        return f"{conversation.text}"

    def respond(self, conversations: Any, sampling: Sampling, seeds: Any) -> list[list[Generated]]:
        said = [f"{item.text}".split()[-1] + "!\n\nmore" for item in conversations]
        return [[Generated(text, False)] * len(own) for text, own in zip(said, seeds, strict=True)]

    def representations(self, conversations: Any, layers: Any = None) -> Any:
        raise ModelError("a black box")


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name under which it is registered as long as a test lasts."""
    MODELS.names()
    entry = registry.Entry("test-parrot", Parrot, __name__)
    monkeypatch.setitem(MODELS._entries, "test-parrot", entry)
    return "test-parrot"


@pytest.fixture
def recipe(tmp_path: Path, write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a recipe with text tasks; they lie in `made` beside it."""
    folder = made_text_tasks(tmp_path / "made")

    def write(*tasks: Any, **changes: Any) -> Path:
        specs = [{"task": one} if isinstance(one, str) else one for one in tasks]
        made = [{"include_path": folder.name, **one} for one in specs]
        return write_recipe(text_tasks=made, tasks=["aiah-text-only"], **changes)

    return write


def quietly(path: Path, folder: Path, **options: Any) -> Any:
    return run(read_plan(path), folder, steps=Steps(plain=True), **options)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("arc_easy", {"multiple_choice"}),
        ("ai2_arc", {"multiple_choice"}),
        ("mmlu", {"multiple_choice"}),
        ("gsm8k", {"generate_until"}),
        ("wikitext", {"loglikelihood_rolling"}),
    ],
)
def test_names_of_lm_eval_and_what_they_ask_are_known_without_its_index(
    name: str, types: set[str]
) -> None:
    assert text_task_index().output_types(name) == types


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"task": "made_choise"}, "unknown text task 'made_choise'; did you mean 'made_choice'?"),
        ({"task": "made_choice", "include_path": "nowhere"}, "there is no folder"),
        ({"task": "made_choice", "limit": 0}, "greater than or equal to 1"),
        ({"task": "made_choice", "shots": 5}, "shots"),
        ({"task": "made_choice", "name": "aiah-text-only"}, "'aiah-text-only' occurs twice"),
    ],
)
def test_a_wrong_text_task_is_refused_in_one_line_with_its_place(
    recipe: Callable[..., Path], spec: dict[str, Any], message: str
) -> None:
    path = recipe(spec)
    with pytest.raises(RecipeError) as refused:
        read_plan(path)
    assert str(refused.value).startswith(f"{path}:")
    assert message in str(refused.value)


def test_log_likelihoods_of_a_black_box_are_refused_before_anything_starts(
    recipe: Callable[..., Path], parrot: str
) -> None:
    with pytest.raises(RecipeError, match="'made_group' needs log-likelihoods, and 'test-parrot'"):
        read_plan(recipe("made_group", models=[parrot]))


def test_a_data_set_that_is_not_here_stops_the_run_before_anything_is_asked(
    tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    path = recipe("made_choice")
    (tmp_path / "made" / "docs.jsonl").unlink()
    with pytest.raises(DataError, match="text task 'made_choice' cannot be loaded"):
        quietly(path, tmp_path / "run")
    assert not list(tmp_path.glob("run/**/*.jsonl"))


def test_a_task_of_lm_eval_whose_data_set_was_never_fetched_is_named(
    tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=r"'boolq' cannot be loaded .*; fetch its data set once"):
        quietly(recipe({"task": "boolq"}), tmp_path / "run")


@pytest.mark.parametrize("metric", ["f1", "word_perplexity"])
def test_a_metric_that_is_no_mean_over_documents_is_refused_with_those_that_are(
    tmp_path: Path, recipe: Callable[..., Path], metric: str
) -> None:
    path = recipe({"task": "made_rolling", "metric": metric})
    with pytest.raises(DataError, match=f"has no metric {metric}; .*: bits_per_byte"):
        quietly(path, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three methods on all three tasks and a group; pieces of it are asserted below."""
    folder = tmp_path_factory.mktemp("whole")
    made_text_tasks(folder / "made")
    copy_questions(folder / "aiah", 2, 2)
    copy_pairs(folder / "mirror", 4)
    specs: list[dict[str, Any]] = [{"task": name} for name in TASKS]
    specs[2] |= {"chat_template": True, "num_fewshot": 1, "name": "chat"}
    specs.append({"task": "made_group", "name": "group", "limit": 5, "metric": "acc_norm"})
    content = {
        "name": "whole",
        "models": ["pocket"],
        "methods": ["vanilla", RRS, "system-prompt", "adashield-style"],
        "alignment_data": {"mirror": "mirror"},
        "benchmarks": {
            "aiah": {"data": "aiah", "judge": "pocket-rules", "samples": 1, "max_new_tokens": 4}
        },
        "tasks": ["aiah-text-only"],
        "text_tasks": [{"include_path": "made", **spec} for spec in specs],
        "batch_size": 4,
    }
    (folder / "whole.yaml").write_text(yaml.safe_dump(content))
    quietly(folder / "whole.yaml", folder / "run")
    return folder


def rows_of(folder: Path) -> dict[tuple[str, str, str], Row]:
    found = text_rows(RunFolder.open(folder / "run"))
    return {(row.method, str(row.task), row.metric): row for row in found}


def test_columns_are_what_lm_eval_says_of_the_same_model(whole: Path, pocket: Any) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from greaves.answer.lm_eval import GreavesLM

    outcome = simple_evaluate(
        model=GreavesLM(pocket, batch_size=8),
        tasks=["made_choice", "made_rolling"],
        task_manager=TaskManager(include_path=whole / "made", include_defaults=False),
        bootstrap_iters=0,
    )["results"]
    rows = rows_of(whole)
    choice = rows["vanilla", "made_choice acc", "text"]
    assert choice.value == pytest.approx(100 * outcome["made_choice"]["acc,none"])
    assert choice.n_questions == 10
    assert choice.low < choice.value < choice.high  # type: ignore[operator]
    rolling = rows["vanilla", "made_rolling bits_per_byte", "text_raw"]
    expected = outcome["made_rolling"]["bits_per_byte,none"]
    assert rolling.value == pytest.approx(expected, rel=1e-5)


def test_every_defence_has_its_column_and_its_change_against_vanilla(whole: Path) -> None:
    rows = rows_of(whole)
    before = rows["vanilla", "made_rolling bits_per_byte", "text_raw"].value
    after = rows["short-rrs", "made_rolling bits_per_byte", "text_raw"].value
    change = rows["short-rrs", "made_rolling bits_per_byte", "text_raw_change"]
    assert before is not None
    assert after is not None
    assert after != pytest.approx(before)
    assert change.value == pytest.approx(after - before)
    assert change.low < change.value < change.high  # type: ignore[operator]
    assert not [row for row in rows.values() if row.method == "vanilla" and "change" in row.metric]


def test_documents_of_a_group_weigh_the_same_and_a_limit_holds_for_each_task(whole: Path) -> None:
    group = rows_of(whole)["vanilla", "group acc_norm", "text"]
    assert group.n_questions == 5 + 3
    [(_, scores)] = [
        found
        for found in current_columns(RunFolder.open(whole / "run").cell("pocket", "vanilla", 0))
        if found[0].task == "group"
    ]
    values = [score.metrics["acc_norm"] for score in scores]
    assert group.value == pytest.approx(100 * sum(values) / 8)


def test_a_system_prompt_and_a_suffix_reach_the_prompt_or_the_column_is_left_out(
    whole: Path,
) -> None:
    folder = RunFolder.open(whole / "run")
    keys = {
        method: {
            column.task: column for column, _ in current_columns(folder.cell("pocket", method, 0))
        }
        for method in ("system-prompt", "adashield-style")
    }
    assert all(column.keys for column in keys["system-prompt"].values())
    assert keys["adashield-style"]["chat"].keys
    assert "no place without chat_template" in keys["adashield-style"]["made_choice"].left_out
    said = [line for line in text_notes(folder) if "left out" in line]
    assert len(said) == 3
    assert all("adashield-style" in line for line in said)


def test_all_tables_show_the_columns(whole: Path, greaves: Any) -> None:
    status, out, err = greaves("leaderboard", whole / "run")
    assert (status, err) == (0, "")
    assert "made_choice" in out.replace("\n", "")
    page = (whole / "run" / "leaderboard.md").read_text()
    assert "| made\\_choice acc | made\\_choice acc change |" in page
    assert "lm-eval 0.4.13; 10 documents" in page
    assert "text\\_" not in page
    csv = (whole / "run" / "leaderboard.csv").read_text()
    assert csv.count(",text,") == 10
    assert "made\\_choice" in (whole / "run" / "leaderboard.tex").read_text()
    rows = json.loads((whole / "run" / "leaderboard.json").read_text())
    assert {row["metric"] for row in rows} >= {"asr", "text", "text_change", "text_raw"}
    status, _, err = greaves("page", whole / "run")
    assert status == 0, err
    assert "made_choice acc change" in (whole / "run" / "leaderboard.html").read_text()


def test_a_second_run_asks_nothing_and_a_lost_line_is_asked_again(
    whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "copy")
    cell = folder / "run" / "cells" / "pocket" / "vanilla" / "seed-0" / "text_scores.jsonl"
    lines = cell.read_bytes().splitlines(keepends=True)
    cell.write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
    again = quietly(folder / "whole.yaml", folder / "run", only=["vanilla"])
    assert (again.asked, again.found) == (2, len(lines))
    assert sorted(cell.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert quietly(folder / "whole.yaml", folder / "run", only=["vanilla"]).asked == 0


def test_a_kill_keeps_the_documents_that_were_done(
    tmp_path: Path, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from greaves.answer.lm_eval.text_tasks import TextScoring

    path, asked, whole = recipe("made_choice", batch_size=1), [], TextScoring.scores

    def two_chunks(self: Any, documents: Any) -> Any:
        asked.append(len(documents))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(self, documents)

    monkeypatch.setattr(TextScoring, "scores", two_chunks)
    with pytest.raises(KeyboardInterrupt):
        quietly(path, tmp_path / "run")
    monkeypatch.undo()
    again = quietly(path, tmp_path / "run")
    assert again.asked == 10 - asked[0]


def test_changed_documents_are_asked_again_and_stale_ones_are_in_no_table(
    tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    path = recipe("made_generation")
    assert quietly(path, tmp_path / "run").asked == 8 + 10
    data = tmp_path / "made" / "docs.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[0]["question"] = "something else?"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(data, (1, 1))  # data sets are cached by the time of their files
    assert quietly(path, tmp_path / "run").asked == 1
    [row] = text_rows(RunFolder.open(tmp_path / "run"))
    assert row.n_questions == 10


def test_a_black_box_generates_through_respond(
    tmp_path: Path, recipe: Callable[..., Path], parrot: str
) -> None:
    path = recipe({"task": "made_generation", "limit": 2}, models=[parrot])
    quietly(path, tmp_path / "run")
    [row] = text_rows(RunFolder.open(tmp_path / "run"))
    assert (row.n_questions, row.value) == (2, 0.0)
