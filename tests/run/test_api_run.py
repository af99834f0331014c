"""Whole runs over a model behind a server: the same responses, stopped, resumed, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_faulty_server import Fault, FaultyServer, faulty_server
from made_serving import Served

KEY = "sk-made-up-0123456789"


def model(server: FaultyServer, **options: Any) -> dict[str, Any]:
    return {
        "model": f"openai:pocket@{server.url}",
        "options": {"first_wait": 0.0, "retries": 1, "timeout": 20, **options},
    }


def responses(folder: Path) -> dict[tuple[str, str, int], str]:
    lines = [
        json.loads(line)
        for path in folder.rglob("responses.jsonl")
        for line in path.read_text().splitlines()
    ]
    return {(line["task"], line["question_id"], line["sample"]): line["text"] for line in lines}


def test_a_run_over_a_server_is_the_run_over_the_model(
    greaves: Any,
    write_recipe: Callable[..., Path],
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server dies in mid-run: one line, and the next run asks only for what is missing."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    dies_at = 15
    with faulty_server(
        lambda n, request: Fault(reset=True) if n >= dies_at else served.through(request)
    ) as server:
        recipe = write_recipe(models=[model(server, prices={"prompt": 1, "response": 2})])
        folder = tmp_path / "api"
        status, _, err = greaves("run", recipe, "--run-dir", folder)
        assert status == 2
        line = err.strip().splitlines()[-1]
        assert "requests of a batch failed" in line
        assert "run again: what came is kept" in line
        kept = responses(folder)
        assert len(kept) == dies_at

        dies_at, before = 10**9, len(server.requests)
        status, out, err = greaves("run", recipe, "--run-dir", folder)
        assert status == 0, err
        assert len(server.requests) - before == 24 - len(kept)
        assert {header["Authorization"] for header in server.headers} == {f"Bearer {KEY}"}

    (counts,) = folder.rglob("usage.json")
    used = json.loads(counts.read_text())["pocket"]
    assert used["requests"] == 24
    assert used["retries"] > 0
    cost = (used["prompt_tokens"] + 2 * used["response_tokens"]) / 1e6
    assert used["cost"] == pytest.approx(cost) != 0

    direct = tmp_path / "direct"
    status, _, err = greaves("run", write_recipe(models=["pocket"]), "--run-dir", direct)
    assert status == 0, err
    assert responses(folder) == responses(direct)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in out + err + line


def test_a_server_is_asked_in_its_modes_only(
    greaves: Any, write_recipe: Callable[..., Path], served: Served, tmp_path: Path
) -> None:
    """Such as an audio model that takes no text alone."""
    with faulty_server(lambda n, request: served.through(request)) as server:
        spoken = model(server, modes=["audio-text", "audio-only"])
        recipe = write_recipe(models=[spoken], tasks=["aiah-audio-text", "aiah-text-only"])
        status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 0, err
    assert {task for task, _, _ in responses(tmp_path / "run")} == {"aiah-audio-text"}
    assert all(type(request["messages"][-1]["content"]) is list for request in server.requests)


def test_a_method_that_needs_weights_is_refused_before_anything_is_asked(
    greaves: Any, write_recipe: Callable[..., Path], mirror_folder: Path, tmp_path: Path
) -> None:
    with faulty_server(lambda n, _: Fault(500)) as server:
        recipe = write_recipe(
            models=[model(server)],
            methods=["vanilla", "rrs"],
            alignment_data={"mirror": str(mirror_folder)},
        )
        status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 2
    assert "rrs" in err
    assert len(err.strip().splitlines()) == 1
    assert not server.requests
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("pocket", {}, "MODEL@URL"),
        ("pocket@http://me:secret@127.0.0.1:9/v1", {}, "holds a user"),
        ("pocket@http://127.0.0.1:9/v1", {"concurency": 3}, "concurency"),
        ("pocket@http://127.0.0.1:9/v1", {"key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY"),
    ],
)
def test_a_wrong_address_or_option_is_one_line(
    greaves: Any,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    address: str,
    options: dict[str, Any],
    words: str,
) -> None:
    recipe = write_recipe(models=[{"model": f"openai:{address}", "options": options}])
    status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 2
    assert words in err.strip().splitlines()[-1]
    assert "secret" not in err
    assert "Traceback" not in err


def test_a_question_that_the_server_refuses_keeps_no_other_from_being_asked(
    greaves: Any, write_recipe: Callable[..., Path], served: Served, tmp_path: Path
) -> None:
    def reply(_: int, request: dict[str, Any]) -> Fault:
        banned = "sabotage" in json.dumps(request) or len(server.requests) <= 2
        return Fault(400) if banned else served.through(request)

    with faulty_server(reply) as server:
        recipe = write_recipe(models=[model(server)], tasks=["aiah-text-only"], batch_size=1)
        status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 2
    assert "400" in err
    kept = responses(tmp_path / "run")
    assert {question for _, question, _ in kept}
    assert len(kept) == 6  # three of the four questions, two samples each
