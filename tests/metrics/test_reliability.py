"""Calibration error and log loss against scikit-learn and brute force, and what they say of the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from hundredfold.metrics import Resamples, reliability


def said(count: int, classes: int = 3, repeats: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities without fault, and truths drawn by those of the first repeat."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), (repeats, count))
    truth = (random.random(count)[:, None] > probabilities[0].cumsum(axis=1)).sum(axis=1)
    return truth, probabilities


@settings(max_examples=30)
@given(st.integers(20, 60), st.integers(2, 4), st.integers(0, 10**6))
def test_error_and_loss_are_those_of_brute_force(count: int, classes: int, seed: int) -> None:
    truth, probabilities = said(count, classes, seed=seed)
    sizes = np.bincount(truth, minlength=classes)
    found = reliability(truth, probabilities, shares=sizes / count)  # as they are: every image counts once
    sure, right = probabilities[0].max(axis=1), probabilities[0].argmax(axis=1) == truth
    edges = np.quantile(sure, np.arange(1, 10) / 10)
    bins = (sure[:, None] > edges).sum(axis=1)
    gaps = [(bins == k).sum() * abs(sure[bins == k].mean() - right[bins == k].mean()) for k in set(bins)]
    assert found.error.value == pytest.approx(sum(gaps) / count)
    assert found.loss.value == pytest.approx(log_loss(truth, probabilities[0], labels=range(classes)))
    assert found.share.sum() == pytest.approx(1)


def test_probabilities_without_fault_have_the_error_that_is_expected_of_them() -> None:
    truth, probabilities = said(5000)
    found = reliability(truth, probabilities, shares=np.bincount(truth) / 5000)
    assert found.error.value == pytest.approx(found.expected, abs=0.01)
    sharp = probabilities**3 / (probabilities**3).sum(axis=2, keepdims=True)
    assert reliability(truth, sharp).error.value > 5 * found.expected


def test_the_interval_holds_the_value_and_is_that_of_groups() -> None:
    truth, probabilities = said(400, repeats=3)
    twice = np.repeat(truth, 2), np.repeat(probabilities, 2, axis=1)
    groups = np.arange(400)
    alone = reliability(truth, probabilities, Resamples.draw(groups, 3, 300, 0))
    copies = reliability(*twice, Resamples.draw(np.repeat(groups, 2), 3, 300, 0))
    assert copies.loss == pytest.approx(alone.loss)
    assert alone.loss.low < alone.loss.value < alone.loss.high
    inside = (alone.right[:, 1] <= alone.right[:, 0]) & (alone.right[:, 0] <= alone.right[:, 2])
    assert inside.all()
    few = reliability(truth, probabilities, Resamples.draw(groups % 9, 3, 300, 0))
    assert np.isnan([few.loss.low, few.error.high]).all()


def test_classes_count_by_their_shares() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    probabilities = np.tile([0.9, 0.1], (1, 100, 1))
    assert reliability(truth, probabilities, shares=[0.9, 0.1]).error.value == pytest.approx(0)
    assert reliability(truth, probabilities).error.value == pytest.approx(0.4)


def test_the_interval_of_the_error_holds_the_error_and_0_where_probabilities_are_without_fault() -> None:
    """Resamples have more error than the images: their percentiles held 0 never, and the error not always."""
    below, faulty = 0, 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        sure = random.uniform(0.5, 1, 100)
        said_of = np.stack([sure, 1 - sure], axis=1)[None]
        drawn = Resamples.draw(np.arange(100), 1, 60, 0)
        for right, count in ((sure, 1), (sure - 0.35, 0)):
            truth = (random.random(100) > right).astype(int)
            found = reliability(truth, said_of, drawn, shares=np.bincount(truth) / 100).error
            assert found.low <= found.value <= found.high
            below += count * (found.low == 0)
            faulty += (1 - count) * (found.low > 0)
    assert below >= 18
    assert faulty >= 18


def test_answers_that_are_all_right_are_no_certainty_and_few_have_no_interval() -> None:
    truth = np.zeros(40, int)
    truth[30:] = np.arange(10) % 2
    sure = np.repeat([0.99, 0.6], [30, 10])
    said_of = np.stack([sure, 1 - sure], axis=1)[None]
    found = reliability(truth, said_of, Resamples.draw(np.arange(40), 1, 200, 0), shares=[7 / 8, 1 / 8])
    assert found.right[1] == pytest.approx([1, 0.025 ** (1 / 30), 1])
    few = reliability(truth, said_of, Resamples.draw(np.r_[np.arange(30), [30] * 10], 1, 200, 0))
    assert np.isnan(few.right[:, 1]).tolist() == [True, False]
