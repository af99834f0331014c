"""What several tests stand on: the pocket LALM, a few of its questions, and recipes over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml
from durations import LONGEST, SLOW
from small_folders import copy_pairs, copy_questions


@pytest.fixture(scope="session")
def pocket() -> Any:
    """The pocket LALM; tests leave it as they found it."""
    from greaves.models.families.pocket_lalm import pocket

    return pocket()


@pytest.fixture(scope="session")
def served(pocket: Any) -> Iterator[Any]:
    """A running server; it answers with the very model that the fixture `pocket` is."""
    from made_serving import serving

    with serving(pocket, "pocket") as server:
        yield server


@pytest.fixture
def aiah_folder(tmp_path: Path) -> Path:
    """Four harmful and four benign questions with their clips."""
    return copy_questions(tmp_path / "aiah", 4, 4)


@pytest.fixture
def mirror_folder(tmp_path: Path) -> Path:
    """Sixteen pairs with their clips."""
    return copy_pairs(tmp_path / "mirror", 16)


@pytest.fixture
def alignment_folders(tmp_path: Path) -> dict[str, Path]:
    """Eight harmful and eight benign questions of each kind of alignment set."""
    kinds = ("basic", "mirror", "parallel")
    return {kind: copy_pairs(tmp_path / "sets" / kind, 8, kind) for kind in kinds}


@pytest.fixture
def write_recipe(tmp_path: Path, aiah_folder: Path) -> Callable[..., Path]:
    """Writes a small valid recipe; keyword arguments replace top-level fields."""

    def write(**changes: Any) -> Path:
        content: dict[str, Any] = {
            "name": "small",
            "label": "pocket",
            "models": ["pocket"],
            "methods": ["vanilla"],
            "benchmarks": {
                "aiah": {
                    "data": str(aiah_folder),
                    "judge": "pocket-rules",
                    "samples": 2,
                    "max_new_tokens": 12,
                }
            },
            "tasks": ["aiah-audio-text", "aiah-text-only", "aiah-over-rejection"],
            "batch_size": 3,
        }
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture
def greaves(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command line in this process: `status, out, err = greaves("run", "x.yaml")`."""
    from greaves.commands import cli

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["greaves", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests of slow files; the longest files first, so that workers end together."""
    tests = Path(__file__).parent
    place = {name: number for number, name in enumerate(LONGEST)}

    def name(item: pytest.Item) -> str:
        return item.path.relative_to(tests).as_posix() if item.path.is_relative_to(tests) else ""

    for item in items:
        if name(item).startswith(SLOW):
            item.add_marker("slow")
    items.sort(key=lambda item: place.get(name(item), len(LONGEST)))
