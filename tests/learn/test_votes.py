"""The votes of neighbours, as scikit-learn counts them in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from hundredfold.learn.classifiers import MANY, judge
from hundredfold.learn.votes import votes_by_distance


@given(
    samples=st.integers(2, 60), asked=st.integers(1, 30), dimension=st.integers(1, 40),
    neighbours=st.integers(1, 60), scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_the_votes_are_those_of_scikit_learn(
    samples: int, asked: int, dimension: int, neighbours: int, scale: float
) -> None:
    random = np.random.default_rng([samples, asked, dimension, neighbours])
    x, new = (scale * (random.normal(size=(count, dimension)) + 1) for count in (samples, asked))
    y = np.arange(samples) % 3
    new[0] = x[0]  # met exactly
    new[1:2] = x[1] + scale * 1e-4  # and nearly
    new[2:4] *= 1e5  # and so far off that all are as far
    fitted = KNeighborsClassifier(min(neighbours, samples), weights="distance").fit(x, y)
    np.testing.assert_allclose(votes_by_distance(fitted, new), fitted.predict_proba(new), atol=1e-4)


def test_the_nearest_of_a_far_image_is_found_as_scikit_learn_finds_it() -> None:
    """At one label a class the transform can throw images far out; float32 would see all samples as far."""
    x = np.random.default_rng(0).normal(size=(3, 8))
    new = 1e6 * np.random.default_rng(1).normal(size=(MANY, 8))
    fitted = KNeighborsClassifier(3, weights="distance").fit(x, ["a", "b", "c"])
    np.testing.assert_array_equal(judge(fitted, new)[0], fitted.predict(new))


@pytest.mark.parametrize("given_", [{"weights": "uniform"}, {"weights": "distance", "metric": "cosine"}])
def test_another_knn_is_left_to_scikit_learn(given_: dict[str, str]) -> None:
    x = np.random.default_rng(0).normal(size=(MANY, 5)) + 1
    fitted = KNeighborsClassifier(5, **given_).fit(x, np.arange(MANY) % 3)
    np.testing.assert_array_equal(judge(fitted, x)[1], fitted.predict_proba(x))


def test_a_few_are_judged_as_scikit_learn_does_it() -> None:
    """A predictor asked for one image must not bring thousands of samples into another precision first."""
    x = np.random.default_rng(0).normal(size=(90, 5))
    fitted = KNeighborsClassifier(5, weights="distance").fit(x, np.arange(90) % 3)
    new = x[: MANY - 1] + 0.1
    np.testing.assert_array_equal(judge(fitted, new)[1], fitted.predict_proba(new))
