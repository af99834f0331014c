"""Prompts of a defence on disk."""

from __future__ import annotations

import json
from pathlib import Path

from greaves.base.text import whole


def read_prompt(folder: Path) -> str:
    """Text of a prompt. Raises TypeError if it is none that a tokenizer takes."""
    text = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))["text"]
    if not isinstance(text, str) or whole(text) != text:
        raise TypeError("no text")
    return text
