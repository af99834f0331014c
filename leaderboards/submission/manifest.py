"""What a submission says of itself: `submission.json`, and the records that only it has."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

from greaves.base.machine import GitState, Hardware
from greaves.base.records import Question, Record
from greaves.recipe.schema import Recipe

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
