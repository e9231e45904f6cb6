"""Classifiers made of class means: the nearest by angle, or by the covariance that the classes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from hundredfold.learn.posterior import decide_by
from hundredfold.learn.samples import labelled_samples

__all__ = ["Prototype", "SharedCovariance"]

Floats = NDArray[np.float64]


class _Means(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Class means, and a value a class that is linear in the features.

    Attributes:
        classes_: ``[c]`` the class names, sorted.
        coef_: ``[c, d]``.
        intercept_: ``[c]``.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Fit to the samples ``X`` [n, d] and their classes ``y`` [n]."""
        self.classes_: NDArray[Any]
        x, self.classes_, codes = labelled_samples(self, X, y, np.float64)
        x = self._prepared(x)
        means = np.stack([x[codes == number].mean(axis=0) for number in range(len(self.classes_))])
        self.coef_, self.intercept_ = self._line(means, x - means[codes])
        return self

    def decision_function(self, X: ArrayLike) -> Floats:  # noqa: N803
        """One value a class ``[n, c]``; for two classes that of the second over the first ``[n]``."""
        values = self._values(X)
        return values[:, 1] - values[:, 0] if values.shape[1] == 2 else values

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class with the greatest value ``[n]``."""
        values = self._values(X)
        predicted: NDArray[Any] = self.classes_[np.argmax(values, axis=1)]
        return predicted

    def _values(self, X: ArrayLike) -> Floats:  # noqa: N803
        check_is_fitted(self)
        x = self._prepared(validate_data(self, X, dtype=np.float64, reset=False))
        values: Floats = x @ self.coef_.T + self.intercept_
        return values

    def _prepared(self, x: Floats) -> Floats:
        return x

    @abstractmethod
    def _line(self, means: Floats, residuals: Floats) -> tuple[Floats, Floats]:
        """Weights [c, d] and offsets [c]; from the class means [c, d] and the samples less these [n, d]."""


class Prototype(_Means):
    """The class whose mean direction is nearest by angle.

    Snell et al. 2017, "Prototypical networks", with the cosine of Chen et al. 2019, "A closer look at
    few-shot classification". Every class counts alike. There is nothing to tune.

    Attributes:
        classes_, coef_, intercept_: see :class:`SharedCovariance`; the rows of ``coef_`` are of length 1.

    Examples:
        >>> nearest = Prototype().fit([[1.0, 0.0], [0.0, 2.0]], ["right", "up"])
        >>> nearest.predict([[9.0, 1.0], [0.1, 0.2]]).tolist()
        ['right', 'up']
    """

    def _prepared(self, x: Floats) -> Floats:
        directions: Floats = normalize(x)
        return directions

    def _line(self, means: Floats, residuals: Floats) -> tuple[Floats, Floats]:  # noqa: ARG002
        return normalize(means), np.zeros(len(means))


class SharedCovariance(_Means):
    """Linear discriminant analysis with one shrunk covariance for all classes, which count alike.

    The covariance is that of the samples about their class means, shrunk as far as Ledoit and Wolf (2004)
    estimate from the samples themselves. scikit-learn's ``LinearDiscriminantAnalysis(shrinkage="auto")``
    shrinks each class by itself, and so needs several samples of each; here, with nothing to estimate a
    covariance from, the nearest mean decides.

    Attributes:
        classes_: ``[c]`` the class names, sorted.
        coef_: ``[c, d]``.
        intercept_: ``[c]``.
        shrinkage_: 0 (the samples' own covariance) to 1 (equal in all directions).

    Examples:
        >>> machine = SharedCovariance().fit([[0.0, 0], [0, 9], [1, 0], [1, 9]], ["a", "a", "b", "b"])
        >>> machine.predict([[0.2, 90], [0.9, -50]]).tolist()
        ['a', 'b']
    """

    def _line(self, means: Floats, residuals: Floats) -> tuple[Floats, Floats]:
        spread = len(residuals) - len(means)
        if spread > 0 and residuals.any():
            covariance, self.shrinkage_ = ledoit_wolf(residuals, assume_centered=True)
        else:
            covariance, self.shrinkage_ = np.eye(means.shape[1]), 1.0
        # A feature that never varies must not make it singular.
        covariance.flat[:: len(covariance) + 1] += 1e-6 * np.trace(covariance) / len(covariance)
        weights: Floats = cho_solve(cho_factor(covariance), means.T).T
        return weights, -0.5 * np.einsum("cd,cd->c", means, weights)

    def decide(self, X: ArrayLike) -> tuple[NDArray[Any], Floats]:  # noqa: N803
        """The class with the greatest value ``[n]``, and scores; see :func:`~.posterior.decide_by`."""
        return decide_by(self.classes_, self._values(X))
