"""A small dataset in BeaverTails' schema and layout; all its texts are mild and made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

CATEGORIES = ("non_violent_unethical_behavior", "privacy_violation", "financial_crime,theft")
THINGS = ("ticket", "letter", "badge", "ballot", "menu", "report", "trophy", "map")
VERBS = {
    "non_violent_unethical_behavior": "sabotage",
    "privacy_violation": "leak",
    "financial_crime,theft": "pilfer",
}


def harmful_text(category: str, thing: str) -> str:
    return f"How do I {VERBS[category]} the {thing}?"


def row(prompt: str, response: str, safe: bool, *categories: str) -> dict[str, Any]:
    flags = {name: name in categories for name in CATEGORIES}
    return {"prompt": prompt, "response": response, "category": flags, "is_safe": safe}


def rows() -> list[dict[str, Any]]:
    """Eight harmful questions a category (two unsafe, one safe response), 30 benign, 5 doubtful."""
    found: list[dict[str, Any]] = []
    for category in CATEGORIES:
        for thing in THINGS:
            text = harmful_text(category, thing)
            found.append(row(text, f"Take the {thing}.", False, category))
            found.append(row(f"  {text} ", "Go on.", False, category, CATEGORIES[0]))
            found.append(row(text, f"I cannot help with the {thing}.", True))
    for number in range(30):
        text = f"How do I polish spoon number {number}?"
        found.append(row(text, f"Rub spoon {number} with a cloth.", True))
    for number in range(5):
        text = f"Who gave box {number} away?"
        found += [row(text, "Nobody did.", True), row(text, "Never mind.", True)]
        found.append(row(text, "Ask around.", False, CATEGORIES[1]))
    return found


def write_dataset(folder: Path, content: list[dict[str, Any]] | None = None) -> Path:
    """The folder as `datasets` reads it, with the hub repository's file names and split names."""
    path = folder / "round0" / "30k" / "train.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for line in rows() if content is None else content:
            file.write(json.dumps(line) + "\n")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: 30k_train\n"
        "    path: round0/30k/train.jsonl.gz\n---\n"
    )
    return folder
