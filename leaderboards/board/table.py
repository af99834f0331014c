"""The leaderboard as rows: one metric of one method on one model, with its 95 % interval."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

from greaves.base.records import Mode, Verdict
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.standing import AgainstBest, stand
from greaves.leaderboards.estimate.metric import After, Answered, Case, Measured, Metric, metrics
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import VANILLA, Slice, by_model, sort_verdicts, split

_THREADS = 4


class Board(NamedTuple):
    """A whole leaderboard.

    Attributes:
        rows: every number (see `Row`).
        tests: every method against the best of its column.
    """

    rows: list[Row]
    tests: list[AgainstBest]


def leaderboard(
    verdicts: Iterable[Verdict], *, label: str = "", seed: int = DEFAULT_SEED
) -> list[Row]:
    """Verdicts in, rows out.

    ASR for every harmful task, ORR for every benign one, HS for every chat one, metrics of other
    packages where they ask; then, for every method but vanilla, NSI per mode and Avg. NSI against
    the vanilla rows of the same model and judge. Which tasks enter NSI is told by `nsi_tasks`. NSI
    is paired on the questions that both answered (`greaves.leaderboards.board.notes.gaps` tells
    where some are left out), and Avg. NSI is given only where the method covers every mode that
    vanilla covers. Verdicts of different judges are never mixed. Several training seeds of a method
    are pooled question by question.

    A cell under a stress (`rrs~benign-finetuning`) is no method of its own: what it answered
    becomes further metrics of the method (`asr_after` and so on), and NSI after is against vanilla
    as it was before any stress.

    Args:
        verdicts: in any order; the rows do not depend on it.

    Returns:
        Rows by judge, model, method (vanilla first), and metric.

    Raises:
        GreavesError: verdicts that cannot stand in one table (see `sort_verdicts`).
    """
    return board(verdicts, label=label, seed=seed).rows


def board(verdicts: Iterable[Verdict], *, label: str = "", seed: int = DEFAULT_SEED) -> Board:
    """The rows, and every method against the best of its column.

    Arguments and errors are those of `leaderboard`.
    """
    return board_of(sort_verdicts(verdicts), label=label, seed=seed)


def board_of(slices: Sequence[Slice], *, label: str = "", seed: int = DEFAULT_SEED) -> Board:
    """`board` of verdicts that are sorted already."""
    tasks = {
        judge: nsi_tasks(one.key for one in slices if one.judge == judge)
        for judge in dict.fromkeys(one.judge for one in slices)
    }
    groups = by_model(slices)

    known = metrics()

    def of_group(name: tuple[str, str]) -> Board:
        return _of_model(groups[name], tasks[name[0]], known, label, seed)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        parts = list(threads.map(of_group, groups))
    return Board([row for part in parts for row in part.rows], [t for p in parts for t in p.tests])


_Found: TypeAlias = tuple[Metric, Measured]


def _of_model(
    group: Sequence[Slice],
    tasks: tuple[Mapping[Mode, str], str | None],
    known: Sequence[Metric],
    label: str,
    seed: int,
) -> Board:
    """The board of one model and judge."""
    before, after = (answered(part, tasks) for part in split(group))
    plain = [one for one in known if not one.stressed]
    stressed = [*(After(one) for one in plain), *(one for one in known if one.stressed)]
    vanilla = before.get(VANILLA)
    found: list[_Found] = []
    for method in dict.fromkeys([*before, *after]):
        if method in before:
            rival = vanilla if method != VANILLA else None
            found += _measured(plain, Case(before[method], seed, rival))
        if method in after:
            found += _measured(stressed, Case(after[method], seed, vanilla, before.get(method)))
    return _ranked([Row.of(metric, one, label) for metric, one in found], found, seed)


def answered(
    slices: Iterable[Slice], tasks: tuple[Mapping[Mode, str], str | None]
) -> dict[str, Answered]:
    """Method -> what it answered; slices of one model and judge, in order."""
    by_method: dict[str, dict[str, Slice]] = {}
    for one in slices:
        by_method.setdefault(one.method, {})[one.key.task] = one
    return {method: Answered(own, tasks) for method, own in by_method.items()}


def _measured(metrics: Sequence[Metric], case: Case) -> list[_Found]:
    """All metrics of one method: by task and metric, then what rests on several tasks."""
    found = [(metric, one) for metric in metrics for one in metric.measure(case)]

    def place(item: _Found) -> tuple[object, ...]:
        metric, one = item
        alone = len(one.slices) == 1
        return (not alone, one.slices[0].order if alone else (), metric.order)

    return sorted(found, key=place)


def _ranked(rows: Sequence[Row], found: Sequence[_Found], seed: int) -> Board:
    """Rank every column of one model; the rows keep their order."""
    families: dict[tuple[str, str | None], list[int]] = {}
    for place, (row, (_, one)) in enumerate(zip(rows, found, strict=True)):
        if one.parts:
            families.setdefault((row.metric, row.task), []).append(place)
    ranked, tests = list(rows), []
    for places in families.values():
        parts = {rows[place].method: found[place][1].parts for place in places}
        placed, against = stand([rows[place] for place in places], parts, seed=seed)
        tests += against
        for place, row in zip(places, placed, strict=True):
            ranked[place] = row
    return Board(ranked, tests)
