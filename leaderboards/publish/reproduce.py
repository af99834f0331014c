"""What lets a reader repeat and cite a run: commands, versions, recipe, citation."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from greaves.leaderboards.submission.contents import Manifest, Submission

_LATEX = str.maketrans({char: f"\\{char}" for char in "&%$#_{}"} | {"\\": "", "~": "", "^": ""})


def commands(manifest: Manifest) -> list[str]:
    """Shell commands that run the same recipe with the same versions, and check the numbers."""
    name, git = manifest.name, manifest.git
    if git is None:
        install = [f"python -m pip install greaves=={manifest.versions['greaves']} -c versions.txt"]
    else:
        install = [f"git checkout {git.commit}", "python -m pip install . -c versions.txt"]
    return [
        *install,
        f"greaves validate submission-{name}.zip",
        f"greaves run recipe.yaml --run-dir runs/{name}",
        f"greaves leaderboard runs/{name}",
    ]


def caveats(manifest: Manifest) -> list[str]:
    """What the commands cannot promise."""
    lines = []
    if manifest.git is not None and manifest.git.dirty:
        what = "The checkout held changes that are not in this commit"
        lines.append(f"{what}: the commit alone does not hold the code that ran.")
    benchmarks = {each.data for each in manifest.recipe.benchmarks.values()}
    every = sorted(benchmarks.union(manifest.recipe.alignment_data.values()))
    if foreign := [data for data in every if data.partition("/")[0] != "pocket"]:
        what = f"The recipe reads data that are not part of Greaves ({', '.join(foreign)})"
        do = "put their folders beside recipe.yaml, or write their paths into it"
        lines.append(f"{what}: {do}.")
    return lines


def constraints(manifest: Manifest) -> str:
    """The versions of the run as a pip constraints file."""
    python = manifest.versions.get("python", "unknown")
    pins = [
        f"{name}=={version}"
        for name, version in sorted(manifest.versions.items())
        if name not in ("python", "greaves")
    ]
    return "\n".join([f"# Python {python}", *pins]) + "\n"


def recipe(manifest: Manifest) -> str:
    """The recipe as a file that `greaves run` reads."""
    return yaml.safe_dump(manifest.recipe.model_dump(mode="json"), sort_keys=False)


def citation_cff(submission: Submission, authors: Sequence[str]) -> str:
    """CITATION.cff (format 1.2.0)."""
    manifest = submission.manifest
    digest = f"sha256:{submission.sha256}"
    identifier = {"type": "other", "value": digest, "description": "the submission"}
    return yaml.safe_dump(
        {
            "cff-version": "1.2.0",
            "message": "If you use these results, please cite them as below.",
            "title": title(manifest),
            "type": "dataset",
            "authors": [{"name": author} for author in _authors(manifest, authors)],
            "version": manifest.versions["greaves"],
            "identifiers": [identifier],
        },
        sort_keys=False,
        allow_unicode=True,
    )


def bibtex(submission: Submission, authors: Sequence[str]) -> str:
    """The same as BibTeX."""
    manifest = submission.manifest
    who = " and ".join(f"{{{each.translate(_LATEX)}}}" for each in _authors(manifest, authors))
    return (
        f"@misc{{greaves-{manifest.name},\n"
        f"  title  = {{{title(manifest).translate(_LATEX)}}},\n"
        f"  author = {{{who}}},\n"
        f"  note   = {{Greaves {manifest.versions['greaves']}, "
        f"submission SHA-256 {submission.sha256}}},\n"
        "}\n"
    )


def title(manifest: Manifest) -> str:
    """Title of a run's pages and citations."""
    label = f" ({manifest.label})" if manifest.label else ""
    return f"Leaderboard of audio language models: {manifest.name}{label}"


def _authors(manifest: Manifest, authors: Sequence[str]) -> list[str]:
    return list(authors) or [f"The authors of {manifest.name}"]
