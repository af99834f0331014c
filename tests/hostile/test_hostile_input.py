"""What a user gets for input that is broken, hostile, or cut short: one line, and no traceback."""

from __future__ import annotations

import json
import logging
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from greaves.align.defence import Defence
from greaves.align.part import find_part
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.errors import DataError, ModelError, RecipeError, RegistryError, StoreError
from greaves.base.run_folder import RunFolder
from greaves.data.folders import EMBEDDED
from greaves.data.speech.clips import load_clip
from greaves.recipe.reading import read_plan

Cli = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]
Spoil = Callable[[dict[str, Any]], object]


def refused(result: tuple[int, str, str], *parts: str) -> None:
    status, out, err = result
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    for part in parts:
        assert part in err


# -- the command line --------------------------------------------------------------------------


@pytest.mark.parametrize("cut_in", ["entry_points", "get_command"])
def test_ctrl_c_before_a_command_starts_is_one_line(cut_in: str) -> None:
    script = (
        "import sys, signal, importlib.metadata, typer.main, greaves.commands.cli as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        f"where = importlib.metadata if {cut_in!r} == 'entry_points' else typer.main\n"
        f"setattr(where, {cut_in!r}, lambda *a, **k: signal.raise_signal(signal.SIGINT))\n"
        "sys.argv = ['greaves', 'methods']\n"
        "cli.main()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 128 + signal.SIGINT
    assert run.stderr == "greaves: interrupted; run the same command again to carry on\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "no_such_module"),
        ("command = 5", "not a function"),
        ("def command(wrong: int | str): ...", "could not be loaded"),
    ],
)
def test_a_broken_command_of_a_stranger_breaks_only_itself(
    code: str, reason: str, greaves: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "odd_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: odd_package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[greaves.commands]\nodd = odd_package:command\n")
    (tmp_path / "odd_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_package", raising=False)
    assert greaves("recipes", "--json")[0] == 0
    refused(greaves("odd", "--any", "thing"), "command 'odd' could not be loaded", reason)


def test_fresh_never_puts_the_current_folder_aside(
    greaves: Cli, write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "below").mkdir()
    recipe = write_recipe()
    monkeypatch.chdir(tmp_path / "below")
    refused(greaves("run", recipe, "--run-dir", "..", "--fresh"), "the folder you are in")
    monkeypatch.chdir(tmp_path)
    refused(greaves("run", recipe, "--run-dir", ".", "--fresh"), "the folder you are in")
    assert (tmp_path / "run.json").is_file()


# -- recipes -------------------------------------------------------------------------------------

UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "model named as a path": ({"models": [{"model": "pocket", "name": "../x"}]}, "models[0].name"),
    "model with a long name": ({"models": [{"model": "pocket", "name": "x" * 81}]}, "at most 80"),
    "method named as a path": (
        {"methods": [{"method": "vanilla", "name": "a/b"}]},
        "methods[0].name: 'a/b' cannot be the name of a folder",
    ),
    "long name": ({"name": "x" * 81}, "name: string should have at most 80"),
    "negative seed": ({"seeds": [-1]}, "seeds[0]"),
    "large seed": ({"seeds": [0, 2**32]}, "seeds[1]"),
    "same seed twice": ({"seeds": [1, 1]}, "seeds[1]: 1 occurs twice"),
    "alignment data that is not there": (
        {"alignment_data": {"mirror": "nowhere"}},
        "alignment_data.mirror: there is no such data folder",
    ),
    **{
        f"data {data[:5]!r}": (
            {"benchmarks": {"aiah": {"data": data, "judge": "pocket-rules"}}},
            "benchmarks.aiah.data: ",
        )
        for data in ("nowhere", "a\0b", "x" * 5000, "~no-such-user/x")
    },
    **{
        f"temperature {value}": (
            {"benchmarks": {"aiah": {"data": "pocket", "judge": "x", "temperature": value}}},
            "benchmarks.aiah.temperature",
        )
        for value in (math.inf, math.nan)
    },
    "bytes among options": (
        {"models": [{"model": "pocket", "options": {"a": b"\xff"}}]},
        "models[0].options: holds what cannot be written as JSON",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_field_that_cannot_be_used_is_named(
    case: str, greaves: Cli, write_recipe: Write, tmp_path: Path
) -> None:
    changes, part = UNUSABLE[case]
    result = greaves("run", write_recipe(**changes), "--run-dir", tmp_path / "run", "--dry-run")
    refused(result, "small.yaml", part)


@pytest.mark.parametrize(
    "line",
    [
        "label: 2026-13-45",
        'label: !!int "abc"',
        'label: !!int ""',
        'label: !!bool "maybe"',
        'label: !!timestamp "soon"',
        f"batch_size: {'9' * 5000}",
        f"batch_size: 0x{'f' * 5000}",
        f"label: {'[' * 3000}{']' * 3000}",
        "label: &a [*a]",
        "models: &m [{model: pocket, options: {x: *m}}]",
        'label: "\\uD800"',
        "? [a, b]\n: c",
    ],
    ids=range(12),
)
def test_a_trap_of_yaml_is_one_line(line: str, write_recipe: Write) -> None:
    path = write_recipe()
    field = line.split(":")[0]
    kept = [row for row in path.read_text().splitlines() if not row.startswith(f"{field}:")]
    if field == "models":
        kept.remove("- pocket")
    path.write_text("\n".join([*kept, line, ""]))
    with pytest.raises(RecipeError) as error:
        read_plan(path)
    assert str(error.value).startswith(f"{path}")
    assert "\n" not in str(error.value)


# -- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"dtype": "nn"}, "dtype 'nn'"),
        ({"device": "tpu9"}, "device 'tpu9' is not available"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available"),
        ({"device": "meta"}, "device 'meta' is not available"),
    ],
)
def test_a_dtype_or_device_that_cannot_be_used_is_named(options: dict[str, str], part: str) -> None:
    from greaves.models.families.pocket_lalm import pocket

    with pytest.raises(ModelError) as error:
        pocket(**options)
    assert part in str(error.value)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    from greaves.models.families.pocket_lalm import WEIGHTS
    from greaves.models.families.qwen2_audio import Qwen2Audio

    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors weights; .*never read"):
        Qwen2Audio.from_checkpoint(folder, device="cpu")
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="not a Qwen2-Audio checkpoint"):
        Qwen2Audio.from_checkpoint(folder, device="cpu")


