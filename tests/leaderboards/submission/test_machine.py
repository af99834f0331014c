"""What a submission says of the machine that packed it, and what it leaves out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from greaves.base import machine
from greaves.base.machine import GitState
from greaves.leaderboards.submission.pack import without_folders


def test_git_state_is_that_of_the_checkout_which_tracks_the_file(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("x = 1\n")
    assert machine.git_state(file) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert machine.git_state(file) is None
    subprocess.run([*git, "add", "module.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    clean = machine.git_state(file)
    assert clean is not None
    assert not clean.dirty
    assert re.fullmatch("[0-9a-f]{40}", clean.commit)
    file.write_text("x = 2\n")
    assert machine.git_state(file) == GitState(commit=clean.commit, dirty=True)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("/home/me/data/aiah", "aiah"),
        ("C:\\Users\\me\\aiah", "aiah"),
        ("~/aiah", "aiah"),
        ("loaded /home/me/x.bin, then", "loaded x.bin, then"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("Qwen/Qwen2-Audio-7B", "Qwen/Qwen2-Audio-7B"),
        ("pocket/validation", "pocket/validation"),
    ],
)
def test_folders_of_the_machine_are_cut(text: str, cut: str) -> None:
    assert without_folders({"a": [text]}) == {"a": [cut]}
