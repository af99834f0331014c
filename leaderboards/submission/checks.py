"""What is wrong with a submission, one line each; an empty list means that it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from greaves import __version__
from greaves.base.errors import GreavesError
from greaves.base.machine import GitState, git_state, source_hash
from greaves.leaderboards.board.table import leaderboard
from greaves.leaderboards.read.slices import VANILLA
from greaves.leaderboards.show import render
from greaves.leaderboards.submission import record_checks
from greaves.leaderboards.submission.contents import Manifest, Submission
from greaves.recipe.schema import MethodSpec

_NEAR = 2e-4  # floats are written with 4 decimals
_ABSENT = "absent"
_COORDINATES = ("judge", "model", "method", "metric", "task")


def problems(submission: Submission) -> list[str]:
    """Everything that does not match, in the order of the archive."""
    manifest = submission.manifest
    found = [
        *submission.broken,
        *_manifest(submission),
        *code(manifest.git, manifest.source_hash, manifest.versions),
        *record_checks.task_problems(submission),
    ]
    judges = record_checks.judges_of(submission)
    rules = record_checks.installed_rule_judges(judges)
    for cell in submission.cells:
        found += record_checks.cell_problems(cell, submission, judges, rules)
    return [*found, *_rows(submission)]


def code(git: GitState | None, source: str, versions: Mapping[str, str]) -> Iterator[str]:
    """A changed source tree that is not marked dirty.

    Only a machine with the same code in an untouched state can tell: the same commit, checked out
    clean, or the same release, installed from a wheel. Others have nothing to compare with.
    """
    if git is not None and git.dirty:
        return
    ours = git_state()
    if ours != git or source == source_hash():
        return
    if git is None and versions.get("greaves") == __version__:
        yield "submission.json: source_hash is not that of this release; changed, but not marked"
    if git is not None:
        what = "git.dirty is false, but the source files are not those of commit"
        yield f"submission.json: {what} {git.commit[:12]}"


def _manifest(submission: Submission) -> Iterator[str]:
    manifest = submission.manifest
    where = "submission.json"
    if manifest.label != manifest.recipe.label:
        yield f"{where}: label {manifest.label!r} is not the recipe's {manifest.recipe.label!r}"
    yield from _cells_of_recipe(manifest)
    hashes = set(manifest.hashes.values())
    if manifest.recipe_hash not in hashes:
        yield f"{where}: hashes lack the recipe's"
    registered = {method.shown: method.method for method in _methods(manifest)}
    if registered.get(VANILLA, VANILLA) != VANILLA:
        yield f"{where}: {registered[VANILLA]!r} is called {VANILLA}, against which NSI is measured"
    for cell in submission.cells:
        facts = cell.facts
        if facts.registered_method != registered.get(facts.method):
            yield f"{cell.folder}/cell.json: registered_method is not that of the recipe"
        for name in ("fingerprint", "data_hash", "defence_hash"):
            value = getattr(facts, name)
            if value and value not in hashes:
                yield f"{cell.folder}/cell.json: {name} is not among the hashes of {where}"


def _cells_of_recipe(manifest: Manifest) -> Iterator[str]:
    """Every model meets every method, on the first seed or on all of them."""
    recipe, where = manifest.recipe, "submission.json"
    methods = _methods(manifest)
    if len(recipe.models) * len(methods) > len(manifest.cells):
        yield f"{where}: fewer cells than the recipe has models times methods"
        return
    seeds: dict[tuple[str, str], list[int]] = {
        (model.shown, method.shown): [] for model in recipe.models for method in methods
    }
    for model, name, seed in manifest.cells:
        if (model, name) not in seeds:
            yield f"{where}: cell {model} / {name} / seed {seed} is not of the recipe"
        elif seed in seeds[model, name]:
            yield f"{where}: cell {model} / {name} / seed {seed} is listed twice"
        else:
            seeds[model, name].append(seed)
    for (model, name), found in seeds.items():
        if found not in (list(recipe.seeds[:1]), list(recipe.seeds)):
            yield f"{where}: {model} / {name} has seeds {found}, the recipe {list(recipe.seeds)}"


def _methods(manifest: Manifest) -> list[MethodSpec]:
    """The recipe's methods, each followed by itself under its stresses."""
    return [spec for method in manifest.recipe.methods for spec in (method, *method.stressed())]


def _rows(submission: Submission) -> Iterator[str]:
    """Rows that differ from those that the raw verdicts give."""
    try:
        rows = leaderboard(submission.verdicts(), label=submission.manifest.label)
    except GreavesError as error:
        yield f"leaderboard.json: cannot be computed again: {error}"
        return
    ours, theirs = _by_place(render.as_plain(rows)), _by_place(submission.rows)
    if len(theirs) < len(submission.rows):
        yield "leaderboard.json: a row occurs twice"
    for place, row in ours.items():
        if place not in theirs:
            yield f"leaderboard.json: {_named(place)}: missing, recomputed {row['value']}"
            continue
        for field in sorted({*row, *theirs[place]}):
            said, is_ = theirs[place].get(field, _ABSENT), row.get(field, _ABSENT)
            if not _same(said, is_):
                yield f"leaderboard.json: {_named(place)}: {field} {said}, recomputed {is_}"
    for place in theirs:
        if place not in ours:
            yield f"leaderboard.json: {_named(place)}: no verdicts give this row"


def _by_place(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    return {tuple(str(row.get(name)) for name in _COORDINATES): row for row in rows}


def _named(place: tuple[str, ...]) -> str:
    judge, model, method, metric, task = place
    return f"{metric} of {method} on {model} ({task}, {judge})"


def _same(said: Any, recomputed: Any) -> bool:
    if isinstance(said, dict) and isinstance(recomputed, dict):
        return said.keys() == recomputed.keys() and all(
            _same(said[name], recomputed[name]) for name in said
        )
    if isinstance(said, bool) or isinstance(recomputed, bool):
        return said is recomputed
    if isinstance(said, float | int) and isinstance(recomputed, float):
        return math.isclose(said, recomputed, rel_tol=0, abs_tol=_NEAR)
    return bool(said == recomputed)
