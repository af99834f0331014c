"""The contract of a judge: responses in, verdicts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from greaves.base.errors import ModelError
from greaves.base.records import Kind, Outcome, Question, Response, Verdict, content_hash
from greaves.base.registry import Registry, registry
from greaves.base.usage import Usage

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Judge(ABC):
    """Says of each response whether it refused, did harm, answered, or how well it answered.

    A judge never needs the model that answered. Where it cannot tell, or fails, the verdict is
    "unscored" with the reason: never 0, never safe. Unscored responses are judged again on the
    next run.

    Attributes:
        name: name in recipes.
        version: changes whenever the same response could get another verdict.
        by_rule: the same text gets the same verdict anywhere, so that a stranger can judge again.
        takes_address: recipes name it `NAME:ADDRESS`, and its constructor gets the address first.
        batch_size: responses judged between two writes to disk.

    Options of a recipe reach the constructor as keyword arguments.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    by_rule: ClassVar[bool] = False
    takes_address: ClassVar[bool] = False
    batch_size: ClassVar[int] = 512

    @property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of questions whose responses it can judge."""
        return frozenset(get_args(Kind))

    @property
    def settings(self) -> dict[str, Any]:
        """All besides the version that could give another verdict, as JSON values; no secrets."""
        return {}

    @property
    def identity(self) -> str:
        """Name and version, and a hash of the settings if there are any; every verdict has it."""
        settings = f"+{content_hash(self.settings)[:8]}" if self.settings else ""
        return f"{self.name}@{self.version}{settings}"

    def usage(self) -> Usage | None:
        """What has been spent so far; None for a judge that costs nothing by request."""
        return None

    @abstractmethod
    def judge(self, items: Sequence[tuple[Question, Response]]) -> list[Verdict]:
        """One verdict per item, in order."""


def judge_options(form: type[OptionsT], options: Mapping[str, Any], judge: str) -> OptionsT:
    """A judge's options in their form. Raises ModelError that names the one that is wrong."""
    try:
        return form.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"option {where!r} of judge {judge!r}: {first['msg']}") from None


class RuleJudge(Judge):
    """A judge that reads one response after the other by a rule, and asks nobody."""

    by_rule: ClassVar[bool] = True

    @abstractmethod
    def read(self, question: Question, response: Response) -> tuple[Outcome, str, float | None]:
        """Outcome, reason, and the score where the outcome is "scored"."""

    def judge(self, items: Sequence[tuple[Question, Response]]) -> list[Verdict]:
        identity, verdicts = self.identity, []
        for question, response in items:
            outcome, reason, score = self.read(question, response)
            verdicts.append(
                Verdict.of(response, judge=identity, outcome=outcome, reason=reason, score=score)
            )
        return verdicts


JUDGES: Registry[type[Judge]] = registry("judge")
register_judge = JUDGES.register
