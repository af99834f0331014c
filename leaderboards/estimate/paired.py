"""What every question adds to the difference of every two methods of a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from greaves.leaderboards.read.means import Means, aligned

Matrix = NDArray[np.float64]


class Part(NamedTuple):
    """One addend of a metric: `weight` times the mean over questions of `means`.

    `group` tells questions apart that share an id but are not the same (harmful, benign). NSI is
    -ASR - ORR and a constant of the vanilla model, which no difference of two methods depends on.
    """

    weight: float
    group: str
    means: Mapping[str, float]


Parts = Sequence[Part]
"""A metric of one method as a sum over questions; the methods compared have the same parts."""


@dataclass(frozen=True)
class Contributions:
    """Contributions of the questions that any two methods share.

    Attributes:
        groups: one matrix a group of questions, [pairs, questions]; NaN where the two methods do
            not share the question, or share none at all in one of the parts.
        by_method: [methods, questions] of all groups side by side: what two rows differ by is the
            pair's contributions. None if methods lack different questions.
    """

    groups: Sequence[Matrix]
    by_method: Matrix | None

    @property
    def terms(self) -> Matrix:
        """[pairs, questions] of all groups side by side; 0 where a pair lacks the question."""
        return np.nan_to_num(np.hstack(self.groups))


def contributions(
    methods: Sequence[Parts], first: NDArray[np.intp], second: NDArray[np.intp]
) -> Contributions:
    """Pair methods question by question.

    Args:
        methods: the same parts in the same order for every method.
        first: [pairs], place of one method in `methods`.
        second: [pairs], place of the other.
    """
    groups: list[Matrix] = []
    by_method: list[Matrix] | None = []
    shared = np.ones(len(first), dtype=bool)
    for group in sorted({part.group for part in methods[0]}):
        parts = [place for place, part in enumerate(methods[0]) if part.group == group]
        means = [Means.of(method[place].means) for place in parts for method in methods]
        ids, together = aligned(means)
        terms, found = np.zeros((len(first), len(ids))), np.zeros((len(first), len(ids)), bool)
        own = np.zeros((len(methods), len(ids)))
        for place, values in zip(
            parts, together.reshape(len(parts), len(methods), len(ids)), strict=True
        ):
            weight, there = methods[0][place].weight, ~np.isnan(values)
            both = there[first] & there[second]
            n = np.count_nonzero(both, axis=1)
            difference = np.where(both, values[first] - values[second], 0.0)
            terms += weight * difference / np.maximum(n, 1)[:, None]
            found |= both
            shared &= n > 0
            own += weight * np.nan_to_num(values) / max(1, int(np.count_nonzero(there[0])))
            by_method = by_method if (there == there[0]).all() else None
        kept = found.any(axis=0)
        groups.append(np.where(found, terms, np.nan)[:, kept])
        by_method = None if by_method is None else [*by_method, own[:, kept]]
    for terms in groups:
        terms[~shared] = np.nan
    asked = [~np.isnan(terms).all(axis=0) for terms in groups]
    return Contributions(
        [terms[:, kept] for terms, kept in zip(groups, asked, strict=True)],
        None if by_method is None or not shared.all() else np.hstack(by_method),
    )
