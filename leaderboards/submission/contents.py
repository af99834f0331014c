"""What an archive holds, as records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import jsonlines
from pydantic import BaseModel, TypeAdapter, ValidationError

from greaves.base.errors import GreavesError
from greaves.base.records import Response, Verdict
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.submission.archive import unzipped
from greaves.leaderboards.submission.manifest import CellFacts, Manifest, SubmittedQuestion

M = TypeVar("M", bound=BaseModel)

_ROWS: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])


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
        raise GreavesError(
            f"not a submission this Greaves reads: {_first(error)}",
            where=f"{path}: submission.json",
        ) from None
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
    reader = jsonlines.Reader(lines, loads=record.model_validate_json)
    for number in range(1, len(lines) + 1):
        try:
            found.append(cast(M, reader.read()))
        except jsonlines.InvalidLineError as error:
            cause = error.__cause__
            why = _first(cause) if isinstance(cause, ValidationError) else "not UTF-8"
            broken.append(f"{name}:{number}: not a {record.__name__} record ({why})")
    return found


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
