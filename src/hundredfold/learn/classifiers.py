"""Classifiers by name, in the setting of Nielsen et al. 2023; each works at one label a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from hundredfold.learn.means import Prototype, SharedCovariance
from hundredfold.learn.transforms import feature_transform
from hundredfold.registry import Registry

__all__ = ["CLASSIFIERS", "Factory", "RbfSVC", "judge", "make_classifier", "make_pipeline"]

Floats = NDArray[np.float64]
#: (labelled samples, classes) → an unfitted scikit-learn classifier.
Factory: TypeAlias = Callable[[int, int], Any]

CLASSIFIERS: Registry[Factory] = Registry("classifier")

MOST_IN_KERNEL = 8000  # its square in float64 is 512 MB
BLOCK = 2048


class RbfSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """``SVC(kernel="rbf")`` whose kernel is one matrix product: four times faster at 1,280 features.

    The same machine as scikit-learn's ``SVC(C=C, gamma="scale", class_weight="balanced", break_ties=True)``
    to rounding: only the kernel is computed by BLAS instead of number by number in libsvm, which still does
    it beyond 8,000 samples. There are no Platt-scaled probabilities on purpose: at few labels they
    destroy the argmax.

    Args:
        C: the price of a training error.

    Attributes:
        classes_: ``[c]`` the class names, sorted.
        gamma_: 1 / (features · variance).
        vectors_: ``[n, d]`` the training samples.
        machine_: the fitted ``SVC``.

    Examples:
        >>> machine = RbfSVC().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])
        >>> machine.predict([[0.1], [2.2]]).tolist()
        ['a', 'c']
    """

    def __init__(self, C: float = 1.0) -> None:  # noqa: N803  (scikit-learn's name)
        self.C = C

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Fit to the samples ``X`` [n, d] and their classes ``y`` [n]."""
        x, names = validate_data(self, X, y, dtype=np.float64)
        variance = float(x.var())
        self.gamma_ = 1.0 / (x.shape[1] * variance) if variance > 0 else 1.0
        self.by_product_ = len(x) <= MOST_IN_KERNEL
        kernel = {"kernel": "precomputed"} if self.by_product_ else {"kernel": "rbf", "gamma": self.gamma_}
        machine = SVC(C=self.C, class_weight="balanced", break_ties=True, cache_size=500, **kernel)
        self.vectors_ = x
        self.machine_ = machine.fit(self._kernel(x) if self.by_product_ else x, names)
        self.classes_: NDArray[Any] = machine.classes_
        return self

    def decision_function(self, X: ArrayLike) -> Floats:  # noqa: N803
        """One value a class ``[n, c]``; for two classes that of the second ``[n]``, as SVC gives them."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        if not self.by_product_:
            return np.asarray(self.machine_.decision_function(x))
        parts = [self.machine_.decision_function(self._kernel(part)) for part in _blocks(x)]
        return np.concatenate(parts)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class with the greatest decision value ``[n]``."""
        values = _a_column_a_class(self.decision_function(X))
        predicted: NDArray[Any] = self.classes_[np.argmax(values, axis=1)]
        return predicted

    def _kernel(self, x: Floats) -> Floats:
        """exp(−γ · distance²) to the training samples, ``[n, m]``."""
        kernel: Floats = x @ self.vectors_.T
        kernel *= -2.0
        kernel += np.einsum("nd,nd->n", x, x)[:, None]
        kernel += np.einsum("md,md->m", self.vectors_, self.vectors_)
        np.maximum(kernel, 0, out=kernel)
        kernel *= -self.gamma_
        np.exp(kernel, out=kernel)
        return kernel


def _blocks(x: Floats) -> Iterator[Floats]:
    for start in range(0, len(x), BLOCK):
        yield x[start : start + BLOCK]


def _svm(_samples: int, _classes: int) -> RbfSVC:
    return RbfSVC(C=1.0)


def _knn(samples: int, classes: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(n_neighbors=min(5 * classes, samples), weights="distance")


def _logistic(_samples: int, _classes: int) -> LogisticRegression:
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


def make_classifier(name: str, *, samples: int, classes: int) -> Any:
    """An unfitted classifier for so many labelled samples of so many classes.

    In the settings of Nielsen et al. 2023 (section 2.3): ``svm`` an RBF machine with C = 1, ``knn``
    with 5 neighbours a class, weighted by distance, ``logistic`` with C = 2.5, ``last_layer`` one
    layer trained by AdamW; balanced class weights. A kNN never asks for more neighbours than there are
    samples. Ours besides: ``lda``, linear discriminant analysis with a shrunk covariance, and ``prototype``,
    the nearest class mean by angle.

    Raises:
        SettingsError: no classifier has that name.

    Examples:
        >>> make_classifier("knn", samples=21, classes=21).n_neighbors
        21
    """
    return CLASSIFIERS[name](samples, classes)


def make_pipeline(name: str, *, samples: int, features: int, classes: int) -> Pipeline:
    """An unfitted feature transform and classifier, in one."""
    transform = feature_transform(samples, features)
    classifier = make_classifier(name, samples=samples, classes=classes)
    return Pipeline([*transform.steps, ("classifier", classifier)])


def judge(classifier: Any, features: ArrayLike) -> tuple[NDArray[Any], Floats]:
    """The classes that a fitted classifier decides for ``[n]``, and its score for every class ``[n, c]``.

    The decision is that of the decision values, where there are any, through ``classes_``: never that
    of probabilities scaled after Platt, whose argmax at few labels is another and far worse one. The
    scores, in the order of ``classes_``, are probabilities or shares of votes where the classifier has
    them, else decision values.

    Examples:
        >>> machine = RbfSVC().fit([[0.0], [1.0]], ["cat", "dog"])
        >>> classes, scores = judge(machine, [[0.1]])
        >>> classes.tolist(), scores.shape
        (['cat'], (1, 2))
    """
    if not hasattr(classifier, "decision_function"):
        scores: Floats = np.asarray(classifier.predict_proba(features), dtype=np.float64)
        return classifier.classes_[np.argmax(scores, axis=1)], scores
    values = _a_column_a_class(np.asarray(classifier.decision_function(features), dtype=np.float64))
    decided = classifier.classes_[np.argmax(values, axis=1)]
    if hasattr(classifier, "predict_proba"):
        return decided, np.asarray(classifier.predict_proba(features), dtype=np.float64)
    return decided, values


def _a_column_a_class(values: Floats) -> Floats:
    """Decision values ``[n, c]``; for two classes scikit-learn gives those of the second ``[n]``."""
    return values if values.ndim == 2 else np.stack([-values, values], axis=1)
