"""Every registered classifier by one template; the paper's settings; the mistakes of the reference."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

from hundredfold.errors import SettingsError
from hundredfold.learn import svm
from hundredfold.learn.classifiers import CLASSIFIERS, judge, make_classifier, make_pipeline
from hundredfold.learn.draws import fit_and_tell
from hundredfold.learn.svm import RbfSVC


def blobs(classes: int, each: int, *, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes in 32 dimensions, class names in reverse order."""
    centres = np.random.default_rng(99).normal(size=(classes, 32))
    names = np.array([f"class {classes - number:02d}" for number in range(classes)])
    labels = np.repeat(np.arange(classes), each)
    noise = np.random.default_rng(seed).normal(size=(len(labels), 32))
    return centres[labels] + spread * noise, names[labels]


@pytest.mark.parametrize("name", list(CLASSIFIERS))
@pytest.mark.parametrize("classes", [2, 5, 21])
def test_every_classifier_works_at_one_label_a_class(name: str, classes: int) -> None:
    x, y = blobs(classes, 1)
    new, truth = blobs(classes, 20, seed=1)
    pipeline = make_pipeline(name, samples=classes, features=32, classes=classes)
    assert fit_and_tell(pipeline, x, y)
    decided, scores = judge(pipeline, new)
    assert scores.shape == (len(new), classes)
    assert np.isfinite(scores).all()
    assert balanced_accuracy_score(truth, decided) > 2.5 / classes if classes > 2 else len(set(decided)) == 2


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_the_decision_is_the_classifiers_own(name: str) -> None:
    x, y = blobs(6, 10)
    new, _ = blobs(6, 30, seed=1)
    pipeline = make_pipeline(name, samples=60, features=32, classes=6).fit(x, y)
    decided, scores = judge(pipeline, new)
    assert (decided == pipeline.predict(new)).all()
    highest = decided == pipeline.classes_[scores.argmax(axis=1)]
    assert highest.mean() > 0.95 if name == "svm" else highest.all()


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_machines_of_an_svm_are_coupled_to_one_probability_a_class(classes: int) -> None:
    """By the formula of Price et al. 1994, written out, with the machines of scikit-learn."""
    x, y = blobs(classes, 15)
    new, _ = blobs(classes, 20, seed=1)
    _, scores = RbfSVC().fit(x, y).decide(new)
    one_on_one = SVC(C=1, gamma="scale", class_weight="balanced", decision_function_shape="ovo").fit(x, y)
    values = one_on_one.decision_function(new).reshape(len(new), -1)
    if classes == 2:  # scikit-learn turns the sign of a single machine
        np.testing.assert_allclose(scores, np.hstack([-values, values]), atol=1e-4)
        return
    inverse = np.zeros((len(new), classes))  # sums of 1 / r
    for place, (first, second) in enumerate(combinations(range(classes), 2)):
        inverse[:, first] += 1 / expit(2 * values[:, place])
        inverse[:, second] += 1 / expit(-2 * values[:, place])
    expected = 1 / (inverse - (classes - 2))
    np.testing.assert_allclose(np.exp(scores), expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_the_order_of_labelled_images_does_not_matter(name: str) -> None:
    x, y = blobs(4, 6)
    new, _ = blobs(4, 30, seed=1)
    order = np.random.default_rng(0).permutation(len(x))
    first, second = (make_classifier(name, samples=24, classes=4) for _ in range(2))
    decided = [judge(first.fit(x, y), new)[0], judge(second.fit(x[order], y[order]), new)[0]]
    assert (decided[0] == decided[1]).mean() > 0.99


def test_platt_scaled_probabilities_never_decide() -> None:
    """METHOD, mistake 8: with few labels their argmax is another than that of the decision values."""

    class Scaled:
        """Probabilities that contradict the decision values, as Platt's do at one label a class."""

        classes_ = np.array(["cat", "dog", "emu"])

        def decision_function(self, features: np.ndarray) -> np.ndarray:
            return np.tile([0.1, 2.2, 1.0], (len(features), 1))

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.tile([0.5, 0.2, 0.3], (len(features), 1))

    decided, scores = judge(Scaled(), np.zeros((2, 4)))
    assert decided.tolist() == ["dog", "dog"]
    assert scores[0].tolist() == [0.5, 0.2, 0.3]


def test_the_svm_has_no_probabilities_and_beats_chance_clearly_at_one_label_of_21_classes() -> None:
    x, y = blobs(21, 1, spread=1.2)
    new, truth = blobs(21, 30, seed=1, spread=1.2)
    pipeline = make_pipeline("svm", samples=21, features=32, classes=21)
    fit_and_tell(pipeline, x, y)
    assert not hasattr(pipeline, "predict_proba")
    assert balanced_accuracy_score(truth, judge(pipeline, new)[0]) > 4 / 21


@pytest.mark.parametrize(("samples", "classes", "neighbours"), [(21, 21, 21), (3, 2, 3), (500, 8, 40)])
def test_k_is_five_a_class_and_never_more_than_the_samples(
    samples: int, classes: int, neighbours: int
) -> None:
    """METHOD, mistake 9."""
    assert make_classifier("knn", samples=samples, classes=classes).n_neighbors == neighbours


def test_the_settings_are_the_papers() -> None:
    names = ("svm", "knn", "logistic")
    machine, knn, logistic = (
        make_classifier(name, samples=99, classes=3, preset="paper") for name in names
    )
    assert machine.C == 1  # kernel, weights and ties: see the comparison with scikit-learn's
    assert knn.weights == "distance"
    assert (logistic.C, logistic.class_weight) == (2.5, "balanced")
    ours = [make_classifier(name, samples=99, classes=3).C for name in ("svm", "logistic")]
    assert ours == [10, 0.1]


@pytest.mark.parametrize(("most", "kept"), [(0, 0), (8000, 0), (8000, 10**6)])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_svm_equals_scikit_learns(
    most: int, kept: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm, "MOST_IN_KERNEL", most)
    monkeypatch.setattr(svm, "MOST_KEPT", kept)
    monkeypatch.setattr(svm, "BLOCK", 7)
    x, y = blobs(classes, 15)
    x, y = x[:-9], y[:-9]  # classes of different sizes
    new, _ = blobs(classes, 20, seed=1)
    ours = RbfSVC().fit(x, y)
    theirs = SVC(C=1, gamma="scale", class_weight="balanced", break_ties=classes > 2).fit(x, y)
    np.testing.assert_allclose(ours.decision_function(new), theirs.decision_function(new), atol=1e-3)
    assert (ours.predict(new) == theirs.predict(new)).all()
    assert ours.gamma_ == pytest.approx(theirs._gamma)


def test_the_svm_is_a_scikit_learn_estimator() -> None:
    x, y = blobs(3, 10)
    copy = clone(RbfSVC(C=3.0))
    assert copy.get_params() == {"C": 3.0}
    assert copy.fit(x, y).score(x, y) == 1


def test_equal_images_of_two_classes_are_no_fault() -> None:
    machine = RbfSVC().fit(np.zeros((4, 3)), ["a", "b", "a", "b"])
    assert np.isfinite(machine.decision_function(np.ones((1, 3)))).all()


def test_the_svm_bears_features_far_from_zero() -> None:
    """float32 alone would lose what tells them apart."""
    x, y = blobs(3, 15)
    new, _ = blobs(3, 30, seed=1)
    near, far = RbfSVC().fit(x, y), RbfSVC().fit(x + 1e6, y)
    assert (near.predict(new) == far.predict(new + 1e6)).mean() > 0.99


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'logistic'"):
        make_classifier("logistics", samples=2, classes=2)


def test_a_fit_that_stops_early_is_told_and_other_warnings_are_passed_on() -> None:
    class Noisy:
        def fit(self, features: np.ndarray, labels: np.ndarray) -> None:
            import warnings

            warnings.warn("something else", UserWarning, stacklevel=2)

    with pytest.warns(UserWarning, match="something else"):
        assert fit_and_tell(Noisy(), np.zeros((2, 1)), np.zeros(2))
    logistic = make_classifier("logistic", samples=40, classes=4)
    assert fit_and_tell(logistic, *blobs(4, 10))
    assert not fit_and_tell(clone(logistic).set_params(max_iter=1), *blobs(4, 10))
