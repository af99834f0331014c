"""Where a run took place: hardware, git state, and the package's own files."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from pydantic import Field

import greaves
from greaves.base.records import Record, content_hash

_PACKAGES = ("", ".leaderboards", ".methods", ".recipes", ".tasks")
"""All that `source_hash` covers, below `greaves`."""

_NAMED = ("torch", "transformers", "peft", "accelerate", "deepspeed", "lm_eval", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of Greaves, Python and the packages that could change a result, as installed."""
    found = {"greaves": greaves.__version__, "python": platform.python_version()}
    for name in _NAMED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class Hardware(Record):
    """The machine of a run.

    Attributes:
        cpu: its model.
        cores: logical ones.
        ram_gib: memory, in GiB.
        gpus: names, one per device.
    """

    cpu: str
    cores: int
    ram_gib: float
    gpus: tuple[str, ...]


class GitState(Record):
    """The checkout that Greaves is installed from.

    Attributes:
        commit: of HEAD.
        dirty: whether any file differs from it, or is not in it.
    """

    commit: str = Field(pattern=r"^[0-9a-f]{40,64}$")
    dirty: bool


class Machine(Record):
    """All of it, as run.json keeps it.

    Attributes:
        source_hash: see `source_hash`.
    """

    hardware: Hardware
    git: GitState | None
    source_hash: str


def this_machine() -> Machine:
    """The machine and the code of this process."""
    return Machine(hardware=hardware(), git=git_state(), source_hash=source_hash())


def hardware() -> Hardware:
    """The machine this process runs on."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        names = re.findall(r"^model name[^:\n]*:(.*)$", facts, re.MULTILINE)
        cpu = names[0].strip() if names else cpu
    return Hardware(
        cpu=cpu,
        cores=os.cpu_count() or 1,
        ram_gib=round(memory / 2**30, 1),
        gpus=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
    )


def git_state(file: Path | None = None) -> GitState | None:
    """Commit and dirtiness of the checkout that tracks `file`, by default Greaves' own.

    None where no checkout tracks it: a wheel unpacked into an environment that lies inside some
    other repository says nothing about that repository.
    """
    file = (file or Path(greaves.__file__)).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    try:
        git("ls-files", "--error-unmatch", file.name)
        commit, changes = git("rev-parse", "HEAD").strip(), git("status", "--porcelain").strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return GitState(commit=commit, dirty=bool(changes))


def free_port(host: str) -> int:
    """A TCP port that nobody listens on at `host` ("": at every address of this machine)."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def source_hash() -> str:
    """SHA-256 (hex) over Greaves' own Python files; the same from a checkout and from a wheel."""
    found: dict[str, str] = {}
    for package in (f"greaves{part}" for part in _PACKAGES):
        for root in importlib.import_module(package).__path__:
            for path in Path(root).rglob("*.py"):
                name = f"{package.replace('.', '/')}/{path.relative_to(root).as_posix()}"
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return content_hash(found)
