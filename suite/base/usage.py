"""What a model or a judge behind a network has cost: requests, tokens, money."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Usage:
    """Counts since some moment; the difference of two is what was spent between them.

    Attributes:
        requests: answered, repeated ones included.
        retries: requests that had to be repeated.
        prompt_tokens: as the server counted them.
        response_tokens: as the server counted them.
        cost: US dollars at the prices given; None where no price is known.
    """

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        return self._joined(other, 1)

    def __sub__(self, other: Usage) -> Usage:
        return self._joined(other, -1)

    def _joined(self, other: Usage, sign: int) -> Usage:
        pairs = zip(astuple(self)[:-1], astuple(other)[:-1], strict=True)
        known = [self.cost, other.cost] != [None, None]
        cost = (self.cost or 0.0) + sign * (other.cost or 0.0) if known else None
        return Usage(*[*(one + sign * two for one, two in pairs), cost])
