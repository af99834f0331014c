"""What a model or a judge behind a network has cost: requests, tokens, money."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.requests + sign * other.requests,
            self.retries + sign * other.retries,
            self.prompt_tokens + sign * other.prompt_tokens,
            self.response_tokens + sign * other.response_tokens,
            (self.cost or 0.0) + sign * (other.cost or 0.0) if costs else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)
