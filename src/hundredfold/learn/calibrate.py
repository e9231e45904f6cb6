"""Scores → probabilities that mean something: fitted to what is said of labels that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

__all__ = ["FEWEST", "METHODS", "Calibration", "Method", "log_loss"]

Method: TypeAlias = Literal["temperature", "platt", "isotonic"]
METHODS: tuple[Method, ...] = get_args(Method)
Floats: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = tuple[float, ...]

#: Held-out labels of every class from which on probabilities are given.
FEWEST = 5
#: What a probability of 0 is taken for.
LEAST = 1e-6
#: Before any label is seen: a temperature between 1/20 and 20 (95 %), so that a handful cannot run away.
SPREAD = 1.5
WIDEST = 8.0


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of a classifier's scores.

    It is fitted as if all classes were equally common, for so the classifiers are; :meth:`probabilities` then
    takes the shares that the classes have where images come from.

    ``temperature`` divides what the classifier says (logarithms of probabilities, mostly) by one number
    (Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2); ``platt``
    fits a logistic curve a class, ``isotonic`` a staircase a class, both one against the rest (Zadrozny and
    Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates").

    Attributes:
        method: of these.
        logarithms: whether the scores are probabilities, of which logarithms are taken.
        curves: ``temperature``: its inverse alone; ``platt``: slope and offset of each class; ``isotonic``:
            for each class where the steps lie, and their heights.
        held_out: ``[c]`` labels of each class that it was fitted to.
    """

    method: Method
    logarithms: bool
    curves: tuple[Curve, ...]
    held_out: tuple[int, ...]

    @classmethod
    def fit(
        cls, scores: NDArray[Any], codes: NDArray[np.int64], method: Method = "temperature"
    ) -> Self | None:
        """Fit to the scores ``[m, c]`` of held-out labels, of classes ``codes`` [m].

        Rows of NaN are labels that could not be held out. ``None`` where a class has fewer than five others:
        then the scores stay scores.

        Examples:
            >>> scores = np.tile([[3.0, -3.0], [-3.0, 3.0]], (20, 1))
            >>> codes = np.tile([0, 1], 20); codes[:8] = 1 - codes[:8]  # sure of itself, and wrong in a fifth
            >>> found = Calibration.fit(scores, codes)
            >>> found.probabilities(scores[:1]).round(1).tolist()
            [[0.8, 0.2]]
        """
        judged = ~np.isnan(scores).any(axis=1)
        codes, count = codes[judged], scores.shape[1]
        sizes = np.bincount(codes, minlength=count)
        if sizes.min() < FEWEST:
            return None
        known = scores[judged].astype(np.float64)
        logarithms = bool((known >= 0).all() and np.allclose(known.sum(axis=1), 1, atol=1e-4))
        evidence = _evidence(known, logarithms=logarithms)
        weights = 1 / (count * sizes[codes])  # every class counts alike
        curves = _FITS[method](evidence, codes, weights)
        return cls(method, logarithms, curves, tuple(int(size) for size in sizes))

    def probabilities(self, scores: NDArray[Any], shares: NDArray[Any] | None = None) -> Floats:
        """The probability of each class ``[n, c]``.

        Args:
            scores: ``[n, c]``; of NaN nothing is known, and NaN it stays.
            shares: ``[c]`` of the classes where the images come from; by default all alike.
        """
        evidence = _evidence(np.asarray(scores, dtype=np.float64), logarithms=self.logarithms)
        found = self._equal(evidence)
        if shares is not None:
            found = found * np.asarray(shares, dtype=np.float64)
        total = found.sum(axis=1, keepdims=True)
        alike = np.full_like(found, 1 / found.shape[1])
        return np.asarray(np.divide(found, total, out=alike, where=total != 0), dtype=np.float64)

    @property
    def reusable(self) -> bool:
        """Whether the labels that it was fitted to can still judge what is made of the probabilities.

        A staircase follows them too closely: sets that were fitted to its probabilities of the same labels
        covered 86 % of new images where 90 % were asked (``benchmarks/conformal.py``).
        """
        return self.method != "isotonic"

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, which :meth:`of` reads."""
        return {
            "method": self.method, "logarithms": self.logarithms,
            "curves": [list(one) for one in self.curves],
            "held_out": list(self.held_out),
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What :attr:`facts` told."""
        return cls(
            facts["method"], facts["logarithms"], tuple(tuple(one) for one in facts["curves"]),
            tuple(facts["held_out"]),
        )

    def _equal(self, evidence: Floats) -> Floats:
        """Probabilities if all classes were equally common, up to a factor an image."""
        if self.method == "temperature":
            found: Floats = softmax(evidence * self.curves[0][0], axis=1)
            return found
        read = _sigmoid if self.method == "platt" else _stairs
        curves = zip(self.curves, evidence.T, strict=True)
        return np.stack([read(curve, values) for curve, values in curves], axis=1)


def log_loss(probabilities: Floats, codes: NDArray[np.int64], weights: Floats | None = None) -> float:
    """Mean of −log(probability of the true class); no probability counts as less than 1e-6.

    Examples:
        >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([1])), 4)
        0.6931
    """
    own = probabilities[np.arange(len(codes)), codes]
    return float(np.average(-np.log(np.clip(own, LEAST, None)), weights=weights))


def _evidence(scores: Floats, *, logarithms: bool) -> Floats:
    return np.log(np.clip(scores, LEAST, None)) if logarithms else scores


def _temperature(evidence: Floats, codes: NDArray[np.int64], weights: Floats) -> tuple[Curve, ...]:
    count = len(codes)

    def loss(inverse: float) -> float:
        own = log_softmax(np.exp(inverse) * evidence, axis=1)[np.arange(count), codes]
        return float(-count * np.dot(weights, own) + 0.5 * (inverse / SPREAD) ** 2)

    found = minimize_scalar(loss, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-4})
    return ((float(np.exp(found.x)),),)


def _platt(evidence: Floats, codes: NDArray[np.int64], weights: Floats) -> tuple[Curve, ...]:
    curves = []
    for number, values in enumerate(evidence.T):
        machine = LogisticRegression(C=SPREAD**2).fit(
            values[:, None], codes == number, sample_weight=weights * len(codes)
        )
        curves.append((float(machine.coef_[0, 0]), float(machine.intercept_[0])))
    return tuple(curves)


def _isotonic(evidence: Floats, codes: NDArray[np.int64], weights: Floats) -> tuple[Curve, ...]:
    curves = []
    for number, values in enumerate(evidence.T):
        stairs = IsotonicRegression(y_min=LEAST, y_max=1 - LEAST, out_of_bounds="clip")
        stairs.fit(values, codes == number, sample_weight=weights)
        curves.append((*map(float, stairs.X_thresholds_), *map(float, stairs.y_thresholds_)))
    return tuple(curves)


_FITS = {"temperature": _temperature, "platt": _platt, "isotonic": _isotonic}


def _sigmoid(curve: Curve, values: Floats) -> Floats:
    slope, offset = curve
    return np.asarray(expit(slope * values + offset), dtype=np.float64)


def _stairs(curve: Curve, values: Floats) -> Floats:
    middle = len(curve) // 2
    return np.asarray(np.interp(values, curve[:middle], curve[middle:]), dtype=np.float64)
