"""Classifiers by name, in our settings or those of Nielsen et al. 2023; each works at one label a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from hundredfold.learn.means import Prototype, SharedCovariance
from hundredfold.learn.posterior import log_posterior
from hundredfold.learn.svm import RbfSVC
from hundredfold.learn.transforms import feature_transform
from hundredfold.learn.votes import votes_by_distance
from hundredfold.registry import Registry

__all__ = [
    "CLASSIFIERS", "PAPER", "Factory", "RbfSVC", "beside_more", "judge", "make_classifier", "make_pipeline",
]

Floats = NDArray[np.float64]
#: (labelled samples, classes) → an unfitted scikit-learn classifier.
Factory: TypeAlias = Callable[[int, int], Any]

CLASSIFIERS: Registry[Factory] = Registry("classifier")

MANY = 512  # samples to judge; for fewer it does not pay to bring a kNN's own into float32


def _svm(_samples: int, _classes: int) -> RbfSVC:
    return RbfSVC(C=10.0)


def _knn(samples: int, classes: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(n_neighbors=min(5 * classes, samples), weights="distance")


def _logistic(_samples: int, _classes: int) -> LogisticRegression:
    return LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)


def _paper_svm(_samples: int, _classes: int) -> RbfSVC:
    return RbfSVC(C=1.0)


def _paper_logistic(_samples: int, _classes: int) -> LogisticRegression:
    return LogisticRegression(C=2.5, class_weight="balanced", max_iter=5000)


def _lda(_samples: int, _classes: int) -> SharedCovariance:
    return SharedCovariance()


def _prototype(_samples: int, _classes: int) -> Prototype:
    return Prototype()


def _last_layer(_samples: int, _classes: int) -> Any:
    from hundredfold.learn.last_layer import LastLayer  # torch, for those who ask for it

    return LastLayer()


CLASSIFIERS.add("svm", _svm)
CLASSIFIERS.add("knn", _knn)
CLASSIFIERS.add("logistic", _logistic)
CLASSIFIERS.add("lda", _lda)
CLASSIFIERS.add("prototype", _prototype)
CLASSIFIERS.add("last_layer", _last_layer)


#: Where the paper's setting is another than ours.
PAPER: Mapping[str, Factory] = {"svm": _paper_svm, "logistic": _paper_logistic}


def make_classifier(name: str, *, samples: int, classes: int, preset: str = "default") -> Any:
    """An unfitted classifier for so many labelled samples of so many classes.

    As in Nielsen et al. 2023 (section 2.3): ``svm`` an RBF machine, ``knn`` with 5 neighbours a class,
    weighted by distance, ``logistic``, ``last_layer`` one layer trained by AdamW; balanced class weights. A
    kNN never asks for more neighbours than there are samples. Ours besides: ``lda``, linear discriminant
    analysis with a shrunk covariance, and ``prototype``, the nearest class mean by angle. The paper has C = 1
    for the SVM and 2.5 for logistic regression; ours are 10 and .1, which did better on inner splits of
    three data sets (``benchmarks/evaluation/classifiers.py``).

    Args:
        name: of the classifier.
        samples: labelled samples it will be fitted to.
        classes: classes among them.
        preset: ``paper`` for the paper's settings.

    Raises:
        SettingsError: no classifier has that name.

    Examples:
        >>> make_classifier("knn", samples=21, classes=21).n_neighbors
        21
    """
    factory = CLASSIFIERS[name]
    return (PAPER.get(name, factory) if preset == "paper" else factory)(samples, classes)


def make_pipeline(
    name: str, *, samples: int, features: int, classes: int, preset: str = "default"
) -> Pipeline:
    """An unfitted feature transform and classifier, in one; see :func:`make_classifier`."""
    transform = feature_transform(samples, features)
    classifier = make_classifier(name, samples=samples, classes=classes, preset=preset)
    return Pipeline([*transform.steps, ("classifier", classifier)])


def judge(classifier: Any, features: ArrayLike) -> tuple[NDArray[Any], Floats]:
    """The classes that a fitted classifier decides for ``[n]``, and its score for every class ``[n, c]``.

    The decision is that of the decision values, where there are any, through ``classes_``: never that
    of probabilities scaled after Platt, whose argmax at few labels is another and far worse one. The
    scores, in the order of ``classes_``, are probabilities or shares of votes where the classifier has
    them, else decision values, or what the classifier's own ``decide`` makes of these, logarithms of
    probabilities: linear discriminants, the last layer, and an SVM, of whose scores the greatest is nearly
    always the decision, which counts the pairs of classes that are won.

    Examples:
        >>> machine = RbfSVC().fit([[0.0], [1.0]], ["cat", "dog"])
        >>> classes, scores = judge(machine, [[0.1]])
        >>> classes.tolist(), scores.shape
        (['cat'], (1, 2))
    """
    if isinstance(classifier, Pipeline):
        classifier, features = classifier[-1], classifier[:-1].transform(features)
    if hasattr(classifier, "decide"):
        found: tuple[NDArray[Any], Floats] = classifier.decide(features)
        return found
    if len(np.asarray(features)) >= MANY and _votes_by_distance(classifier):
        shares = votes_by_distance(classifier, features)
        return classifier.classes_[np.argmax(shares, axis=1)], shares
    if not hasattr(classifier, "decision_function"):
        scores: Floats = np.asarray(classifier.predict_proba(features), dtype=np.float64)
        return classifier.classes_[np.argmax(scores, axis=1)], scores
    values = _a_column_a_class(np.asarray(classifier.decision_function(features), dtype=np.float64))
    decided = classifier.classes_[np.argmax(values, axis=1)]
    if hasattr(classifier, "predict_proba"):
        return decided, np.asarray(classifier.predict_proba(features), dtype=np.float64)
    return decided, values


def beside_more(classifier: Any, scores: Floats) -> Floats:
    """The scores ``[n, 2]`` that :func:`judge` gives of two classes, on the scale of those of three or more.

    Where test splits take turns, one may have labels of two classes and the others of three: its margins
    would stand in one ranking with logarithms of probabilities (an SVM's area under the ROC curve was .76
    for .94).
    """
    if not hasattr(classifier, "decide"):
        return scores
    # An SVM's margin is half the logarithm of the odds; the others' is all of it.
    return log_posterior(scores if isinstance(classifier, RbfSVC) else scores / 2)


def _votes_by_distance(classifier: Any) -> bool:
    return (
        type(classifier) is KNeighborsClassifier and classifier.weights == "distance"
        and classifier.effective_metric_ == "euclidean"
        and classifier.n_neighbors <= classifier.n_samples_fit_  # else scikit-learn says what is wrong
    )


def _a_column_a_class(values: Floats) -> Floats:
    """Decision values ``[n, c]``; for two classes scikit-learn gives those of the second ``[n]``."""
    return values if values.ndim == 2 else np.stack([-values, values], axis=1)
