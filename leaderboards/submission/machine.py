"""What packs a submission: hardware, git state, the package's own files; and how paths are cut."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import re
import subprocess
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import greaves
from greaves.leaderboards.submission.manifest import GitState, Hardware
from greaves.records import content_hash

_PACKAGES = (
    "greaves",
    "greaves.leaderboards",
    "greaves.methods",
    "greaves.recipes",
    "greaves.tasks",
)
_FOLDERS = re.compile(r"(?:\bfile:/)?(?<![\w:/.~-])/(?:[^\s/'\"]+/)+")
"""The folders of an absolute path inside a sentence; not those of an address (https://...)."""


def hardware() -> Hardware:
    """The machine this process runs on."""
    import torch  # seconds; only submitting needs it

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        ram_gib=round(memory / 2**30, 1),
        gpus=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_state(file: Path | None = None) -> GitState | None:
    """Commit and dirtiness of the checkout that tracks `file`, by default Greaves' own.

    None where no checkout tracks it: a wheel unpacked into an environment that lies inside some
    other repository says nothing about that repository.
    """
    file = (file or Path(greaves.__file__)).resolve()
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return None
    commit, changes = _git(file, "rev-parse", "HEAD"), _git(file, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(file: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(file.parent), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def source_hash() -> str:
    """SHA-256 (hex) over Greaves' own Python files; the same from a checkout and from a wheel."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        for root in importlib.import_module(package).__path__:
            for path in Path(root).rglob("*.py"):
                name = f"{package.replace('.', '/')}/{path.relative_to(root).as_posix()}"
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return content_hash(found)


def without_folders(value: Any) -> Any:
    """Plain data with every absolute path in its texts cut to the last name.

    Example:
        >>> without_folders({"data": "/home/me/aiah", "model": "Qwen/Qwen2-Audio"})
        {'data': 'aiah', 'model': 'Qwen/Qwen2-Audio'}
    """
    if isinstance(value, dict):
        return {without_folders(name): without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith("~") or PurePosixPath(value).is_absolute():
        return PurePosixPath(value).name
    if PureWindowsPath(value).is_absolute():
        return PureWindowsPath(value).name
    return _FOLDERS.sub("", value)
