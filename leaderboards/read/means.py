"""One number a question, as an array that lines up with those of other methods and modes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Means(Mapping[str, float]):
    """Question id -> number; ids that have none are left out.

    Args:
        ids: sorted; all questions that may have a number.
        numbers: [questions], in the order of `ids`; NaN where there is none.
    """

    def __init__(self, ids: tuple[str, ...], numbers: Vector) -> None:
        self.ids, self.numbers = ids, numbers
        self.there: NDArray[np.bool_] = ~np.isnan(numbers)

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> Means:
        """The same numbers as `Means`."""
        if isinstance(numbers, cls):
            return numbers
        ids = tuple(sorted(numbers))
        return cls(ids, np.array([numbers[one] for one in ids], dtype=np.float64))

    @property
    def present(self) -> Vector:
        """The numbers alone, by id."""
        return self.numbers[self.there]

    def minus(self, other: Means) -> Means:
        """The differences on the questions that both have."""
        ids, (own, others) = aligned([self, other])
        return Means(ids, own - others)

    def __getitem__(self, question: str) -> float:
        place = self._places.get(question)
        if place is None:
            raise KeyError(question)
        return float(self.numbers[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.there))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {self.ids[place]: place for place in np.flatnonzero(self.there).tolist()}


def aligned(numbers: Sequence[Means]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """All on the same questions.

    Returns:
        Sorted ids, and [numbers, questions] with NaN where one has no number.
    """
    if len({one.ids for one in numbers}) == 1:
        return numbers[0].ids, np.stack([one.numbers for one in numbers])
    ids = tuple(sorted({one for ids in {one.ids for one in numbers} for one in ids}))
    place = {one: index for index, one in enumerate(ids)}
    places = {one.ids: [place[name] for name in one.ids] for one in numbers}
    matrix = np.full((len(numbers), len(ids)), np.nan)
    for row, one in enumerate(numbers):
        matrix[row, places[one.ids]] = one.numbers
    return ids, matrix
