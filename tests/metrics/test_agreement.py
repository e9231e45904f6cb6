from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from hundredfold.metrics import Resamples, cohen_kappa, krippendorff_alpha

COUNT = 200


def drawn(images: int) -> Resamples:
    return Resamples.draw(range(images), repeats=1, count=COUNT, seed=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    value = cohen_kappa(first, second, drawn(len(pairs))).value
    if len({*first, *second}) == 1:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(cohen_kappa_score(first, second))


def test_the_interval_of_kappa_is_the_plain_bootstraps() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 60)
    second = np.where(rng.random(60) < 0.7, first, rng.integers(0, 3, 60))
    resamples = drawn(60)
    found = cohen_kappa(first, second, resamples)
    values = []
    for counts in resamples.group_counts.astype(int):
        rows = np.repeat(np.arange(60), counts)
        values.append(cohen_kappa_score(first[rows], second[rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    assert found.low < found.value < found.high


def test_after_complete_agreement_the_lower_end_is_below_one() -> None:
    reads = np.arange(20) % 2
    found = cohen_kappa(reads, reads, drawn(20))
    agreed = 0.025 ** (1 / 20)
    assert found == pytest.approx((1.0, (agreed - 0.5) / 0.5, 1.0))
    alpha = krippendorff_alpha([reads, reads], drawn(20))
    assert alpha.value == 1
    assert found.low == pytest.approx(alpha.low, abs=0.02)


def test_few_images_have_no_interval() -> None:
    found = cohen_kappa([0, 1, 0], [0, 1, 1], drawn(3))
    assert np.isnan([found.low, found.high]).all()
    assert found.value == pytest.approx(0.4)


def test_alpha_is_that_of_the_published_example() -> None:
    """Krippendorff 2011, section C: four observers, twelve units, missing data; nominal alpha .743."""
    gone = -1
    reads = np.array([
        [1, 2, 3, 3, 2, 1, 4, 1, 2, gone, gone, gone],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gone, 3],
        [gone, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gone],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gone],
    ])
    assert krippendorff_alpha(reads, drawn(12)).value == pytest.approx(0.743, abs=5e-4)


def by_pairs(reads: NDArray[np.int64]) -> float:
    """Alpha from its definition: mean disagreement within units, and among all reads that have a partner."""
    units = [[read for read in column if read >= 0] for column in reads.T]
    units = [unit for unit in units if len(unit) > 1]
    every = [read for unit in units for read in unit]
    within = sum(
        np.mean([a != b for a, b in permutations(unit, 2)]) * len(unit) for unit in units
    ) / len(every)
    return float(1 - within / np.mean([a != b for a, b in permutations(every, 2)]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=4, max_size=15))
def test_alpha_is_its_definition_by_pairs(columns: list[list[int]]) -> None:
    reads = np.array(columns).T
    told = [unit for unit in ([r for r in column if r >= 0] for column in columns) if len(unit) > 1]
    value = krippendorff_alpha(reads, drawn(len(columns))).value
    if len({read for unit in told for read in unit}) < 2:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(by_pairs(reads))
