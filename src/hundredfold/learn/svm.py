"""A support vector machine with an RBF kernel whose kernel is matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data

from hundredfold.learn.posterior import log_posterior
from hundredfold.learn.samples import labelled_samples

__all__ = ["RbfSVC"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

MOST_IN_KERNEL = 8000  # samples of two classes; the square in float64, as libsvm takes it, is 512 MB
MOST_KEPT = 64_000_000  # numbers of the classes' own kernels
BLOCK = 1024  # samples judged at once


class RbfSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """``SVC(C=C, gamma="scale", class_weight="balanced", break_ties=True)``, several times faster.

    Like scikit-learn's, it is one machine for every two classes, found by libsvm, to rounding the same.
    libsvm computes kernels number by number; here those of both fit and decision are matrix products in
    float32, whose rounding (a millionth) is far below what libsvm leaves open (a thousandth), and those of
    the decision are shared by all pairs. Two classes of more than 8,000 samples together are left to
    libsvm's own kernel. There are no Platt-scaled probabilities on purpose: at
    few labels they destroy the argmax.

    Args:
        C: the price of a training error.

    Attributes:
        classes_: ``[c]`` the class names, sorted.
        gamma_: 1 / (features · variance).
        centre_: ``[d]`` mean of the training samples.
        vectors_: float32 ``[m, d]`` the support vectors, less the centre.
        dual_: float32 ``[m, c·(c-1)/2]`` the weight of each in the machine of each pair of classes.
        intercept_: ``[c·(c-1)/2]``.

    Raises:
        ValueError: the samples are of one class.

    Examples:
        >>> machine = RbfSVC().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])
        >>> machine.predict([[0.1], [2.2]]).tolist()
        ['a', 'c']
    """

    def __init__(self, C: float = 1.0) -> None:  # noqa: N803  (scikit-learn's name)
        self.C = C

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Fit to the samples ``X`` [n, d] and their classes ``y`` [n]."""
        self.classes_: NDArray[Any]
        x, self.classes_, codes = labelled_samples(self, X, y, np.float64)
        variance = float(x.var())
        self.gamma_ = 1.0 / (x.shape[1] * variance) if variance > 0 else 1.0
        self.centre_ = x.mean(axis=0)
        x = x - self.centre_
        rows = [np.flatnonzero(codes == number) for number in range(len(self.classes_))]
        weights = [len(x) / (len(rows) * len(own)) for own in rows]
        kernels = _Kernels([x[own].astype(np.float32) for own in rows], self.gamma_)
        pairs = list(combinations(range(len(rows)), 2))
        dual = np.zeros((len(x), len(pairs)), dtype=np.float32)
        self.intercept_ = np.empty(len(pairs))
        for place, (first, second) in enumerate(pairs):
            balance = {0: weights[first], 1: weights[second]}
            machine = kernels.fit(first, second, C=self.C, class_weight=balance)
            both = np.concatenate([rows[first], rows[second]])
            dual[both[machine.support_], place] = machine.dual_coef_[0]
            self.intercept_[place] = machine.intercept_[0]
        support = dual.any(axis=1)
        self.vectors_, self.dual_ = x[support].astype(np.float32), dual[support]
        return self

    def decision_function(self, X: ArrayLike) -> Floats:  # noqa: N803
        """One value a class ``[n, c]``; for two classes that of the second ``[n]``, as SVC gives them."""
        values = self._pairwise(X)
        own: Floats = values[0]
        if len(values) > 1:
            own = np.ascontiguousarray(_one_against_rest(values, len(self.classes_)).T)
        return own

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class with the greatest decision value ``[n]``."""
        return self.decide(X)[0]

    def decide(self, X: ArrayLike) -> tuple[NDArray[Any], Floats]:  # noqa: N803
        """The class with the greatest decision value ``[n]``, and a score for each class ``[n, c]``.

        The decision counts the machines that a class wins, so its values are steps; probabilities,
        thresholds and rankings need something smooth. The scores are logarithms of probabilities: each
        machine's value is taken for half the logarithm of the odds between its two classes, and the
        machines are coupled by Price et al. 1994 ("Pairwise neural network classifiers with probabilistic
        outputs", NIPS 7). Of two classes they are the margins.
        """
        values, count = self._pairwise(X), len(self.classes_)
        if len(values) == 1:
            return self.classes_[(values[0] > 0).astype(int)], np.stack([-values[0], values[0]], axis=1)
        decided = np.argmax(_one_against_rest(values, count), axis=0)
        return self.classes_[decided], log_posterior(np.ascontiguousarray(_coupled(values, count).T))

    def _pairwise(self, X: ArrayLike) -> Floats:  # noqa: N803
        """The value of each pair's machine ``[c·(c-1)/2, n]``; above 0 it is the second class."""
        check_is_fitted(self)
        x = (validate_data(self, X, dtype=np.float64, reset=False) - self.centre_).astype(np.float32)
        values = np.repeat(self.intercept_[:, None], len(x), axis=1)
        for vectors, dual, places in self._machines():
            for start in range(0, len(x), BLOCK):
                some = slice(start, start + BLOCK)
                kernel = _kernel(x[some], vectors, self.gamma_).astype(np.float64)
                values[places, some] += dual.T @ kernel.T
        return values

    def _machines(self) -> Iterator[tuple[Singles, Floats, NDArray[np.int64]]]:
        """Of each class its vectors, their weights in the machines of its pairs, and the places of these.

        In all other machines the weights are none. A weight is above 0 for the second class of a pair.
        """
        pairs = np.array(list(combinations(range(len(self.classes_)), 2)))
        place = np.abs(self.dual_).argmax(axis=1)
        positive = np.take_along_axis(self.dual_, place[:, None], axis=1)[:, 0] > 0
        of = pairs[place, positive.astype(int)]
        for number in range(len(self.classes_)):
            places, own = np.flatnonzero((pairs == number).any(axis=1)), of == number
            yield self.vectors_[own], self.dual_[own][:, places].astype(np.float64), places


@dataclass(frozen=True)
class _Kernels:
    """The kernels between the samples of two classes, those within a class kept where they are small.

    Args:
        parts: samples [n, d], one array a class.
        gamma: of the kernel.
    """

    parts: list[Singles]
    gamma: float
    own: dict[int, Singles] = field(default_factory=dict)

    def fit(self, first: int, second: int, **given: Any) -> SVC:
        """The machine that tells the first class (0) from the second (1)."""
        sizes = len(self.parts[first]), len(self.parts[second])
        labels = np.repeat([0, 1], sizes)
        if sum(sizes) > MOST_IN_KERNEL:
            both = np.concatenate([self.parts[first], self.parts[second]])
            return SVC(kernel="rbf", gamma=self.gamma, cache_size=500, **given).fit(both, labels)
        across = _kernel(self.parts[first], self.parts[second], self.gamma)
        # As libsvm takes it: else it would be copied once more.
        whole = np.empty((sum(sizes), sum(sizes)))
        np.concatenate([self._within(first), across], axis=1, out=whole[: sizes[0]])
        np.concatenate([across.T, self._within(second)], axis=1, out=whole[sizes[0] :])
        return SVC(kernel="precomputed", **given).fit(whole, labels)

    def _within(self, number: int) -> Singles:
        if number in self.own:
            return self.own[number]
        kernel = _kernel(self.parts[number], self.parts[number], self.gamma)
        if sum(len(part) ** 2 for part in self.parts) <= MOST_KEPT:
            self.own[number] = kernel
        return kernel


def _kernel(x: Singles, other: Singles, gamma: float) -> Singles:
    """exp(−γ · distance²) of ``x`` [n, d] to ``other`` [m, d]: [n, m]."""
    kernel: Singles = np.multiply(x, 2 * gamma, dtype=np.float32) @ other.T
    kernel -= (gamma * np.einsum("nd,nd->n", x, x))[:, None]
    kernel -= gamma * np.einsum("md,md->m", other, other)
    np.minimum(kernel, 0, out=kernel)
    np.exp(kernel, out=kernel)
    return kernel


def _one_against_rest(values: Floats, classes: int) -> Floats:
    """The pairs' values ``[pairs, n]`` → one a class ``[c, n]``: votes, and for equal votes the sum.

    As scikit-learn's ``decision_function_shape="ovr"``: the sum is pressed into ±1/3, so that it never
    outweighs a vote.
    """
    votes, sums = np.zeros((classes, values.shape[1])), np.zeros((classes, values.shape[1]))
    for value, (first, second) in zip(values, combinations(range(classes), 2), strict=True):
        won = value > 0
        votes[first] += ~won
        votes[second] += won
        sums[first] -= value
        sums[second] += value
    votes += sums / (3 * (np.abs(sums) + 1))
    return votes


def _coupled(values: Floats, classes: int) -> Floats:
    """The pairs' values ``[pairs, n]`` → the logarithm of each class's probability ``[c, n]``.

    It is right but for a number that all of an image's have in common. With r the probability of a class
    against one other, its own is 1 / (Σ 1/r - (c - 2)), and 1/r is 1 + exp(-2 · value).
    """
    against = np.zeros((classes, values.shape[1]))
    for value, (first, second) in zip(values, combinations(range(classes), 2), strict=True):
        np.logaddexp(against[first], 2 * value, out=against[first])
        np.logaddexp(against[second], -2 * value, out=against[second])
    return -against
