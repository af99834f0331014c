"""Puts the table that `greaves leaderboard RUN` prints into README.md; see `make showcase`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
START, END = "make showcase -->\n", "<!-- end -->"


def table(run: str) -> str:
    """The tables as printed, without the notes below them."""
    command = [str(Path(sys.executable).with_name("greaves")), "leaderboard", run]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.rstrip() for line in printed.splitlines()]
    foot = next(number for number, line in enumerate(lines) if line.startswith("ASR audio-text: "))
    return "\n".join(lines[:foot]).strip("\n")


def main() -> None:
    """Replace what stands between the two marks."""
    before, rest = README.read_text(encoding="utf-8").split(START)
    after = rest.split(END, 1)[1]
    block = f"```text\n{table(sys.argv[1])}\n```\n"
    README.write_text(f"{before}{START}{block}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
