"""Rooms import only rooms above them, nothing goes in a circle, and every module has a room."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from durations import SLOW

ROOT = Path(__file__).parent.parent

ROOMS = ("base", "data", "models", "align", "judge", "answer", "recipe", "run", "api", "commands")
"""Of the suite, in the order in which they may import each other (docs/architecture.md)."""

LEADERBOARD_ROOMS = (
    *("read", "estimate", "board", "show", "compare"),
    *("page", "submission", "publish", "figures", "commands"),
)

LOOSE = {"__init__.py", "__main__.py", "py.typed"}
"""What may lie at the root of the suite."""

CROSSING = {"faults", "hostile", "front_door", "helpers", "plugin_package"}
"""Folders of tests that belong to no room: what they test runs through several."""

OF_THE_REPOSITORY = {"conftest.py", "test_architecture.py", "test_supply.py", "test_wheel.py"}
"""What may lie at the root of the tests."""

MODULE_LINES = 400
FUNCTION_LINES = 80

FOLDERS = {
    "suite": "greaves",
    "tasks": "greaves.tasks",
    "methods": "greaves.methods",
    "leaderboards": "greaves.leaderboards",
    "recipes": "greaves.recipes",
}


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours -> its file."""
    found: dict[str, Path] = {}
    for folder, package in FOLDERS.items():
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in the file it does, TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(root: Path) -> dict[str, set[str]]:
    """Module -> modules of ours that it imports; the root, which exports lazily, is left out."""
    known = modules(root)

    def module_of(name: str) -> str:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    return {
        name: {found for each in imports(path) if (found := module_of(each))} - {name, "greaves"}
        for name, path in known.items()
        if name != "greaves"
    }


def place(module: str) -> tuple[int, int]:
    """Where a module stands: what it may import stands no later.

    Raises:
        ValueError: it lies in no room.
    """
    names = module.split(".")[1:]
    if names[0] in ("tasks", "methods", "recipes"):
        return (1, 0)
    if names[0] == "leaderboards":
        return (2, LEADERBOARD_ROOMS.index(names[1])) if names[1:] else (2, 0)
    if module == "greaves.__main__":
        return (4, 0)
    room = ROOMS.index(names[0])
    return (3 if names[0] in ("api", "commands") else 0, room)