# -- data ----------------------------------------------------------------------------------------


def rewrite(path: Path, spoil: Spoil) -> None:
    """Spoils the third line of a JSON-lines file."""
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    spoil(rows[2])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


AIAH_ROWS: list[tuple[Spoil, str]] = [
    (lambda row: row.update(kind="Harmful"), "kind is 'Harmful', not harmful or benign"),
    (lambda row: row.update(category=5), "field 'category' is missing or not text"),
    (lambda row: row.update(text="a\ud800b"), "field 'text' holds half a surrogate pair"),
    (lambda row: row.update(id="a\ud800b"), "field 'id' holds half a surrogate pair"),
    (lambda row: row.update(clip="clips/a\0.ogg"), "cannot be a path"),
    (lambda row: row.update(clip="x" * 5000), "cannot be a path"),
]


@pytest.mark.parametrize(("spoil", "part"), AIAH_ROWS, ids=range(len(AIAH_ROWS)))
def test_a_hostile_question_is_named_by_line(spoil: Spoil, part: str, aiah_folder: Path) -> None:
    from greaves.tasks.aiah import AudioText

    rewrite(aiah_folder / "questions.jsonl", spoil)
    with pytest.raises(DataError) as error:
        AudioText().questions(aiah_folder)
    assert "questions.jsonl:3: " in str(error.value)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"kind": "neutral"}, "not harmful or benign"),
        ({"category": ["x"]}, "field 'category'"),
        ({"pair": {"a": 1}}, "field 'pair'"),
        ({"response": 5}, "field 'response'"),
        ({"path": "a\0b"}, "cannot be a path"),
    ],
)
def test_a_hostile_pair_is_named_by_line(
    change: dict[str, Any], part: str, mirror_folder: Path
) -> None:
    from greaves.data.alignment.sets import load_alignment_data

    rewrite(mirror_folder / "pairs.jsonl", lambda row: row.update(change))
    with pytest.raises(DataError) as error:
        load_alignment_data(mirror_folder, "mirror")
    assert "pairs.jsonl:3: " in str(error.value)
    assert part in str(error.value)


def test_null_is_no_category_and_only_a_newline_ends_a_line(aiah_folder: Path) -> None:
    from greaves.tasks.aiah import AudioText

    path = aiah_folder / "questions.jsonl"
    text = "How?\u2028Or\u0085why?"
    rewrite(path, lambda row: row.update(category=None, text="TEXT"))
    path.write_text(path.read_text().replace("TEXT", text), encoding="utf-8")
    question = AudioText().questions(aiah_folder)[2]
    assert (question.category, question.text) == ("", text)
    path.write_text(path.read_text() + "[" * 100_000 + "\n")
    with pytest.raises(DataError, match=r"questions\.jsonl:9: nested too deeply"):
        AudioText().questions(aiah_folder)


def raw(path: Path) -> Path:
    path = path.with_suffix(".raw")
    path.write_bytes(b"\0" * 32_000)
    return path


def one_sample(path: Path) -> Path:
    soundfile.write(path, np.zeros(1), 16_000)
    return path


