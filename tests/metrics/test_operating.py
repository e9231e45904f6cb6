"""Operating points against counting image by image, Bayes' theorem and what a threshold promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score

from hundredfold.metrics import MIN_GROUPS, Resamples, operating_points, predictive_values, threshold
from hundredfold.metrics.operating import standardised

CLASSES = 3
SHARES = st.floats(0.01, 0.99)


def sample(seed: int, images: int = 60, repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and the yes-or-no answers of a mediocre classifier."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(CLASSES), random.integers(CLASSES, size=images - CLASSES)])
    right = random.random((repeats, images, CLASSES)) < 0.75
    return truth, np.where(right, np.eye(CLASSES, dtype=bool)[truth], random.random(right.shape) < 0.4)


@given(SHARES, SHARES, SHARES)
def test_predictive_values_are_shares_of_a_counted_population(s: float, c: float, p: float) -> None:
    table = {"hit": s * p, "missed": (1 - s) * p, "alarm": (1 - c) * (1 - p), "spared": c * (1 - p)}
    ppv, npv = predictive_values(s, c, p)
    assert ppv == pytest.approx(table["hit"] / (table["hit"] + table["alarm"]))
    assert npv == pytest.approx(table["spared"] / (table["spared"] + table["missed"]))


@given(SHARES, SHARES, SHARES)
def test_doubling_the_odds_of_the_class_doubles_the_odds_of_a_positive_answer(
    s: float, c: float, p: float
) -> None:
    """Post-test odds = pre-test odds · likelihood ratio."""
    twice = 2 * p / (1 + p)  # the prevalence of twice the odds
    one, two = predictive_values(s, c, p)[0], predictive_values(s, c, twice)[0]
    assert two / (1 - two) == pytest.approx(2 * one / (1 - one), rel=1e-6)


def test_predictive_values_without_an_answer_of_the_kind_are_unknown() -> None:
    assert np.isnan(predictive_values(0.0, 1.0, 0.5)[0])  # never called so
    assert np.isnan(predictive_values(1.0, 0.0, 0.5)[1])  # always


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_at_the_test_sets_prevalence_they_are_those_of_scikit_learn(seed: int) -> None:
    truth, called = sample(seed, repeats=1)
    for point in operating_points(truth, called, None):
        own, said = truth == point.class_number, called[0, :, point.class_number]
        assume(said.any() and not said.all())
        assert point.sensitivity.value == pytest.approx(recall_score(own, said))
        assert point.specificity.value == pytest.approx(recall_score(~own, ~said))
        assert point.ppv.value == pytest.approx(precision_score(own, said))
        assert point.npv.value == pytest.approx(precision_score(~own, ~said))
        assert (point.n_test, point.n_rest) == (own.sum(), (~own).sum())


@given(st.integers(0, 10_000), st.floats(0.02, 0.9))
@settings(max_examples=25, deadline=None)
def test_at_another_prevalence_they_are_those_of_a_test_set_with_that_mix(seed: int, share: float) -> None:
    """Against scikit-learn with every image weighted so that the classes have the stated shares."""
    truth, called = sample(seed, repeats=1)
    prevalence = np.array([share, (1 - share) * 0.7, (1 - share) * 0.3])
    weight = (prevalence / np.bincount(truth, minlength=CLASSES))[truth]
    for point in operating_points(truth, called, None, prevalence):
        own, said = truth == point.class_number, called[0, :, point.class_number]
        assume(said.any() and not said.all())
        assert point.specificity.value == pytest.approx(recall_score(~own, ~said, sample_weight=weight))
        assert point.ppv.value == pytest.approx(precision_score(own, said, sample_weight=weight))
        assert point.npv.value == pytest.approx(precision_score(~own, ~said, sample_weight=weight))


def test_intervals_equal_copying_out_every_resample() -> None:
    truth, called = sample(seed=4, images=80)
    group = np.arange(80) // 4
    drawn = Resamples.draw(group, repeats=2, count=30, seed=1)
    prevalence = np.array([0.1, 0.6, 0.3])
    found = operating_points(truth, called, drawn, prevalence)[0]
    values = []
    for counts, repeats in zip(drawn.group_counts, drawn.repeat_counts, strict=True):
        rows = np.repeat(np.arange(80), counts[group].astype(int))
        share = (prevalence / np.bincount(truth[rows], minlength=CLASSES))[truth[rows]]
        own = truth[rows] == 0
        chosen = np.repeat(np.arange(2), repeats.astype(int))
        s = np.mean([recall_score(own, called[r, rows, 0]) for r in chosen])
        c = np.mean([recall_score(~own, ~called[r, rows, 0], sample_weight=share) for r in chosen])
        values.append([s, c, 0.1 * s / (0.1 * s + 0.9 * (1 - c)), 0.9 * c / (0.9 * c + 0.1 * (1 - s))])
    expected = np.percentile(values, [2.5, 97.5], axis=0).T
    for estimate, ends in zip((found.sensitivity, found.specificity, found.ppv, found.npv), expected,
                              strict=True):
        np.testing.assert_allclose(estimate[1:], ends)


def test_an_interval_needs_ten_groups_of_the_side_it_speaks_of() -> None:
    truth = np.array([0] * 9 + [1] * 30)
    called = np.eye(2, dtype=bool)[np.where(np.arange(39) % 5 == 0, 1 - truth, truth)][None]
    rare, common = operating_points(truth, called, Resamples.draw(np.arange(39), 1, 40, seed=0))
    assert np.isnan(rare.sensitivity.low)
    assert np.isfinite([rare.specificity.low, common.sensitivity.low]).all()
    assert np.isnan([rare.ppv.low, rare.npv.low, common.specificity.low, common.ppv.low]).all()
    assert MIN_GROUPS == 10


def test_a_resample_without_a_class_says_nothing_of_it_and_does_not_count_it_as_missed() -> None:
    truth, called = np.array([0] * 12 + [1] * 12 + [2]), np.ones((1, 25, 3), dtype=bool)
    drawn = Resamples.draw(np.arange(25), 1, 60, seed=0)
    assert (drawn.weights[24] == 0).any()
    weights = standardised(truth, drawn.weights, [0.2, 0.3, 0.5])
    there = drawn.weights[24] > 0
    assert np.allclose(weights[24], np.where(there, 0.5, 0.0))
    found = operating_points(truth, called, drawn)[0].sensitivity
    assert found.value == found.high == 1  # in every resample, also in those without the class


def test_what_was_always_right_is_not_certain() -> None:
    """44 of 44: the exact binomial interval, of groups; and what follows from it by Bayes' theorem."""
    truth = np.array([0] * 44 + [1] * 60)
    called = np.eye(2, dtype=bool)[truth][None]
    group = np.concatenate([np.arange(44) // 2, 22 + np.arange(60)])
    found = operating_points(truth, called, Resamples.draw(group, 1, 50, seed=0), [0.01, 0.99])[0]
    low = {n: binomtest(n, n).proportion_ci(method="exact").low for n in (22, 60)}
    assert found.sensitivity == pytest.approx((1, low[22], 1))
    assert found.specificity == pytest.approx((1, low[60], 1))
    ppv, npv = predictive_values(low[22], low[60], 0.01)
    assert found.ppv == pytest.approx((1, float(ppv), 1))
    assert found.npv == pytest.approx((1, float(npv), 1))
    assert found.ppv.low < 0.15  # a perfect test on 60 others promises little where 1 in 100 is ill
    wrong = operating_points(truth, ~called, Resamples.draw(group, 1, 50, seed=0))[0]
    assert wrong.sensitivity == pytest.approx((0, 0, 1 - low[22]))


@given(st.integers(0, 10_000), st.floats(0.05, 1), st.sampled_from(["sensitivity", "specificity"]))
@settings(max_examples=60, deadline=None)
def test_a_threshold_reaches_its_target_and_no_better_one_does(seed: int, target: float, aim: str) -> None:
    random = np.random.default_rng(seed)
    own = random.random(40) < 0.4
    assume(0 < own.sum() < 40)
    scores = np.round(random.normal(size=40) + own, 1).astype(np.float32)  # with ties

    def reached(at: float) -> tuple[float, float]:
        called = scores >= at
        return called[own].mean(), (~called)[~own].mean()

    found = threshold(own, scores, aim, target)
    place = 0 if aim == "sensitivity" else 1
    assert reached(found)[place] >= target - 1e-9
    every = [*np.unique(scores), np.float32(np.inf)]
    best = max(reached(at)[1 - place] for at in every if reached(at)[place] >= target - 1e-9)
    assert reached(found)[1 - place] == best


def test_a_threshold_cannot_be_told_from_no_images() -> None:
    nobody = np.zeros(3, dtype=bool)
    assert np.isnan(threshold(nobody, np.ones(3), "sensitivity", 0.9))
    assert np.isnan(threshold(~nobody, np.ones(3), "specificity", 0.9))
