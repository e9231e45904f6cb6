"""Reads against every order of small pools, and against readers who read at random."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.learn.reads import expected_reads, reads_of_class


def reads_of_order(order: tuple[int, ...] | np.ndarray, wanted: list[int]) -> int:
    """How far one reader reads: image by image, counting."""
    have = [0] * len(wanted)
    for count, label in enumerate(order, start=1):
        have[label] += 1
        if all(a >= b for a, b in zip(have, wanted, strict=True)):
            return count
    return len(order)


@pytest.mark.parametrize(
    ("sizes", "n"), [([1, 1], 1), ([2, 3], 1), ([2, 4], 2), ([1, 2, 3], 1), ([3, 4], 3), ([2, 2, 2], 2)]
)
def test_the_mean_over_every_order_of_a_small_pool(sizes: list[int], n: int) -> None:
    pool = tuple(np.repeat(range(len(sizes)), sizes).tolist())
    mean = np.mean([reads_of_order(order, [n] * len(sizes)) for order in permutations(pool)])
    assert expected_reads(sizes, n) == pytest.approx(mean, abs=2e-3)


def test_readers_who_read_at_random() -> None:
    sizes, n = [30, 200, 770], 20
    pool = np.repeat(range(3), sizes)
    random = np.random.default_rng(0)
    read = [reads_of_order(random.permutation(pool), [n] * 3) for _ in range(400)]
    assert expected_reads(sizes, n) == pytest.approx(np.mean(read), abs=4 * np.std(read) / 20)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=2, max_size=6), st.integers(1, 50))
def test_more_labels_cost_more_and_never_less_than_the_rarest_class_alone(sizes: list[int], n: int) -> None:
    total = sum(sizes)
    reads = expected_reads(sizes, n)
    assert reads <= expected_reads(sizes, n + 1) + 1e-6 <= total + 1e-6
    assert reads >= max(reads_of_class(size, total, n) for size in sizes) - total / 20_000
    assert reads >= min(total, n * len(sizes)) * 0.999


def test_a_class_that_never_has_enough_is_read_to_the_end() -> None:
    assert expected_reads([5, 1000], 6) == 1005
    assert reads_of_class(5, 1005, 6) == 1005
