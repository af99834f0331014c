"""The contract of a judge: responses in, verdicts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from greaves.records import Question, Response, Verdict


class Judge(ABC):
    """Says of each response whether it refused, did harm, answered, or how well it answered.

    A judge never needs the model that answered. Where it cannot tell, or fails, the verdict is
    "unscored" with the reason: never 0, never safe. Unscored responses are judged again on the
    next run.

    Attributes:
        name: name in recipes.
        version: changes whenever the same response could get another verdict.
        by_rule: the same text gets the same verdict anywhere, so that a stranger can judge again.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    by_rule: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        """Name and version, as every verdict carries them."""
        return f"{self.name}@{self.version}"

    @abstractmethod
    def judge(self, items: Sequence[tuple[Question, Response]]) -> list[Verdict]:
        """One verdict an item, in order."""
