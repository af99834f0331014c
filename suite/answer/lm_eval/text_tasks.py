"""lm-eval's own text tasks for a recipe: loaded, put to a cell's model, and kept as scores come."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from math import isfinite, log
from numbers import Real
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import bits_per_byte, mean
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind, TaskIndex

from greaves.align.defence import Defence
from greaves.answer.answering import Answered, usage_noted
from greaves.answer.asking import Speaker
from greaves.answer.lm_eval.model import GreavesLM
from greaves.answer.text_tasks import (
    COLUMNS,
    SCORES,
    TextColumn,
    TextScore,
    TextTaskIndex,
    TextTaskSpec,
    text_task_index,
)
from greaves.base.errors import DataError
from greaves.base.progress import Steps
from greaves.base.records import content_hash
from greaves.base.run_folder import CellFolder
from greaves.base.store import Ledger, as_lines, write_text

CHUNK = 8
"""Batches of documents between two writes to disk."""

FEWSHOT_SEED = 1234
"""Of the choice of few-shot examples; lm-eval's own default."""

_NONE = "none"  # the filter that changes nothing

_WHERE = ("dataset_path", "dataset_name", "dataset_kwargs", "custom_dataset")
"""Where documents come from; the documents themselves are part of every key."""


@dataclass(frozen=True)
class TextTask:
    """One column: a task of lm-eval, or a group of them.

    Attributes:
        spec: as in the recipe.
        leaves: name -> task, of a group in its order.
        metric: the column's.
        higher_is_better: of that metric.
    """

    spec: TextTaskSpec
    leaves: dict[str, Any]
    metric: str
    higher_is_better: bool

    @property
    def needs_weights(self) -> bool:
        """Whether it asks for log-likelihoods."""
        return any(leaf.OUTPUT_TYPE != "generate_until" for leaf in self.leaves.values())


@dataclass(frozen=True)
class Document:
    """One document, ready to be put to a model: the key of its score, and its requests."""

    key: str
    task: TextTask
    leaf: str
    doc_id: int
    requests: tuple[Instance, ...]


def load_text_task(spec: TextTaskSpec, base: Path) -> TextTask:
    """Find a task and read its documents.

    Args:
        spec: as in the recipe.
        base: folder of the recipe.

    Raises:
        RegistryError: there is no such task.
        DataError: its data set is not on this machine, or a column cannot show it.
    """
    index = text_task_index(base / spec.include_path if spec.include_path else None)
    index.check(spec.task)
    entries = _Entries(index)
    try:
        built = TaskFactory().build(entries[spec.task], overrides=None, registry=entries)
    except Exception as error:  # whatever the task's own code and its data set run into
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        do = "fetch its data set once with HF_DATASETS_OFFLINE=0 HF_HUB_OFFLINE=0"
        raise DataError(f"text task {spec.shown!r} cannot be loaded ({reason})", do=do) from None
    leaves = {leaf.task_name: leaf for leaf in _leaves(built)}
    for name, leaf in leaves.items():
        _check(spec, name, leaf)
        shots = leaf.get_config("num_fewshot")
        if shots is None or (spec.num_fewshot is not None and shots != 0):
            leaf.set_config("num_fewshot", spec.num_fewshot or 0)
    metric = _metric(spec, list(leaves.values()))
    better = next(iter(leaves.values())).higher_is_better().get(metric.partition(",")[0], True)
    return TextTask(spec, leaves, metric, bool(better))


class _Entries(dict[str, Entry]):
    """lm-eval's index, read entry by entry."""

    def __init__(self, index: TextTaskIndex) -> None:
        super().__init__()
        self.index = index

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self.index.known(name))

    def __missing__(self, name: str) -> Entry:
        if path := self.index.files.get(name):
            entry = TaskIndex.entry_from_path(path)
        else:
            entry = Entry(name, Kind.TAG, None, tags=self.index.tags[name])
        self[name] = entry
        return entry


