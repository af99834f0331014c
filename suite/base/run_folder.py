"""The run folder: where a run leaves what it did, for a person and for the next run.

runs/pocket/
  run.json                         what was asked: recipe, label, versions, hashes
  judges.json                      what each judge's identity stands for
  leaderboard.{md,csv,json}
  features/<model>/                the audio tower's output, one file per clip
  figures/                         what `greaves figure` drew, and answers it asked for
  cells/<model>/<method>/seed-<n>/
    cell.json                      what was run: hashes of model, defence and data
    usage.json                     requests, tokens and money, where a server was asked
    questions.jsonl                what was put to the model, with the keys of the answers
    responses.jsonl                append-only
    verdicts.<judge>.jsonl         append-only
    defences/<hash>/               the artefact that the method left behind
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError, field_validator, model_validator

from greaves.base.errors import StoreError
from greaves.base.records import Question, Record, Response, Verdict
from greaves.base.store import (
    Ledger,
    as_lines,
    read_lines,
    read_plain,
    readable,
    write_json,
    write_text,
)
from greaves.base.text import whole
from greaves.base.usage import Usage

FORMAT = 1
"""Version of this layout, written to run.json.

Raised only when a Greaves that knows the number before would misread a folder. What was merely
added since (requests, versions, judges.json) left it as it is, and may be missing in older folders.
"""


class AskedQuestion(Record):
    """A question as a cell put it to its model, and the keys of the responses it is to get."""

    question: Question
    keys: tuple[str, ...]


@dataclass(frozen=True)
class RunFacts:
    """What was run.

    Attributes:
        name: name of the recipe.
        label: "pocket", or whatever the recipe wants printed beside every number.
        hashes: what was run -> its hash (recipe, each model, each defence, alignment data).
    """

    name: str
    label: str
    hashes: dict[str, str]


class _RunFile(BaseModel):
    name: str
    label: str
    recipe_hash: str
    cells: list[tuple[str, str, int]]
    requests: list[str] | None = None

    @field_validator("cells")
    @classmethod
    def _names_of_folders(cls, cells: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
        for model, method, _ in cells:
            for name in (model, method):
                if name in ("", ".", "..") or {"/", "\0"} & set(name) or whole(name) != name:
                    raise ValueError(f"{name[:80]!r} cannot be the name of a folder")
        return cells

    @model_validator(mode="after")
    def _one_request_a_cell(self) -> Self:
        if self.requests is not None and len(self.cells) != len(self.requests):
            raise ValueError("the requests and the cells are not one for one")
        return self


class CellFolder:
    """One cell's part of the run folder: model x method x seed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def defences(self) -> Path:
        """Folder of the saved defences, one per request hash."""
        return self.path / "defences"

    def responses(self) -> Ledger[Response]:
        """The responses so far, ready to be appended to."""
        return Ledger(self.path / "responses.jsonl", Response)

    def verdicts(self, judge: str) -> Ledger[Verdict]:
        """The verdicts of one judge (name or name@version) so far."""
        return Ledger(self.path / f"verdicts.{judge.partition('@')[0]}.jsonl", Verdict)

    def write_questions(self, asked: Iterable[AskedQuestion]) -> None:
        """Replace the list of what this cell asks."""
        write_text(self.path / "questions.jsonl", as_lines(asked))

    def questions(self) -> list[AskedQuestion]:
        """What this cell asks, as of its last start."""
        return read_lines(self.path / "questions.jsonl", AskedQuestion)

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Replace cell.json."""
        write_json(self.path / "cell.json", facts)

    def facts(self) -> dict[str, Any]:
        """cell.json, or nothing if the cell has not started."""
        path = self.path / "cell.json"
        facts = _read_json(path)
        missing = {"model", "method", "seed", "fingerprint", "defence_hash"} - facts.keys()
        if missing and path.is_file():
            what = f"not the facts of a cell: no {', '.join(sorted(missing))}"
            do = "remove the file and run again; no response is lost"
            raise StoreError(what, where=str(path), do=do)
        return facts

    def add_usage(self, name: str, usage: Usage | None) -> None:
        """Add to what a model or a judge (`name`) has cost in this cell; None adds nothing."""
        if usage is None or usage == Usage():
            return
        path = self.path / "usage.json"
        known = _read_json(path)
        try:
            before = Usage(**known.get(name, {}))
        except TypeError as error:
            raise StoreError(f"not a count of usage ({error})", where=str(path)) from None
        write_json(path, {**known, name: asdict(before + usage)})

    def _keys(self) -> set[str]:
        return {key for item in self.questions() for key in item.keys}

    def current_responses(self) -> list[Response]:
        """Responses that belong to what the cell asks now; stale lines are left out."""
        keys, found = self._keys(), read_lines(self.path / "responses.jsonl", Response)
        return [item for item in found if item.key in keys]

    def current_verdicts(self) -> list[Verdict]:
        """The last verdict of each judge on every response that is current."""
        keys = self._keys()
        last: dict[tuple[str, str], Verdict] = {}
        for path in sorted(self.path.glob("verdicts.*.jsonl")):
            for verdict in read_lines(path, Verdict):
                if verdict.key in keys:
                    last[verdict.judge, verdict.key] = verdict
        return list(last.values())


class RunFolder:
    """A run folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder that holds a run.

        Raises:
            StoreError: there is none, it is broken, or of a layout this version does not know.
        """
        if not (path / "run.json").is_file():
            what = "there is no run in this folder"
            raise StoreError(what, where=str(path), do="start one: greaves run")
        run = _read_json(path / "run.json")
        version = run.get("format")
        if version != FORMAT:
            newer = isinstance(version, int) and version > FORMAT
            what = f"the run has layout {version or 'unknown'}, this Greaves reads {FORMAT}"
            do = f"{'upgrade Greaves, or ' if newer else ''}put it aside: greaves run --fresh"
            raise StoreError(what, where=str(path), do=do)
        try:
            _RunFile.model_validate(run)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            what = f"not the facts of a run: {field} {first['msg'].lower()}"
            do = "put it aside: greaves run --fresh"
            raise StoreError(what, where=str(path / "run.json"), do=do) from None
        return cls(path)

    def cell(self, model: str, method: str, seed: int) -> CellFolder:
        """The folder of one cell.

        Raises:
            StoreError: a link leads out of the run folder.
        """
        path = self.path / "cells" / model / method / f"seed-{seed}"
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise StoreError("a cell lies outside the run folder", where=str(path))
        return CellFolder(path)

    def cells(self) -> Iterator[CellFolder]:
        """The cells that answered the recipe as it is now, in the recipe's order."""
        return (cell for cell, up_to_date in self._started() if up_to_date)

    def outdated(self) -> list[str]:
        """Cells that answered an earlier version of the recipe or its data; no table shows them."""
        old = [cell.path for cell, up_to_date in self._started() if not up_to_date]
        return [str(path.relative_to(self.path / "cells")) for path in old]

    def _started(self) -> Iterator[tuple[CellFolder, bool]]:
        run = _read_json(self.path / "run.json")
        requests = run.get("requests") or [None] * len(run["cells"])  # the first runs had none
        for (model, method, seed), request in zip(run["cells"], requests, strict=True):
            cell = self.cell(model, method, seed)
            if facts := cell.facts():
                yield cell, facts.get("request") == request

    def versions(self) -> list[dict[str, str]]:
        """Package versions of all sessions that wrote here, the last one last."""
        run = _read_json(self.path / "run.json")
        return [*run.get("earlier_versions", []), *([run["versions"]] if "versions" in run else [])]

    def judges(self) -> dict[str, Any]:
        """Identity of each judge that was used -> its name, version and settings."""
        return _read_json(self.path / "judges.json")

    def second_opinions(self) -> set[str]:
        """Identities of judges that were added to the run; tables show them only when asked."""
        return {name for name, facts in self.judges().items() if facts.get("second_opinion")}

    def write_judges(self, judges: dict[str, Any]) -> None:
        """Replace judges.json."""
        write_json(self.path / "judges.json", judges)

    def verdicts(self) -> list[Verdict]:
        """All current verdicts of all cells of the recipe."""
        return [verdict for cell in self.cells() for verdict in cell.current_verdicts()]

    def facts(self) -> RunFacts:
        """What was run, for the foot of a table."""
        run = _read_json(self.path / "run.json")
        hashes: dict[str, str] = {"recipe": run["recipe_hash"]}
        for cell in self.cells():
            facts = cell.facts()
            hashes[f"model {facts['model']}"] = facts["fingerprint"]
            if facts.get("data_hash"):
                hashes[f"data {facts.get('data', '')}"] = facts["data_hash"]
            name = f"defence {facts['model']} {facts['method']} seed {facts['seed']}"
            hashes[name] = facts["defence_hash"]
        return RunFacts(name=run["name"], label=run["label"], hashes=hashes)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with readable(path):
            content = json.loads(read_plain(path))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise StoreError(f"cannot be read as JSON ({error})", where=str(path)) from None
    if not isinstance(content, dict):
        raise StoreError("not a JSON object", where=str(path))
    return content
