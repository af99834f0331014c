"""Length buckets keep an epoch's examples and make batches even."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greaves.align.training.fine_tuning import length_buckets


@given(st.lists(st.integers(1, 500), max_size=120), st.integers(1, 17), st.integers(0, 9))
def test_every_index_of_the_epoch_stays_once(lengths: list[int], batch: int, seed: int) -> None:
    order = random.Random(seed).sample(range(len(lengths)), len(lengths))
    arranged = length_buckets(order, lengths, batch, seed)
    assert sorted(arranged) == sorted(order)
    assert arranged == length_buckets(order, lengths, batch, seed)


def padding_ratio(order: list[int], lengths: list[int], batch_size: int) -> float:
    """Padded tokens over real tokens when each batch is padded to its longest row; 1 at best."""
    padded = real = 0
    for start in range(0, len(order), batch_size):
        batch = [lengths[index] for index in order[start : start + batch_size]]
        padded, real = padded + max(batch) * len(batch), real + sum(batch)
    return padded / real


def epoch(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Tokens of spoken questions of 2 to 6 s (25 a second) with prompts of 20 to 40 tokens."""
    chooser = random.Random(seed)
    lengths = [round(25 * chooser.uniform(2, 6)) + chooser.randint(20, 40) for _ in range(count)]
    return chooser.sample(range(count), count), lengths


@pytest.mark.parametrize("batch", [4, 16])
def test_padding_all_but_goes(batch: int) -> None:
    order, lengths = epoch(1400, seed=3)
    arranged = length_buckets(order, lengths, batch, seed=5)
    assert padding_ratio(order, lengths, batch) > 1.2
    assert padding_ratio(arranged, lengths, batch) < 1.06


def test_batches_do_not_come_sorted_by_length() -> None:
    order, lengths = epoch(1400, seed=3)
    arranged = length_buckets(order, lengths, 16, seed=5)
    means = [sum(lengths[i] for i in arranged[at : at + 16]) for at in range(0, 1392, 16)]
    rising = sum(a < b for a, b in itertools.pairwise(means))
    assert 0.3 < rising / len(means) < 0.7


def test_two_epochs_bring_other_examples_together() -> None:
    _, lengths = epoch(320, seed=3)
    chooser = random.Random(1)
    partners = []
    for number in range(2):
        order = chooser.sample(range(320), 320)
        arranged = length_buckets(order, lengths, 16, seed=number)
        partners.append({frozenset(arranged[at : at + 16]) for at in range(0, 320, 16)})
    assert not partners[0] & partners[1]


def test_an_incomplete_batch_stays_last() -> None:
    order, lengths = epoch(35, seed=3)
    assert length_buckets(order, lengths, 16, seed=5)[32:] == order[32:]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        length_buckets([0], [1], 0, seed=0)
