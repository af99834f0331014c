"""lm-eval's own text tasks in a recipe: what the user says, what is found, and what is kept.

Nothing here imports lm_eval (seconds) or builds its index (half a minute): names are read from the
heads of its YAML files.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from greaves.base.errors import RegistryError
from greaves.base.records import Record
from greaves.base.run_folder import CellFolder
from greaves.base.store import read_lines

COLUMNS, SCORES = "text_tasks.jsonl", "text_scores.jsonl"
"""Files of a cell: what it was asked of text tasks at its last start, and the scores so far."""


class TextTaskSpec(BaseModel):
    """A text task as a recipe names it.

    Attributes:
        task: a task, group or tag of lm-eval, or of `include_path`.
        name: title of its column; default, the task's name.
        limit: only the first documents, of every task of a group.
        num_fewshot: examples in front of each document; default, what the task says. As in lm-eval,
            a task that says 0 keeps 0.
        include_path: folder of YAML files of one's own, relative to the recipe. Python code that
            they name is run.
        chat_template: put the prompt into the model's chat template; default no, as in lm-eval.
        fewshot_as_multiturn: then, examples as turns of their own.
        metric: the column's metric, such as "acc_norm" or "exact_match,flexible-extract"; default,
            the task's first that is a mean over documents (bits_per_byte for perplexity tasks).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(min_length=1)
    name: str = ""
    limit: int | None = Field(None, ge=1)
    num_fewshot: int | None = Field(None, ge=0)
    include_path: str | None = None
    chat_template: bool = False
    fewshot_as_multiturn: bool = False
    metric: str | None = None

    @property
    def shown(self) -> str:
        """Title of the column."""
        return self.name or self.task


class TextScore(Record):
    """What lm-eval says of one document of a text task.

    Attributes:
        key: hash of all that could change the values: model, defence, lm-eval's version, the task's
            configuration, the document, and the requests as they were put to the model.
        model: its name in tables.
        method: its name in tables.
        seed: training seed of the defence.
        task: the column's title.
        leaf: the task; of a group, the one the document belongs to.
        doc_id: place of the document in its task.
        metrics: metric -> value; "exact_match,strict-match" where the task has a filter.
        weight: of the document in the mean: bytes for bits_per_byte, else 1.
    """

    key: str
    model: str
    method: str
    seed: int
    task: str
    leaf: str
    doc_id: int
    metrics: dict[str, float]
    weight: float = 1.0


class TextColumn(Record):
    """What a cell was asked of one text task; the current documents are those of `keys`.

    Attributes:
        task: the column's title.
        metric: the one that is shown.
        higher_is_better: of that metric.
        lm_eval: its version.
        keys: of every document's score, in order.
        left_out: why the cell does not answer it; "" if it does.
    """

    task: str
    metric: str
    higher_is_better: bool
    lm_eval: str
    keys: tuple[str, ...] = ()
    left_out: str = ""


def current_columns(place: CellFolder) -> list[tuple[TextColumn, list[TextScore]]]:
    """The cell's text tasks with the scores that are current; stale lines are left out."""
    columns = read_lines(place.path / COLUMNS, TextColumn)
    scores = {one.key: one for one in read_lines(place.path / SCORES, TextScore)} if columns else {}
    return [(column, [scores[key] for key in column.keys if key in scores]) for column in columns]


Fields = Mapping[str, tuple[str, ...]]
"""The top-level fields of a YAML file that tell what it defines."""

_FIELD = re.compile(
    r"""^["']?(task|group|tag|include|class|output_type)["']?[ \t]*:[ \t]*(.*)\n"""
    r"""((?:[ \t]*-.*\n)*)""",
    re.MULTILINE,
)


def _fields(path: Path) -> Fields:
    try:
        text = path.read_text(encoding="utf-8", errors="replace") + "\n"
    except OSError:
        text = ""
    fields = {}
    for name, value, items in _FIELD.findall(text):
        found = [value] if value and not value.lstrip().startswith("#") else items.splitlines()
        found = value.strip("[] ").split(",") if value.startswith("[") else found
        fields[name] = tuple(_scalar(item) for item in found)
    return fields


def _scalar(item: str) -> str:
    return re.sub(r"\s+#.*$", "", item.strip().removeprefix("-")).strip().strip("\"'")


class TextTaskIndex:
    """Names of tasks, groups and tags, and the files that define them.

    Name for name what lm-eval's own index holds, in a seventh of the time.

    Args:
        folders: searched in order; later ones win.
        known: an index of what lies under them all.
    """

    def __init__(self, folders: Iterable[Path], known: TextTaskIndex | None = None) -> None:
        self.files: dict[str, Path] = dict(known.files) if known else {}
        tags: Mapping[str, set[str]] = known.tags if known else {}
        self.tags: dict[str, set[str]] = {tag: set(names) for tag, names in tags.items()}
        self._included: dict[Path, Fields] = {}
        for folder in folders:
            here: dict[str, Path] = {}
            for path in sorted(folder.rglob("*.yaml")):
                if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
                    self._note(path, here)
            self.files |= here

    def _note(self, path: Path, here: dict[str, Path]) -> None:
        whole = self._whole(path)
        group = "group" in whole and "class" not in whole
        name = _only(whole.get("group" if group else "task", ()))
        if name is None or name in here:  # of two in one folder lm-eval takes the first
            return
        here[name] = path
        for tag in () if group else whole.get("tag", ()):
            self.tags.setdefault(tag, set()).add(name)

    def _whole(self, path: Path) -> Fields:
        """Fields of a file and of those it includes; its own win."""
        own, fields = _fields(path), dict[str, tuple[str, ...]]()
        for included in own.get("include", ()):
            other = (path.parent / included).resolve()
            if other not in self._included:
                self._included[other] = {}  # a circle ends here
                self._included[other] = self._whole(other)
            fields |= self._included[other]
        return {**fields, **own}

    def known(self, name: str) -> bool:
        """Whether there is such a task, group or tag."""
        return name in self.files or name in self.tags

    def check(self, name: str) -> None:
        """Raises RegistryError, naming the nearest, if there is no such name."""
        if not self.known(name):
            near = difflib.get_close_matches(name, [*self.files, *self.tags], n=1)
            raise RegistryError(
                f"unknown text task {name!r}",
                do=f"did you mean {near[0]!r}?" if near else "list them with: lm_eval ls tasks",
            )

    def output_types(self, name: str) -> set[str]:
        """What the tasks of a name ask of a model; "" where only its code could tell."""
        if name in self.tags and name not in self.files:
            return set().union(*(self.output_types(one) for one in self.tags[name]))
        if name not in self.files:
            return {""}
        fields = self._whole(self.files[name])
        if "class" in fields:
            return {""}
        if "group" in fields:
            members = [one for one in fields.get("task", ()) if one != name]
            return set().union(*map(self.output_types, members)) if members else {""}
        return {_only(fields.get("output_type", ())) or "generate_until"}


def _only(values: tuple[str, ...]) -> str | None:
    return values[0] if len(values) == 1 and values[0] else None


@cache
def text_task_index(include_path: Path | None = None) -> TextTaskIndex:
    """lm-eval's own tasks and those of a folder.

    Raises:
        RegistryError: there is no such folder.
    """
    if include_path is None:
        found = importlib.util.find_spec("lm_eval")
        places = found.submodule_search_locations if found else None
        return TextTaskIndex(Path(place) / "tasks" for place in places or ())
    if not include_path.is_dir():
        raise RegistryError(f"there is no folder {include_path}", do="give it as include_path")
    return TextTaskIndex([include_path], text_task_index())
