"""Text tasks in a cell: what is not scored yet, asked and kept as it comes; what is current."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greaves.answer.text_tasks import TextColumn, TextScore, TextTaskSpec
from greaves.base.run_folder import CellFolder
from greaves.base.store import Ledger, read_lines, write_text
from greaves.base.usage import Usage

if TYPE_CHECKING:  # a table reads the scores, and torch takes seconds to import
    from greaves.align.defence import Defence
    from greaves.answer.answering import Answered
    from greaves.answer.keys import Speaker
    from greaves.answer.lm_eval.text_tasks import TextTask
    from greaves.base.progress import Steps


def load_text_tasks(specs: Sequence[TextTaskSpec], folder: Path) -> list[TextTask]:
    """The text tasks of a recipe with their documents.

    Args:
        specs: as the recipe names them.
        folder: where the recipe lies; paths in it start from there.

    Raises:
        DataError: the data set of one is not on this machine.
    """
    if not specs:
        return []
    from greaves.answer.lm_eval.text_tasks import load_text_task  # imports lm_eval: seconds

    return [load_text_task(spec, folder) for spec in specs]


CHUNK = 8
"""Batches of documents between two writes to disk."""


def columns_path(place: CellFolder) -> Path:
    """What a cell was asked of text tasks, as of its last start."""
    return place.path / "text_tasks.jsonl"


def text_ledger(place: CellFolder) -> Ledger[TextScore]:
    """The scores so far, ready to be appended to."""
    return Ledger(place.path / "text_scores.jsonl", TextScore)


def current_columns(place: CellFolder) -> list[tuple[TextColumn, list[TextScore]]]:
    """The cell's text tasks with the scores that are current; stale lines are left out."""
    columns = read_lines(columns_path(place), TextColumn)
    if not columns:
        return []
    scores = {item.key: item for item in read_lines(place.path / "text_scores.jsonl", TextScore)}
    return [(column, [scores[key] for key in column.keys if key in scores]) for column in columns]


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
        place: the cell.
        speaker: the model, nothing attached.
        defence: attached meanwhile.
        tasks: the recipe's text tasks.
        batch_size: rows at a time.
        steps: where progress is shown.
        stage: what it is called there.
        only: whether a column is to be answered now.
        may_write: called before scores are appended; raises where the cell is another's now.

    Raises:
        GreavesError: the model cannot answer; what it has answered is kept.
    """
    from greaves.answer.lm_eval.text_tasks import TextScoring  # imports lm_eval: seconds

    model = speaker.model
    before = model.usage() or Usage()
    asked = found = 0
    try:
        with defence.attached(model) as defended:
            speaker = replace(speaker, defended=defended)
            scoring = TextScoring(speaker, batch_size, lambda line: steps.say(f"{stage}: {line}"))
            columns = [scoring.column(task) for task in tasks]
            may_write()
            write_text(
                columns_path(place), "".join(f"{column.to_line()}\n" for column, _ in columns)
            )
            ledger = text_ledger(place)
            known = {item.key for item in ledger.records}
            for column, documents in columns:
                if column.left_out:
                    steps.say(f"{stage}, {column.task}: left out: {column.left_out}")
                if not only(column.task):
                    continue
                missing = [one for one in documents if one.key not in known]
                found += len(documents) - len(missing)
                for start in range(0, len(missing), CHUNK * batch_size):
                    scores = scoring.scores(missing[start : start + CHUNK * batch_size])
                    may_write()
                    ledger.append(scores)
                    asked += len(scores)
                    steps.update(f"{stage}, {column.task}", start + len(scores), len(missing))
    finally:
        after = model.usage()
        place.add_usage(model.name, after - before if after else None)
    from greaves.answer.answering import Answered

    return Answered(asked, found)
