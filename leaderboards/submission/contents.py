"""What an archive holds, as records, and what it says of itself (`submission.json`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from greaves.base.errors import GreavesError
from greaves.base.machine import GitState, Hardware
from greaves.base.records import Question, Record, Response, Verdict
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.submission.archive import unzipped
from greaves.recipe.schema import Recipe

M = TypeVar("M", bound=BaseModel)

_ROWS: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])

FORMAT = 1
"""Version of the submission format."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a submission may be called; it names rows and files."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class SubmittedQuestion(Record):
    """A question as it was asked, without its clip.

    Attributes:
        question: as in the run folder, its clip named by file name alone.
        clip_sha256: of the clip's bytes; None for text-only.
        keys: of the responses, one a sample, in the order of the samples.
    """

    question: Question
    clip_sha256: str | None
    keys: tuple[str, ...]


class TaskFacts(Record):
    """Version of a task, and the benchmark whose sampling and judge the recipe gives it."""

    version: str
    benchmark: str


class CellFacts(BaseModel):
    """cell.json; fields that the checks do not need are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str
    method: str
    registered_method: str
    seed: int
    fingerprint: str = Field(min_length=1)
    data_hash: str
    defence_hash: str = Field(min_length=1)


class Manifest(Record):
    """submission.json.

    Attributes:
        format: see `FORMAT`.
        name: of the submission; tables name it beside every row.
        label: what must be said of the whole run, e.g. "pocket".
        recipe: as run; folders of the machine are cut to their last name.
        recipe_hash: of the recipe as run.
        cells: model, method and seed of every cell, in the order of the folders.
        tasks: name -> version and benchmark.
        versions: package -> version, as the run noted them.
        hashes: what was run -> its hash.
        hardware: the machine that ran it.
        git: the checkout that ran it; None if Greaves was installed from a wheel.
        source_hash: of Greaves' own Python files, as they were when it ran.
        files: member -> SHA-256 of its bytes, for every other member.
    """

    format: int = Field(ge=FORMAT, le=FORMAT)
    name: str = Field(pattern=NAME)
    label: str
    recipe: Recipe
    recipe_hash: str
    cells: tuple[tuple[str, str, int], ...] = Field(min_length=1)
    tasks: dict[str, TaskFacts]
    versions: dict[str, str]
    hashes: dict[str, str]
    hardware: Hardware
    git: GitState | None
    source_hash: str
    files: dict[str, str]

    def folders(self) -> list[str]:
        """Folder of every cell inside the archive, in the order of `cells`."""
        return [
            f"cells/{place:03}-{slug(model)}-{slug(method)}-seed-{seed}"
            for place, (model, method, seed) in enumerate(self.cells)
        ]


def slug(name: str) -> str:
    """A name as it may stand in a path: letters, digits, ".", "_" and "-", 40 at most."""
    return _UNSAFE.sub("-", name)[:40].strip(".") or "-"


@dataclass(frozen=True)
class CellContents:
    """One cell's records. `folder` is its folder inside the archive."""

    folder: str
    facts: CellFacts
    questions: list[SubmittedQuestion]
    responses: list[Response]
    verdicts: list[Verdict]


@dataclass(frozen=True)
class Submission:
    """A submission as read, not yet believed.

    Attributes:
        manifest: submission.json.
        cells: in the order of the manifest; cells that could not be read are left out.
        rows: leaderboard.json.
        sha256: of the archive.
        broken: what could not be read as records, one line each.
    """

    manifest: Manifest
    cells: list[CellContents]
    rows: list[dict[str, Any]]
    sha256: str
    broken: list[str]

    def verdicts(self) -> list[Verdict]:
        """Verdicts of all cells."""
        return [verdict for cell in self.cells for verdict in cell.verdicts]

    def table(self) -> list[Row]:
        """The rows of a valid submission: its own, which the checks found to be those recomputed.

        Raises:
            pydantic.ValidationError: they are not rows; no valid submission has such.
        """
        return [Row.model_validate(row) for row in self.rows]


def read_submission(path: Path) -> Submission:
    """Read an archive; whatever is wrong inside is told by `broken` and by the checks.

    Raises:
        GreavesError: it is no archive of ours (see `unzipped`), or submission.json is not readable.
    """
    members = unzipped(path)
    try:
        manifest = Manifest.model_validate_json(members["submission.json"])
    except KeyError:
        raise GreavesError("not a submission: no submission.json", where=str(path)) from None
    except ValidationError as error:
        what = f"not a submission this Greaves reads: {_first(error)}"
        raise GreavesError(what, where=f"{path}: submission.json") from None
    broken = _wrong_files(manifest, members)
    cells = [_cell(folder, members, broken) for folder in manifest.folders()]
    rows: list[dict[str, Any]] = []
    try:
        rows = _ROWS.validate_json(members.get("leaderboard.json", b""))
    except ValidationError as error:
        broken.append(f"leaderboard.json: not a list of rows ({_first(error)})")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Submission(manifest, [cell for cell in cells if cell], rows, digest, broken)


def _wrong_files(manifest: Manifest, members: Mapping[str, bytes]) -> list[str]:
    """Members that are missing, foreign, or other than the manifest says."""
    listed, found = set(manifest.files), set(members) - {"submission.json"}
    folders = set(manifest.folders())
    lines = [f"{name}: missing from the archive" for name in sorted(listed - found)]
    lines += [f"{name}: not listed in submission.json" for name in sorted(found - listed)]
    lines += [
        f"{name}: belongs to no cell of submission.json"
        for name in sorted(found)
        if name.startswith("cells/") and name.rpartition("/")[0] not in folders
    ]
    lines += [
        f"{name}: changed after packing (its SHA-256 is not that of submission.json)"
        for name in sorted(found & listed)
        if hashlib.sha256(members[name]).hexdigest() != manifest.files[name]
    ]
    return lines


def _cell(folder: str, members: Mapping[str, bytes], broken: list[str]) -> CellContents | None:
    try:
        facts = CellFacts.model_validate_json(members.get(f"{folder}/cell.json", b""))
    except ValidationError as error:
        broken.append(f"{folder}/cell.json: not the facts of a cell ({_first(error)})")
        return None
    verdicts: list[Verdict] = []
    for name in sorted(members):
        if name.startswith(f"{folder}/verdicts."):
            verdicts += _records(name, members, Verdict, broken)
    return CellContents(
        folder,
        facts,
        _records(f"{folder}/questions.jsonl", members, SubmittedQuestion, broken),
        _records(f"{folder}/responses.jsonl", members, Response, broken),
        verdicts,
    )


def _records(
    name: str, members: Mapping[str, bytes], record: type[M], broken: list[str]
) -> list[M]:
    found: list[M] = []
    lines = members.get(name, b"").removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            found.append(record.model_validate_json(line))
        except ValidationError as error:
            broken.append(f"{name}:{number}: not a {record.__name__} record ({_first(error)})")
    return found


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
