"""The wheel, installed without the checkout, does what the checkout does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
LIMIT = 30e6

SESSION = """
import sys, json, greaves, greaves.methods, greaves.tasks, greaves.leaderboards
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from greaves.base.conversation import Sampling, conversation_of
from greaves.commands import cli
from greaves.data.folders import data_folder
from greaves.data.task import TASKS
from greaves.models.contract import MODELS

def listed(kind):
    sys.argv = ["greaves", kind, "--json"]
    with redirect_stdout(StringIO()) as said:
        try:
            cli.main()
        except SystemExit as stop:
            assert not stop.code
    return [row["name"] for row in json.loads(said.getvalue())]

found = {kind: listed(kind) for kind in ("methods", "recipes")}
[question, *_] = TASKS.get("aiah-audio-text")().questions(data_folder("pocket", "aiah", Path()))
model = MODELS.get("pocket")()
[[answer]] = model.respond([conversation_of(question)], Sampling(max_new_tokens=8), [[0]])
loaded = [module.__file__ for name, module in sys.modules.items() if name.startswith("greaves")]
print(json.dumps({**found, "answer": answer.text, "clip": question.clip, "loaded": loaded}))
"""
"""Two commands and a question in one process, which imports everything once."""


def sources() -> list[Path]:
    """Files that belong to the project: those that git tracks, or would if it were asked to."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [Path(name) for name in done.stdout.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no `build/` is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in sources():
        (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / "source" / path)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), "./source"], cwd=folder, check=True)
    [path] = folder.glob("greaves-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; dependencies are borrowed, the checkout is not.

    The folders of this environment's packages are named in a .pth file. Python does not read the
    .pth files inside folders that come in that way, so an editable install of the checkout is out
    of reach: what the wheel lacks is missing.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    [own] = folder.glob("lib/python*/site-packages")
    (own / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-index", "--force-reinstall"]
    subprocess.run([*command, str(wheel)], check=True)
    return python


def run(folder: Path, *command: str | Path) -> str:
    """Standard output of a command in an unrelated working directory."""
    leave_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in leave_out}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_every_package_folder_is_named_in_pyproject() -> None:
    modules = [path for path in sources() if path.suffix == ".py"]
    on_disk = set()
    for name, folder in FOLDERS.items():
        for path in modules:
            if path.is_relative_to(folder):
                inner = path.parent.relative_to(folder).parts
                on_disk.add(".".join((name, *inner)))
    assert on_disk == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_wheel_holds_all_that_the_packages_need_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = set()
    for name, folder in FOLDERS.items():
        for path in sources():
            if path.is_relative_to(folder):
                wanted.add(f"{name.replace('.', '/')}/{path.relative_to(folder)}")
    assert inside == wanted
    assert {"greaves/py.typed", "greaves/recipes/pocket.yaml"} <= inside
    assert "greaves/models/pocket/weights/model.safetensors" in inside
    for pattern in ("/weights/", ".ogg", "lm_eval_yaml/aiah_audio_text.yaml"):
        assert any(pattern in name for name in inside), pattern


def test_the_wheel_is_small_and_carries_its_licence(wheel: Path) -> None:
    assert wheel.stat().st_size < LIMIT
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_installed_alone_it_lists_and_answers_from_its_own_files(
    python: Path, tmp_path: Path
) -> None:
    found = json.loads(run(tmp_path, python, "-c", SESSION).splitlines()[-1])
    assert {"vanilla", "rrs"} <= set(found["methods"])
    assert "pocket" in found["recipes"]
    own = python.parent.parent
    assert isinstance(found["answer"], str)
    assert Path(found["clip"]).is_relative_to(own)
    assert len(found["loaded"]) > 20
    assert [path for path in found["loaded"] if not Path(path).is_relative_to(own)] == []


def test_installed_alone_its_command_works(python: Path, tmp_path: Path) -> None:
    greaves = python.with_name("greaves")
    assert "leaderboard" in run(tmp_path, greaves, "--help")
    cells = json.loads(run(tmp_path, greaves, "run", "pocket", "--dry-run", "--json"))
    assert {cell["method"] for cell in cells} >= {"vanilla", "rrs"}
    assert all(cell["responses"] > 0 for cell in cells)
    assert list(tmp_path.iterdir()) == []
