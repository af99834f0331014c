"""The leaderboard as rows: one metric of one method on one model, with its 95 % interval."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from greaves.base.records import Mode, Verdict
from greaves.leaderboards.board.metric_rows import change_row, level_row, net_rows
from greaves.leaderboards.board.row import Row
from greaves.leaderboards.board.standing import AgainstBest, stand
from greaves.leaderboards.estimate import net
from greaves.leaderboards.estimate.contrasts import Parts, level_parts, net_parts
from greaves.leaderboards.estimate.metrics import (
    AFTER,
    LEVELS,
    PERCENT,
    Metric,
    is_durability,
    plain,
)
from greaves.leaderboards.estimate.statistics import DEFAULT_SEED
from greaves.leaderboards.read.slices import (
    VANILLA,
    Slice,
    by_model,
    nsi_tasks,
    sort_verdicts,
    split,
)

__all__ = ["LEVELS", "PERCENT", "Board", "Metric", "Row", "board", "leaderboard"]


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

    ASR for every harmful task, ORR for every benign one, HS for every chat one; then, for every
    method but vanilla, NSI per mode and Avg. NSI against the vanilla rows of the same model and
    judge. Which tasks enter NSI is told by `nsi_tasks`. NSI is paired on the questions that both
    answered (`greaves.leaderboards.board.notes.gaps` tells where some are left out), and Avg. NSI
    is given only where the method covers every mode that vanilla covers. Verdicts of different
    judges are never mixed. Several training seeds of a method are pooled question by question.

    A cell under a stress (`rrs~benign-finetuning`) is no method of its own: what it answered
    becomes further metrics of the method (`asr_after` and so on), and NSI after is against vanilla
    as it was before any stress.

    Args:
        verdicts: in any order; the rows do not depend on it.
        label: copied to every row.
        seed: of the bootstrap.

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

    def of_group(name: tuple[str, str]) -> Board:
        return _of_model(groups[name], tasks[name[0]], label, seed)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        parts = list(threads.map(of_group, groups))
    return Board([row for part in parts for row in part.rows], [t for p in parts for t in p.tests])


def _of_model(
    group: Sequence[Slice], tasks: tuple[dict[Mode, str], str | None], label: str, seed: int
) -> Board:
    """The board of one model and judge."""
    before, after = (_Group.of(part, tasks) for part in split(group))
    vanilla = before.sides.get(VANILLA)
    rows: list[Row] = []
    for method in dict.fromkeys([*before.sides, *after.sides]):
        rows += [level_row(one, label, seed) for one in before.by(method)]
        if method != VANILLA and vanilla and method in before.sides:
            rows += net_rows(vanilla, before.sides[method], label, seed)
        rows += _durability(method, before, after, label, seed)
    return Board(*_ranked(rows, before, after, seed))


@dataclass(frozen=True)
class _Group:
    """The slices of one model and judge, all before or all after a stress."""

    slices: Mapping[tuple[str, str], Slice]
    sides: Mapping[str, net.Side]

    @classmethod
    def of(cls, slices: Sequence[Slice], tasks: tuple[dict[Mode, str], str | None]) -> _Group:
        methods = dict.fromkeys(one.method for one in slices)
        return cls(
            {(one.method, one.key.task): one for one in slices},
            {
                name: net.side([one for one in slices if one.method == name], tasks)
                for name in methods
            },
        )

    def by(self, method: str) -> list[Slice]:
        return [one for one in self.slices.values() if one.method == method]

    def parts(self, row: Row, modes: Sequence[Mode]) -> Parts:
        """What a row's value is the sum of; `modes` are those of Avg. NSI."""
        if plain(row.metric) in LEVELS.values():
            return level_parts(self.slices[row.method, str(row.task)])
        return net_parts(self.sides[row.method], [row.mode] if row.mode else modes)


def _durability(method: str, before: _Group, after: _Group, label: str, seed: int) -> list[Row]:
    """What a method is under a stress; nothing if it was not put under one."""
    rows: list[Row] = []
    for one in after.by(method):
        rows.append(level_row(one, label, seed))
        there = before.slices.get((method, one.key.task))
        if one.key.kind == "harmful" and there:
            rows.append(change_row(there, one, label, seed))
    if method in after.sides and VANILLA in before.sides:
        rows += net_rows(before.sides[VANILLA], after.sides[method], label, seed)
    return [row.model_copy(update={"metric": AFTER.get(row.metric, row.metric)}) for row in rows]


def _ranked(
    rows: Sequence[Row], before: _Group, after: _Group, seed: int
) -> tuple[list[Row], list[AgainstBest]]:
    """Rank every column of one model; the rows keep their order."""
    families: dict[tuple[Metric, str | None], list[Row]] = {}
    for row in rows:
        if row.metric != "asr_change":  # a change tells of one method alone
            families.setdefault((row.metric, row.task), []).append(row)

    def parts(row: Row) -> Parts:
        group = after if is_durability(row.metric) else before
        return group.parts(row, list(before.sides[VANILLA].harmful) if not row.mode else [])

    ranked: dict[tuple[str, Metric, str | None], Row] = {}
    tests: list[AgainstBest] = []
    for family in families.values():
        placed, found = stand(family, {row.method: parts(row) for row in family}, seed=seed)
        ranked |= {(row.method, row.metric, row.task): row for row in placed}
        tests += found
    return [ranked.get((row.method, row.metric, row.task), row) for row in rows], tests