@pytest.mark.parametrize(
    ("make", "part"), [(raw, "cannot be read as audio"), (one_sample, "less than 0.1 s")]
)
def test_a_clip_that_would_not_be_heard_is_refused(
    make: Callable[[Path], Path], part: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=part):
        load_clip(make(tmp_path / "clip.wav"), 16_000)


def air_bench(folder: Path, *changes: dict[str, Any]) -> Path:
    """An AIR-Bench folder with one item a change; `clip` says what its file holds."""
    clips = folder / "Chat" / "speech_QA_made-up"
    clips.mkdir(parents=True)
    good = next((EMBEDDED / "aiah" / "clips").glob("*.ogg")).read_bytes()
    rows = []
    for number, change in enumerate(changes):
        content = change.pop("clip", good)
        if content is not None:
            (clips / f"{number}.ogg").write_bytes(content)
        row = {"path": f"{number}.ogg", "question": "What?", "answer_gt": "That."}
        row |= {"task_name": "speech_QA", "dataset_name": "made-up", "uniq_id": number}
        rows.append(row | change)
    (folder / "Chat" / "Chat_meta.json").write_text(json.dumps(rows))
    return folder


def test_air_bench_items_whose_clips_are_broken_are_reported_and_never_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from greaves.tasks.air_bench import AIRBenchChat

    header = one_sample(tmp_path / "short.wav").read_bytes()
    spoilt: list[dict[str, Any]] = [
        {"clip": content} for content in (None, b"", b"not sound", header)
    ]
    folder = air_bench(tmp_path / "some", {}, *spoilt, {"meta_info": {"who": "a man"}})
    with caplog.at_level(logging.WARNING, "greaves"):
        questions = AIRBenchChat().questions(folder)
    assert [question.id for question in questions] == ["0", "5"]
    assert questions[1].about == "{'who': 'a man'}"
    (said,) = caplog.messages
    assert said.endswith("missing, empty or corrupt: 1, 2, 3, 4")
    with pytest.raises(DataError, match="no speech_QA or speech_dialogue_QA items with a clip"):
        AIRBenchChat().questions(air_bench(tmp_path / "none", {"clip": b""}))


@pytest.mark.parametrize("name", [None, True, "", [1], 1.5])
def test_an_air_bench_item_without_an_id_is_refused(name: Any, tmp_path: Path) -> None:
    from greaves.tasks.air_bench import AIRBenchChat

    with pytest.raises(DataError, match="row 0: field 'uniq_id' is missing or not text"):
        AIRBenchChat().questions(air_bench(tmp_path, {"uniq_id": name}))


# -- what a run left behind ----------------------------------------------------------------------

RUN = {"format": 1, "name": "a", "label": "", "recipe_hash": "r", "cells": [], "requests": []}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"format": 1}, "name field required"),
        ({**RUN, "cells": 5}, "cells input should be a valid list"),
        ({**RUN, "cells": [["pocket"]]}, "cells.0"),
        ({**RUN, "cells": [["pocket", "vanilla", 0]]}, "requests"),
        ([], "not a JSON object"),
        ({"format": [1]}, "layout [1]"),
    ],
)
def test_a_broken_run_json_is_refused(
    content: Any, part: str, greaves: Cli, write_recipe: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(content))
    refused(greaves("leaderboard", folder), str(folder), part)
    refused(greaves("run", write_recipe(), "--run-dir", folder), str(folder), part)


def test_a_broken_cell_json_is_refused(tmp_path: Path) -> None:
    run = {**RUN, "cells": [["pocket", "vanilla", 0]], "requests": ["q"]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    cell = RunFolder.open(tmp_path).cell("pocket", "vanilla", 0)
    assert RunFolder.open(tmp_path).facts().hashes == {"recipe": "r"}
    cell.write_facts({})
    with pytest.raises(StoreError, match=r"cell\.json: not the facts of a cell: no defence_hash"):
        RunFolder.open(tmp_path).facts()


@pytest.mark.parametrize(
    "content",
    [[], 5, {"parts": None}, {"parts": [[]]}, {"parts": ["unknown"]}, {"parts": []}],
)
def test_a_broken_defence_is_refused(content: Any, tmp_path: Path) -> None:
    folder = tmp_path / "defence"
    Defence((SystemPrompt("Be safe."),)).save(folder, {})
    assert Defence.load(folder).parts == (SystemPrompt("Be safe."),)
    if isinstance(content, dict):
        content = {"notes": {}, "hash": "h"} | content
    (folder / "defence.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"defence\.json: "):
        Defence.load(folder)


def test_a_part_kind_that_is_taken_raises() -> None:
    with pytest.raises(RegistryError, match="part 'system-prompt' is registered twice"):
        type("Mine", (SystemPrompt,), {})
    assert find_part("system-prompt") is SystemPrompt