def _leaves(built: Any) -> Iterator[Any]:
    if isinstance(built, Group):
        yield from built.get_all_tasks()
    else:
        yield from built if isinstance(built, list) else [built]


def _check(spec: TextTaskSpec, name: str, leaf: Any) -> None:
    if getattr(leaf, "UNSAFE_CODE", False):
        what = "runs code that the model wrote"
    elif getattr(leaf, "MULTIMODAL", False):
        what = "is not a text task"
    else:
        return
    raise DataError(f"text task {spec.shown!r}: {name} {what}", do="leave it out")


def _metric(spec: TextTaskSpec, leaves: Sequence[Any]) -> str:
    """The column's metric: the one that is wanted, or the first that all tasks have."""
    offered = [list(_offered(leaf)) for leaf in leaves]
    common = [name for name in offered[0] if all(name in names for names in offered)]
    wanted = [name for name in common if spec.metric in (None, name, name.partition(",")[0])]
    if not wanted:
        what = f"text task {spec.shown!r} has no metric {spec.metric or 'that can be shown'}"
        raise DataError(what, do=f"its means over documents: {', '.join(common) or 'none'}")
    return wanted[0]


def _offered(leaf: Any) -> Iterator[str]:
    """Metrics that are means over documents, as they are called in scores."""
    for metric, aggregation in leaf.aggregation().items():
        if aggregation in (mean, bits_per_byte):
            yield from (_called(metric, chain.name) for chain in leaf._filters)


def _called(metric: str, chain: str) -> str:
    return metric if chain == _NONE else f"{metric},{chain}"


def score_texts(
    place: CellFolder,
    speaker: Speaker,
    defence: Defence,
    tasks: Sequence[TextTask],
    *,
    batch_size: int,
    steps: Steps,
    stage: str,
    only: Callable[[str], bool] = lambda name: True,
    may_write: Callable[[], None] = lambda: None,
) -> Answered:
    """Ask for the scores that a cell still lacks, and append them as they come.

    Args:
        tasks: the recipe's text tasks.
        only: whether a column is to be answered now.
        place, speaker, defence, batch_size, steps, stage, may_write: as for `answer`.

    Raises:
        GreavesError: the model cannot answer; what it has answered is kept.
    """
    done = Answered()
    with usage_noted(place, speaker.model), defence.attached(speaker.model) as asked:
        lm = GreavesLM(asked, batch_size=batch_size, say=lambda line: steps.say(f"{stage}: {line}"))
        scoring = TextScoring(speaker, lm)
        columns = [scoring.column(task) for task in tasks]
        may_write()
        write_text(place.path / COLUMNS, as_lines(column for column, _ in columns))
        ledger = Ledger(place.path / SCORES, TextScore)
        known = {one.key for one in ledger.records}
        for column, documents in columns:
            if column.left_out:
                steps.say(f"{stage}, {column.task}: left out: {column.left_out}")
            if not only(column.task):
                continue
            missing = [one for one in documents if one.key not in known]
            for start in range(0, len(missing), CHUNK * batch_size):
                scores = scoring.scores(missing[start : start + CHUNK * batch_size])
                may_write()
                ledger.append(scores)
                steps.update(f"{stage}, {column.task}", start + len(scores), len(missing))
            done += Answered(len(missing), len(documents) - len(missing))
    return done


