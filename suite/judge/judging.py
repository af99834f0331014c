"""From responses to verdicts: which judge, what is still open, and writing as it goes.

Judging needs no model that answered, so it can be done later, again, or by a second judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from greaves.base.errors import GreavesError, RecipeError
from greaves.base.records import Question, Response, Verdict
from greaves.base.run_folder import CellFolder, RunFolder
from greaves.base.store import Ledger
from greaves.base.usage import Usage
from greaves.judge.contract import JUDGES, Judge


class JudgeSpec(BaseModel):
    """A judge as recipes name it: its registered name, or `NAME:ADDRESS`, and its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def registered(self) -> str:
        """Name in the registry, without an address."""
        return self.judge.partition(":")[0]


def make_judge(spec: str | JudgeSpec) -> Judge:
    """The judge that a recipe or a command names.

    Raises:
        RegistryError: there is no such judge.
        RecipeError: its options are not what it takes.
    """
    spec = JudgeSpec(judge=spec) if isinstance(spec, str) else spec
    kind = JUDGES.get(spec.judge)
    try:
        return kind(**spec.options)
    except TypeError as error:
        raise RecipeError(f"judge {spec.judge!r}: {error}") from None


@dataclass(frozen=True)
class Judged:
    """What one pass over a cell did.

    Attributes:
        judged: responses that the judge was shown.
        unscored: how many of them it could not tell.
        usage: what that cost.
    """

    judged: int
    unscored: int
    usage: Usage | None


def judge_responses(
    place: CellFolder,
    judge: Judge,
    questions: Iterable[Question],
    *,
    responses: Sequence[Response] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    may_write: Callable[[], None] = lambda: None,
) -> Judged:
    """Judge what is open in a cell: responses without a verdict, unscored ones, changed questions.

    Verdicts are appended after every `judge.batch_size` responses, so that a kill loses no more. A
    verdict that is the same as the last one is not written again.

    Args:
        place: the cell.
        judge: reads responses only; nothing that is judged is ever changed.
        questions: those whose responses are to be judged.
        responses: the cell's current responses, if they have been read already.
        progress: takes (judged so far, open at the start).
        may_write: called before verdicts are appended; raises where the cell is another's now.

    Raises:
        GreavesError: the judge does not give one verdict per response.
    """
    by_name = {(question.task, question.id): question for question in questions}
    ledger = place.verdicts(judge.identity)
    last = {item.key: item for item in ledger.records if item.judge == judge.identity}
    items = [
        (by_name[item.task, item.question_id], item)
        for item in (place.current_responses() if responses is None else responses)
        if (item.task, item.question_id) in by_name
    ]
    todo = [item for item in items if _is_open(last.get(item[1].key), item[0])]
    before, unscored = judge.usage(), 0
    for start in range(0, len(todo), judge.batch_size):
        chunk = todo[start : start + judge.batch_size]
        unscored += _judge_chunk(judge, chunk, ledger, last, may_write)
        progress(start + len(chunk), len(todo))
    after = judge.usage()
    spent = after - (before or Usage()) if after else None
    place.add_usage(judge.identity, spent)
    return Judged(len(todo), unscored, spent)


def _judge_chunk(
    judge: Judge,
    chunk: Sequence[tuple[Question, Response]],
    ledger: Ledger[Verdict],
    last: dict[str, Verdict],
    may_write: Callable[[], None],
) -> int:
    verdicts = judge.judge(chunk)
    if len(verdicts) != len(chunk):
        what = f"judge {judge.identity} gave {len(verdicts)} verdicts on {len(chunk)} responses"
        raise GreavesError(what, do="one verdict per response, in order")
    stamped = [
        verdict.model_copy(update={"question_hash": question.hash})
        for verdict, (question, _) in zip(verdicts, chunk, strict=True)
    ]
    may_write()
    ledger.append(item for item in stamped if last.get(item.key) != item)
    return sum(item.outcome == "unscored" for item in stamped)


def _is_open(last: Verdict | None, question: Question) -> bool:
    return last is None or last.outcome == "unscored" or last.question_hash != question.hash


def judge_facts(judge: Judge) -> dict[str, Any]:
    """What a judge's identity stands for: name, version, settings."""
    return {"name": judge.name, "version": judge.version, "settings": judge.settings}


def note_judge(run: RunFolder, judge: Judge, *, second_opinion: bool = False) -> None:
    """Write down in the run folder what an identity stands for.

    Args:
        run: where the judge reads.
        judge: whose identity it is.
        second_opinion: the recipe did not choose this judge; one that it chose stays chosen.
    """
    known, facts = run.judges(), judge_facts(judge)
    if second_opinion:
        facts = known.get(judge.identity, {**facts, "second_opinion": True})
    if known.get(judge.identity) != facts:
        run.write_judges({**known, judge.identity: facts})
