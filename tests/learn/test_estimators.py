"""Our classifiers and transforms keep scikit-learn's contract: its own checks say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from hundredfold.learn.classifiers import CLASSIFIERS, make_classifier
from hundredfold.learn.transforms import YeoJohnson

#: scikit-learn's own does not pass it either: a weight of 0 does not take a class out of "balanced".
KNOWN = {"LogisticRegression": {"check_classifiers_one_label_sample_weights": "as scikit-learn's own"}}


def small(name: str) -> Any:
    """The classifier as it is registered; one that trains by epochs does a few."""
    found = make_classifier(name, samples=20, classes=2)
    return found.set_params(epochs=20) if "epochs" in found.get_params() else found


@parametrize_with_checks(
    [YeoJohnson(), *map(small, CLASSIFIERS)],
    expected_failed_checks=lambda estimator: KNOWN.get(type(estimator).__name__, {}),
)
def test_scikit_learn_accepts_it(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
