"""Probabilities: near the true ones, never another order of the classes, and no claim from a handful."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import norm

from hundredfold.learn.calibrate import FEWEST, METHODS, SPREAD, Calibration, log_loss
from hundredfold.learn.classifiers import judge, make_pipeline
from hundredfold.learn.held_out import held_out_parts

CENTRES = np.array([-1.5, 0.0, 1.5])


def drawn(shares: tuple[float, ...], count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Measured values of three classes that overlap, and the classes."""
    random = np.random.default_rng(seed)
    codes = random.choice(3, count, p=shares)
    return CENTRES[codes] + random.normal(size=count), codes


def posterior(values: np.ndarray, shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)) -> np.ndarray:
    """The true probability of each class."""
    likelihood = norm.pdf(values[:, None] - CENTRES) * np.array(shares)
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def too_sure(values: np.ndarray, times: float = 4.0) -> np.ndarray:
    """Margins that are so many times too large."""
    return times * np.log(posterior(values))


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_come_near_the_true_ones(method: str) -> None:
    values, codes = drawn((1 / 3, 1 / 3, 1 / 3), 3000)
    found = Calibration.fit(too_sure(values), codes, method)
    new, truth = drawn((1 / 3, 1 / 3, 1 / 3), 4000, seed=1)
    probabilities = found.probabilities(too_sure(new))
    assert np.abs(probabilities - posterior(new)).mean() < 0.04
    assert log_loss(probabilities, truth) < log_loss(softmax(too_sure(new), axis=1), truth) - 0.3
    if method == "temperature":
        assert found.curves[0][0] == pytest.approx(1 / 4, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("learned", [(1 / 3, 1 / 3, 1 / 3), (0.8, 0.15, 0.05)])
def test_probabilities_follow_the_prevalence_whatever_the_labels_shares(
    method: str, learned: tuple[float, ...]
) -> None:
    there = (0.05, 0.15, 0.8)
    values, codes = drawn(learned, 6000)
    found = Calibration.fit(too_sure(values), codes, method)
    new, _ = drawn(there, 4000, seed=1)
    probabilities = found.probabilities(too_sure(new), np.array(there))
    assert np.abs(probabilities - posterior(new, there)).mean() < 0.04
    np.testing.assert_allclose(probabilities.mean(axis=0), there, atol=0.04)


@pytest.mark.parametrize("method", METHODS)
def test_the_round_trip_through_json_changes_nothing(method: str) -> None:
    values, codes = drawn((1 / 3, 1 / 3, 1 / 3), 100)
    found = Calibration.fit(too_sure(values), codes, method)
    again = Calibration.of(json.loads(json.dumps(found.facts)))
    scores = too_sure(values)
    np.testing.assert_array_equal(again.probabilities(scores), found.probabilities(scores))


def test_the_temperature_is_the_most_probable_one() -> None:
    values, codes = drawn((0.6, 0.3, 0.1), 80)
    scores = too_sure(values)
    weights = 1 / np.bincount(codes)[codes]
    weights *= len(codes) / weights.sum()
    grid = np.linspace(-4, 4, 4001)
    losses = [
        len(codes) * log_loss(softmax(np.exp(t) * scores, axis=1), codes, weights) + 0.5 * (t / SPREAD) ** 2
        for t in grid
    ]
    found = Calibration.fit(scores, codes)
    assert np.log(found.curves[0][0]) == pytest.approx(grid[np.argmin(losses)], abs=5e-3)


@given(arrays(float, (7, 3), elements=st.floats(-30, 30)))
def test_a_temperature_never_changes_the_order_of_the_classes(scores: np.ndarray) -> None:
    found = Calibration("temperature", logarithms=False, curves=((0.37,),), held_out=(9, 9, 9))
    probabilities = found.probabilities(scores)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    rows = np.arange(len(scores))
    assert probabilities[rows, scores.argmax(axis=1)] == pytest.approx(probabilities.max(axis=1))


@pytest.mark.parametrize("method", METHODS)
def test_scores_stay_scores_where_a_class_has_too_few_labels(method: str) -> None:
    codes = np.repeat([0, 1, 2], FEWEST)
    scores = np.eye(3)[codes]
    assert Calibration.fit(scores, codes, method) is not None
    assert Calibration.fit(scores[1:], codes[1:], method) is None
    scores = scores.astype(float)
    scores[-1] = np.nan  # could not be held out
    assert Calibration.fit(scores, codes, method) is None


@pytest.mark.parametrize("method", METHODS)
def test_a_handful_of_flawless_labels_makes_nothing_certain(method: str) -> None:
    codes = np.repeat([0, 1, 2], FEWEST)
    probabilities = Calibration.fit(5.0 * np.eye(3)[codes], codes, method).probabilities(5.0 * np.eye(3))
    assert np.isfinite(probabilities).all()
    assert 0.5 < probabilities.max(axis=1).min() < 1


@pytest.mark.parametrize("name", ["svm", "logistic", "lda", "knn"])
def test_every_classifier_is_better_calibrated_after_than_before(name: str) -> None:
    random = np.random.default_rng(3)
    centres = random.normal(size=(4, 40)) / 3

    def world(each: int) -> tuple[np.ndarray, np.ndarray]:
        codes = np.repeat(np.arange(4), each)
        return centres[codes] + random.normal(size=(len(codes), 40)), codes

    (x, y), (new, truth) = world(25), world(500)
    ids = np.array([f"{n}" for n in range(len(y))], dtype=object)
    scores = np.full((len(y), 4), np.nan)
    for part in held_out_parts(ids, y, None, seed=0):
        pipeline = make_pipeline(name, samples=75, features=40, classes=4).fit(x[~part], y[~part])
        scores[part] = judge(pipeline, x[part])[1]
    found = Calibration.fit(scores, y)
    asked = judge(make_pipeline(name, samples=100, features=40, classes=4).fit(x, y), new)[1]
    plain = asked if found.logarithms else softmax(asked, axis=1)
    assert log_loss(found.probabilities(asked), truth) < log_loss(plain, truth)
