"""Scores of linear classifiers rank images as their probabilities do; a class not learned is above none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from hundredfold.learn.classifiers import CLASSIFIERS, judge
from hundredfold.learn.draws import solve
from hundredfold.learn.means import SharedCovariance
from hundredfold.learn.posterior import log_posterior
from hundredfold.metrics import Patients, auroc


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-500, 500)))
def test_they_are_the_logarithms_of_a_softmax(values: np.ndarray) -> None:
    np.testing.assert_allclose(log_posterior(values), log_softmax(values, axis=1), atol=1e-9)


def test_very_sure_images_are_still_told_apart() -> None:
    found = log_posterior(np.array([[0.0, -60.0, -70.0], [0.0, -61.0, -70.0]]))
    np.testing.assert_allclose(found[:, 0], [-np.exp(-60), -np.exp(-61)], rtol=1e-3)


class Shrunk:
    """The covariance of all samples about their class means, for scikit-learn's discriminant."""

    def __init__(self, residuals: np.ndarray) -> None:
        self.residuals = residuals

    def fit(self, _: np.ndarray) -> Shrunk:
        self.covariance_ = LedoitWolf(assume_centered=True).fit(self.residuals).covariance_
        return self


@pytest.mark.parametrize("classes", [2, 5])
def test_images_are_ranked_as_by_scikit_learns_posterior(classes: int) -> None:
    random = np.random.default_rng(1)
    centres = 2 * random.normal(size=(classes, 6))
    codes, truth = np.repeat(np.arange(classes), 30), np.repeat(np.arange(classes), 100)
    x, new = (centres[of] + 1.5 * random.normal(size=(len(of), 6)) for of in (codes, truth))
    residuals = x - np.stack([x[codes == number].mean(axis=0) for number in range(classes)])[codes]
    oracle = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Shrunk(residuals), priors=np.full(classes, 1 / classes)
    ).fit(x, codes).predict_proba(new)
    expected = roc_auc_score(truth, oracle if classes > 2 else oracle[:, 1], multi_class="ovr")
    decided, scores = judge(SharedCovariance().fit(x, codes), new)
    assert auroc(truth, scores) == pytest.approx(expected, abs=1e-4)
    assert (decided == oracle.argmax(axis=1)).all()


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_no_patient_is_given_a_class_that_was_never_learned(name: str) -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 8))
    codes, truth = np.repeat([0, 1, 2], 20), np.repeat([0, 1, 2, 3], 30)
    x = (centres[codes] + random.normal(size=(60, 8))).astype(np.float32)
    new = random.normal(size=(120, 8)).astype(np.float32)  # like no class in particular
    found = solve(x, codes, new, [name], classes=4)
    patients = Patients.of(truth, found.predicted, found.scores, np.arange(120))
    assert (found.predicted != 3).all()
    assert (patients.by_vote != 3).all()
    assert (patients.by_mean != 3).all()
    assert len(np.unique(found.scores[0][:, 3])) == 1  # it ranks nothing
