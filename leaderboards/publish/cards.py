"""README files that the hub reads: a head of YAML fields, then Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from greaves.leaderboards.publish import reproduce
from greaves.leaderboards.show import render
from greaves.leaderboards.submission.contents import Submission


def space_card(submission: Submission) -> str:
    """README of the static Space."""
    return _card(
        {
            "title": f"Greaves {submission.manifest.name}",
            "sdk": "static",
            "app_file": "index.html",
            "pinned": False,
        },
        f"# {render.escaped(reproduce.title(submission.manifest))}\n",
    )


def dataset_card(submission: Submission, repo: str, authors: Sequence[str]) -> str:
    """README of the dataset: what it holds, how to check it, how to repeat and cite it."""
    manifest = submission.manifest
    commands = "\n".join(f"    {line}" for line in reproduce.commands(manifest))
    citation = "\n".join(
        f"    {line}" for line in reproduce.bibtex(submission, authors).splitlines()
    )
    return _card(
        {
            "pretty_name": reproduce.title(manifest),
            "tags": ["audio", "safety", "leaderboard", "greaves"],
            "viewer": False,
        },
        f"# {render.escaped(reproduce.title(manifest))}\n\n"
        "Questions, responses and verdicts of the run, and the leaderboard they give. Questions "
        "ask for harmful things and responses may be harmful: they are here to measure and to "
        "improve the safety of models.\n\n"
        f"The site: [{repo}](https://huggingface.co/spaces/{repo}). Every number can be computed "
        f"again from `submission-{manifest.name}.zip`:\n\n{commands}\n\n"
        f"## Cite\n\n{citation}\n",
    )


def _card(head: dict[str, Any], body: str) -> str:
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{body}"
