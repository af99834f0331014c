"""What no file of ours does: run what it reads, unpickle, or reach for the network unseen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("suite", "tasks", "methods", "leaderboards")


def files() -> Iterator[tuple[str, ast.AST]]:
    """(path, syntax tree) of every Python file of ours."""
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield path.relative_to(ROOT).as_posix(), tree


TREES = list(files())
ENCODERS = "suite/align/proximity/"
"""Passes on `Source.options`, which say trust_remote_code=False."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name, call) of every call in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def argument(call: ast.Call, name: str) -> str | None:
    """Source of a keyword argument; None if it is not given."""
    found = [ast.unparse(one.value) for one in call.keywords if one.arg == name]
    return found[0] if found else None


def imported(tree: ast.AST) -> set[str]:
    """First parts of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def where(wanted: set[str]) -> set[str]:
    """Files that import one of these modules, or something in them."""
    return {
        path
        for path, tree in TREES
        for name in imported(tree)
        if any(f"{name}.".startswith(f"{one}.") for one in wanted)
    }


def test_nothing_is_run_that_was_read() -> None:
    forbidden = {
        *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load"),
        *(
            "pickle.load",
            "pickle.loads",
            "joblib.load",
            "dill.load",
            "marshal.loads",
            "shelve.open",
        ),
        *("yaml.full_load", "yaml.load_all", "runpy.run_path", "subprocess.getoutput"),
    }
    found = [(path, name) for path, tree in TREES for name, _ in calls(tree) if name in forbidden]
    assert found == []


@pytest.mark.parametrize(
    ("name", "keyword", "allowed"),
    [
        ("torch.load", "weights_only", {"True"}),
        ("np.load", "allow_pickle", {None, "False"}),
        ("yaml.load", "Loader", {"_Loader"}),  # a SafeLoader of ours
    ],
)
def test_readers_that_can_run_code_are_told_not_to(
    name: str, keyword: str, allowed: set[str | None]
) -> None:
    found = {
        (path, argument(call, keyword))
        for path, tree in TREES
        for called, call in calls(tree)
        if called == name
    }
    assert {value for _, value in found} <= allowed, found


def test_no_remote_code_and_no_shell() -> None:
    found = []
    for path, tree in TREES:
        for name, call in calls(tree):
            if argument(call, "shell") not in (None, "False"):
                found.append((path, name, "shell"))
            if argument(call, "trust_remote_code") not in (None, "False"):
                found.append((path, name, "trust_remote_code"))
            loads = re.fullmatch(r"Auto\w+\.from_pretrained", name)
            passed_on = any(one.arg is None for one in call.keywords)
            if loads and not (passed_on and path.startswith(ENCODERS)):
                found.append((path, name, "not through greaves.models.loading"))
    assert found == []
    assert where({"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}) == {
        "suite/models/conversion/shards.py"  # the error of a refused pickle
    }


NETWORK = {
    "suite/base/chat_api/server.py": "asks a server that a recipe names",
    "suite/base/lock.py": "the name of this machine",
    "suite/base/machine.py": "a free port on this machine",
    "suite/commands/serve.py": "greaves serve listens",
    "suite/data/alignment/source.py": "fetches BeaverTails from the hub",
    "suite/data/imports/numbered_questions.py": "fetches AIAH from the hub",
    "suite/data/speech/google_voice.py": "asks Google for speech",
    "suite/data/tables.py": "reads tables of this machine with datasets, offline",
    "suite/models/conversion/shards.py": "cuts weights into shards with huggingface_hub, offline",
    "suite/models/loading.py": "fetches checkpoints from the hub",
    "suite/align/proximity/encoders.py": "fetches encoders from the hub",
    "suite/run/cell_state.py": "the name of this machine",
    "suite/run/cluster/driver.py": "a Ray cluster",
    "suite/run/cluster/entry.py": "a Ray cluster",
    "suite/run/cluster/needs.py": "a Ray cluster",
    "suite/run/cluster/ray_cluster.py": "a Ray cluster",
    "suite/run/cluster/remote.py": "a run folder behind a URL",
    "suite/run/cluster/worker.py": "the name of this machine",
    "leaderboards/publish/hub.py": "pushes to the hub",
}
"""Files that may reach for the network, and why."""

CLIENTS = {
    *(
        "socket",
        "ssl",
        "http",
        "urllib.request",
        "requests",
        "httpx",
        "httpx2",
        "aiohttp",
        "openai",
    ),
    *("ftplib", "smtplib", "telnetlib", "huggingface_hub", "google.cloud", "grpc", "fsspec", "ray"),
    *("datasets", "uvicorn"),
}


def test_only_files_of_a_list_reach_for_the_network() -> None:
    errors_only = {"huggingface_hub.errors", "huggingface_hub.constants"}
    found = {
        path
        for path, tree in TREES
        for name in imported(tree)
        if not any(f"{name}.".startswith(f"{one}.") for one in errors_only)
        and any(f"{name}.".startswith(f"{one}.") for one in CLIENTS)
    }
    assert found <= NETWORK.keys(), found - NETWORK.keys()


def test_keys_and_tokens_are_read_in_few_places_and_written_nowhere() -> None:
    secret = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
    found = {
        path
        for path, tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.isupper()
        and node.value.isidentifier()
        and any(word in node.value for word in secret)
        and node.value != "TOKENIZERS_PARALLELISM"
    }
    assert found <= {
        "suite/data/alignment/rewriting.py",
        "suite/base/chat_api/options.py",  # the default of key_env
        "leaderboards/publish/hub.py",
    }, found