def upward(imported: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Imports that run back: (who, whom)."""
    return sorted(
        (name, other)
        for name, others in imported.items()
        for other in others
        if place(other) > place(name)
    )


def circles(imported: Mapping[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, directly or around some corners."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        open_ends = [start]
        while open_ends:
            for other in imported.get(open_ends.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    open_ends.append(other)
        return seen

    behind = {name: reached(name) for name in imported}
    rings = {
        tuple(sorted({name, *(one for one in behind[name] if name in behind[one])}))
        for name in imported
        if name in behind[name]
    }
    return sorted(map(list, rings))


def loose(root: Path) -> list[str]:
    """Modules at the root of the suite, and folders there that are no room."""
    return sorted(
        path.name
        for path in (root / "suite").iterdir()
        if path.name not in LOOSE | {"__pycache__"} and not (path.is_dir() and path.name in ROOMS)
    )


def misplaced(root: Path) -> list[str]:
    """Test modules that stand in no folder named after a room."""
    rooms = {*ROOMS, "tasks", "methods"}
    found = []
    for path in (root / "tests").rglob("*.py"):
        folders = path.relative_to(root / "tests").parts[:-1]
        if not folders:
            right = path.name in OF_THE_REPOSITORY
        elif folders[0] == "leaderboards":
            right = folders[1:] != () and folders[1] in LEADERBOARD_ROOMS
        else:
            right = folders[0] in rooms | CROSSING
        if not right:
            found.append(str(path.relative_to(root)))
    return sorted(found)


def too_long(root: Path) -> list[str]:
    """Modules and functions, docstrings included, that have more lines than ours may have."""
    found = []
    for path in modules(root).values():
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(root))
        if text.count("\n") > MODULE_LINES:
            found.append(name)
        found += [
            f"{name}: {node.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
        ]
    return sorted(found)


def test_a_room_imports_only_rooms_above_it() -> None:
    assert upward(graph(ROOT)) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph(ROOT)) == []


def test_every_module_lies_in_a_room() -> None:
    assert loose(ROOT) == []
    outside = [path.name for path in (ROOT / "leaderboards").glob("*.py")]
    assert outside == ["__init__.py"]
    assert len(ROOMS) <= 10


def test_only_one_room_imports_lm_eval() -> None:
    found = {
        str(path.parent.relative_to(ROOT))
        for path in modules(ROOT).values()
        if any(f"{name}.".startswith("lm_eval.") for name in imports(path))
    }
    assert found == {"suite/answer/lm_eval"}


def test_tests_stand_in_the_rooms_of_what_they_test() -> None:
    assert misplaced(ROOT) == []


def test_every_room_has_tests_that_are_quick() -> None:
    tests = ROOT / "tests"
    assert [name for name in SLOW if not (tests / name).exists()] == []
    quick = [
        name
        for path in tests.rglob("test_*.py")
        if not (name := path.relative_to(tests).as_posix()).startswith(SLOW)
    ]
    rooms = [*(name for name in ROOMS if (ROOT / "suite" / name).is_dir()), "tasks", "methods"]
    rooms += [f"leaderboards/{name}" for name in LEADERBOARD_ROOMS]
    assert [room for room in rooms if not any(name.startswith(f"{room}/") for name in quick)] == []


def test_no_module_and_no_function_is_long() -> None:
    assert too_long(ROOT) == []


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A house of one wall and two rooms."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    for room in ("base", "run"):
        (tmp_path / "suite" / room).mkdir()
    (tmp_path / "suite" / "run" / "runner.py").write_text("from greaves.base import store\n")
    (tmp_path / "suite" / "base" / "store.py").write_text("import json\n")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "from greaves.run.runner import run",
        "def late():\n    from greaves.run import runner",
        "if TYPE_CHECKING:\n    import greaves.run.runner",
        "from greaves.leaderboards.board.row import Row",
    ],
)
def test_a_planted_upward_import_is_found(planted: Path, line: str) -> None:
    (planted / "leaderboards" / "board").mkdir()
    (planted / "leaderboards" / "board" / "row.py").write_text("Row = int\n")
    assert upward(graph(planted)) == []
    (planted / "suite" / "base" / "store.py").write_text(f"{line}\n")
    assert [name for name, _ in upward(graph(planted))] == ["greaves.base.store"]


def test_a_planted_circle_is_found(planted: Path) -> None:
    base = planted / "suite" / "base"
    (base / "store.py").write_text("from greaves.base.lock import lock\n")
    (base / "lock.py").write_text("def lock():\n    import greaves.base.errors\n")
    (base / "errors.py").write_text("from greaves.base import store\n")
    ring = ["greaves.base.errors", "greaves.base.lock", "greaves.base.store"]
    assert circles(graph(planted)) == [ring]


def test_a_planted_module_outside_of_a_room_is_found(planted: Path) -> None:
    assert loose(planted) == []
    (planted / "suite" / "helpers.py").write_text("")
    (planted / "suite" / "misc").mkdir()
    assert loose(planted) == ["helpers.py", "misc"]
    with pytest.raises(ValueError):
        place("greaves.misc.more")


def test_a_planted_test_outside_of_a_room_is_found(planted: Path) -> None:
    for name in ("base/test_a.py", "leaderboards/board/test_b.py", "test_wheel.py"):
        (planted / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (planted / "tests" / name).write_text("")
    assert misplaced(planted) == []
    wrong = ["tests/leaderboards/test_d.py", "tests/misc/test_c.py", "tests/test_e.py"]
    for name in wrong:
        (planted / name).parent.mkdir(exist_ok=True)
        (planted / name).write_text("")
    assert misplaced(planted) == wrong


def test_a_planted_long_module_or_function_is_found(planted: Path) -> None:
    base = planted / "suite" / "base"
    body = "    pass\n" * (FUNCTION_LINES - 1)
    (base / "store.py").write_text(f"def just():\n{body}" + "\n" * (MODULE_LINES - FUNCTION_LINES))
    assert too_long(planted) == []
    (base / "store.py").write_text(f"async def one():\n{body}    pass\n" + "\n" * MODULE_LINES)
    assert too_long(planted) == ["suite/base/store.py", "suite/base/store.py: one"]