class TextScoring:
    """Puts text tasks to one speaker.

    Args:
        speaker: the model, for the keys of the scores.
        lm: the same model under its defence.
    """

    def __init__(self, speaker: Speaker, lm: GreavesLM) -> None:
        self.speaker, self.lm = speaker, lm

    def column(self, task: TextTask) -> tuple[TextColumn, list[Document]]:
        """What is asked of one task, and its documents; none where the model cannot answer it."""
        left_out = ""
        if task.needs_weights and self.lm.tokenizer is None:
            left_out = f"{self.speaker.model.name} is a black box and gives no log-likelihoods"
        elif self.lm.model.changes_answers:
            left_out = "the defence changes answers, and those of text tasks do not pass it"
        elif self.lm.prompts(False)[1] and not task.spec.chat_template:
            left_out = "the defence's prompt suffix has no place without chat_template"
        leaves = [] if left_out else task.leaves
        documents = [one for name in leaves for one in self._documents(task, name)]
        column = TextColumn(
            task=task.spec.shown,
            metric=task.metric,
            higher_is_better=task.higher_is_better,
            lm_eval=lm_eval.__version__,
            keys=tuple(one.key for one in documents),
            left_out=left_out,
        )
        return column, documents

    def _documents(self, task: TextTask, name: str) -> Iterator[Document]:
        leaf, spec = task.leaves[name], task.spec
        leaf.set_fewshot_seed(FEWSHOT_SEED)  # anew: building requests draws examples
        with redirect_stderr(StringIO()):  # lm-eval draws a bar of its own
            leaf.build_all_requests(
                limit=spec.limit,
                system_instruction=self.lm.prompts(spec.chat_template)[0],
                apply_chat_template=spec.chat_template,
                fewshot_as_multiturn=spec.fewshot_as_multiturn,
                chat_template=self.lm.apply_chat_template if spec.chat_template else None,
            )
        by_document: dict[int, list[Instance]] = defaultdict(list)
        for request in leaf.instances:
            by_document[request.doc_id].append(request)
        settings = content_hash({"task": name, "settings": _settings(leaf)})
        for doc_id, requests in by_document.items():
            requests.sort(key=lambda one: one.idx)
            key = self.speaker.key(
                {
                    "lm_eval": lm_eval.__version__,
                    "task": settings,
                    "doc_id": doc_id,
                    "doc": _plain(requests[0].doc),
                    "requests": [_plain([one.request_type, *one.args]) for one in requests],
                }
            )
            yield Document(key, task, name, doc_id, tuple(requests))

    def scores(self, documents: Sequence[Document]) -> list[TextScore]:
        """Ask for the documents of one task, all at once.

        Raises:
            ModelError: the model cannot answer.
        """
        by_type: dict[str, list[Instance]] = defaultdict(list)
        for document in documents:
            for request in document.requests:
                by_type[request.request_type] += [request] * (request.repeats or 1)
        for kind, requests in by_type.items():
            for request in requests:
                request.resps = []
            for request, answer in zip(requests, getattr(self.lm, kind)(requests), strict=True):
                request.resps.append(answer)
        return [self._score(document) for document in documents]

    def _score(self, document: Document) -> TextScore:
        leaf = document.task.leaves[document.leaf]
        metrics: dict[str, float] = {}
        weight = 1.0
        for chain in leaf._filters:
            chain.apply(list(document.requests))
            answers = [request.filtered_resps[chain.name] for request in document.requests]
            found = leaf.process_results(document.requests[0].doc, answers)
            for metric, value in found.items():
                name = _called(metric, chain.name)
                if leaf.aggregation().get(metric) is bits_per_byte:
                    weight = float(value[1])
                    metrics[name] = -float(value[0]) / weight / log(2) if weight else 0.0
                elif isinstance(value, Real) and isfinite(value):
                    metrics[name] = float(value)
        return TextScore(
            key=document.key,
            model=self.speaker.model.name,
            method=self.speaker.method,
            seed=self.speaker.seed,
            task=document.task.spec.shown,
            leaf=document.leaf,
            doc_id=document.doc_id,
            metrics=metrics,
            weight=weight,
        )


def _settings(leaf: Any) -> Any:
    """A task's configuration, without where its documents lie; code by its source."""
    content = leaf.dump_config()
    metadata = content.get("metadata") or {}
    kept = {name: value for name, value in content.items() if name not in (*_WHERE, "metadata")}
    return _plain({**kept, "version": metadata.get("version", leaf.VERSION)})


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_described, sort_keys=True))


def _described(value: Any) -> str:
    if callable(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return str(getattr(value, "__qualname__", type(value).__qualname__))
    return str(value)
