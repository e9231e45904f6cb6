"""Prototype and linear discriminant against plain restatements, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import cosine_similarity

from hundredfold.learn.means import Prototype, SharedCovariance


def samples(each: int = 30, classes: int = 4, features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(features, features))
    centres = random.normal(size=(classes, features))
    codes = np.repeat(np.arange(classes), each)
    return (centres[codes] + random.normal(size=(len(codes), features))) @ mixing, codes


def test_the_nearest_direction_is_that_of_the_greatest_cosine() -> None:
    x, y = samples()
    directions = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([directions[y == number].mean(axis=0) for number in range(4)])
    said = Prototype().fit(x, y)
    np.testing.assert_allclose(said.decision_function(x), cosine_similarity(x, means), atol=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_discriminant_is_scikit_learns_with_the_same_covariance(classes: int) -> None:
    x, y = samples(classes=classes)
    residuals = x - np.stack([x[y == number].mean(axis=0) for number in range(classes)])[y]
    oracle = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Pooled(residuals), priors=np.full(classes, 1 / classes)
    ).fit(x, y)
    mine = SharedCovariance().fit(x, y)
    gap = mine.decision_function(x) - oracle.decision_function(x)
    if classes > 2:  # scikit-learn's values share an offset that no decision depends on
        gap -= gap[:, :1]
    np.testing.assert_allclose(gap, 0, atol=1e-3)
    assert (mine.predict(x) == oracle.predict(x)).all()


class Pooled:
    """Gives every class the shrunk covariance of all samples about their class means."""

    def __init__(self, residuals: np.ndarray) -> None:
        self.residuals = residuals

    def fit(self, _: np.ndarray) -> Pooled:
        self.covariance_ = LedoitWolf(assume_centered=True).fit(self.residuals).covariance_
        return self


@pytest.mark.parametrize("kind", [Prototype, SharedCovariance])
def test_one_sample_a_class_is_enough_and_the_nearest_mean_decides(kind: type) -> None:
    machine = kind().fit([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0]], ["east", "north", "west"])
    assert machine.predict([[2.0, 1.0], [1.0, 2.0], [-2.0, 1.0]]).tolist() == ["east", "north", "west"]


@pytest.mark.parametrize("kind", [Prototype, SharedCovariance])
def test_equal_or_constant_features_are_no_fault(kind: type) -> None:
    assert np.isfinite(kind().fit(np.zeros((4, 3)), [0, 0, 1, 1]).decision_function(np.zeros((2, 3)))).all()
    x, y = samples()
    flat = np.column_stack([x, np.full(len(x), 7.0)])
    assert (kind().fit(flat, y).predict(flat) == y).mean() > 0.5
    with pytest.raises(ValueError, match="two classes or more"):
        kind().fit(x, np.zeros(len(x)))


def test_every_class_counts_alike_however_many_samples_it_has() -> None:
    x, y = samples(classes=2)
    more = np.concatenate([x, *[x[y == 1]] * 3]), np.concatenate([y, *[y[y == 1]] * 3])
    for kind in (Prototype, SharedCovariance):
        machine = kind().fit(*more)
        given = x / np.linalg.norm(x, axis=1, keepdims=True) if kind is Prototype else x
        means = np.stack([given[y == number].mean(axis=0) for number in (0, 1)])
        if kind is Prototype:
            means /= np.linalg.norm(means, axis=1, keepdims=True)
        assert machine.decision_function([means.mean(axis=0)]) == pytest.approx(0, abs=1e-9)
