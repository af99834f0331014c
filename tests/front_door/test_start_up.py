"""What is asked often answers at once: it imports nothing that takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greaves.base.errors import RecipeError, RegistryError
from greaves.base.registry import PACKAGES, Registry, registry
from greaves.recipe.packaged import outline, packaged

HEAVY = {"torch", "transformers", "peft", "datasets", "pandas", "scipy", "sklearn", "lm_eval"}

DRIVER = """
import atexit, os, sys
atexit.register(lambda: print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr))
sys.argv = ["greaves", *sys.argv[1:]]
from greaves.commands.cli import main
main()
"""


def imported(code: str, *words: str, **variables: str) -> tuple[str, set[str], int]:
    """Output of a program in a fresh interpreter, the packages that it imported, its status."""
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.stdout, set(done.stderr.split()), done.returncode


def test_importing_greaves_imports_nothing_heavy() -> None:
    code = "import sys, greaves; dir(greaves); print(*sys.modules, file=sys.stderr)"
    _, modules, _ = imported(code)
    assert "greaves" in modules
    assert modules & (HEAVY | {"numpy", "pydantic", "typer"}) == set()


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        ("--help", "leaderboard", 0),
        ("--version", "greaves ", 0),
        ("methods", "sarsteer", 0),
        ("recipes", "pocket-durability", 0),
        ("tasks", "jsr", 0),
        ("judges", "pocket-rules", 0),
        ("models", "voxtral", 0),
        ("new method --help", "--dir", 0),
        ("run --help", "--dry-run", 0),
        ("leaderbord", "", 2),
    ],
)
def test_a_quick_command_imports_nothing_heavy(words: str, said: str, status: int) -> None:
    out, modules, found = imported(DRIVER, *words.split(), COLUMNS="200")
    assert (found, modules & HEAVY) == (status, set())
    assert said in out


def test_help_lists_every_command_with_what_its_source_says_of_it() -> None:
    out, _, _ = imported(DRIVER, "--help", COLUMNS="200")
    assert "Compare the methods of a run, with 95 % confidence intervals." in out  # a function
    assert "The embedded pocket LALM: train it, check it." in out  # a group of commands
    out, _, _ = imported(DRIVER, "models", "--help", COLUMNS="200")
    assert "check" in out


def test_a_mistyped_command_names_the_nearest(greaves: Callable[..., Any]) -> None:
    status, _, err = greaves("leaderbord")
    assert status == 2
    assert "Did you mean 'leaderboard'?" in err


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("greaves leader", "leaderboard"),
        ("greaves models ch", "check"),
        ("greaves run pocket-dur", "pocket-durability-tuning"),
        ("greaves run pocket --only sarst", "sarsteer"),
    ],
)
def test_the_shell_completes_commands_recipes_and_methods(typed: str, completed: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    out, modules, _ = imported(DRIVER, _GREAVES_COMPLETE="complete_bash", **words)
    assert completed in out.split()
    assert modules & HEAVY == set()


# What is read from sources is what running them would tell ----------------------------------------


@pytest.mark.parametrize("kind", PACKAGES)
def test_names_and_summaries_read_from_sources_are_those_of_the_modules(kind: str) -> None:
    for name, entry in Registry[Any](kind, PACKAGES[kind], "no.such.group").built_in.items():
        target = registry(kind).get(name)
        [loaded] = [one for one in registry(kind).entries() if one.name == name]
        assert (loaded.target, loaded.summary) == (target, entry.summary)
        assert entry.source == target.__module__


def test_only_the_module_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from greaves.base.registry import registry;"
        "registry('task').get('jsr'); print(*sys.modules, file=sys.stderr)"
    )
    _, modules, _ = imported(code)
    assert "greaves.tasks.jsr" in modules
    assert "greaves.tasks.air_bench" not in modules


@pytest.mark.parametrize("name", packaged())
def test_the_outline_of_a_recipe_counts_what_the_recipe_check_counts(name: str) -> None:
    from greaves.recipe.packaged import find_recipe
    from greaves.recipe.reading import read_plan

    found: tuple[object, ...]
    try:
        plan = read_plan(find_recipe(name))
        found = (len(plan.cells), len(plan.tasks), "")
    except RecipeError as error:
        found = ("", "", error.what)
    assert tuple(outline(name).values()) == (name, *found)


# A notebook's cell that is run again --------------------------------------------------------------

CELL = """
from greaves.base.registry import registry

@registry(KIND).register("of-my-notebook")
class NAME:
    "Written ROUND."
"""


def run_cell(kind: str, name: str, round: str, module: str = "__main__") -> type:
    code = CELL.replace("KIND", repr(kind)).replace("NAME", name).replace("ROUND", round)
    namespace: dict[str, Any] = {"__name__": module}
    exec(code, namespace)
    found: type = namespace[name]
    return found


@pytest.fixture(params=list(PACKAGES))
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    names = registry(request.param)
    names.entries()
    monkeypatch.setattr(names, "_entries", dict(names._entries))
    return str(request.param)


def test_a_cell_that_is_run_again_replaces_what_it_registered(kind: str) -> None:
    run_cell(kind, "Mine", "first")
    again = run_cell(kind, "Mine", "again")
    assert registry(kind).get("of-my-notebook") is again
    [entry] = [one for one in registry(kind).entries() if one.name == "of-my-notebook"]
    assert entry.summary == "Written again"


@pytest.mark.parametrize(("name", "module"), [("Other", "__main__"), ("Mine", "other_plugin")])
def test_another_origin_of_the_same_name_still_raises(kind: str, name: str, module: str) -> None:
    mine = run_cell(kind, "Mine", "first")
    with pytest.raises(RegistryError, match=f"registered twice, by __main__ and by {module}"):
        run_cell(kind, name, "first", module)
    assert registry(kind).get("of-my-notebook") is mine


def test_a_name_that_is_built_in_is_refused_before_its_module_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from greaves.base.registry import registry\n"
        "try:\n    registry('method').register('rrs')(Exception)\n"
        "except Exception as error:\n    print(error)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    out, modules, _ = imported(code)
    assert "'rrs' is registered twice, by greaves.methods.rrs and by builtins" in out
    assert "greaves.methods.rrs" not in modules
