"""`greaves run --cluster [ADDRESS]`: an option whose value may be left out."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_ADDRESS = re.compile(r"^(auto|local|ray://.+|[^\s/]+:\d+)$")


class RunCommand(TyperCommand):
    """`--cluster` alone means `--cluster auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click's `Command.parse_args`."""
        spelled: list[str] = []
        for index, word in enumerate(args):
            spelled.append(word)
            following = args[index + 1] if index + 1 < len(args) else ""
            if word == "--cluster" and not _ADDRESS.match(following):
                spelled.append("auto")
        return super().parse_args(ctx, spelled)
