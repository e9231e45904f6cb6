"""Sensitivity, specificity and predictive values of each class against the rest, at an operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.errors import SettingsError
from hundredfold.metrics.averages import Floats, Integers, divide
from hundredfold.metrics.resampling import Estimate, Resamples

__all__ = [
    "OperatingPoint", "operating_points", "predictive_values", "prevalences", "standardised", "threshold",
]

ROUNDING = 1e-9  # of .95 · 20 images, which is 19 and a little in binary


@dataclass(frozen=True)
class OperatingPoint:
    """What one class is recognised by, against the rest.

    Attributes:
        class_number: which class.
        prevalence: the share of the class that the predictive values are for.
        sensitivity: share of the class's images that are called so.
        specificity: share of the other images that are not.
        ppv: share of the images called so that are of the class (positive predictive value).
        npv: share of the images not called so that are not of it (negative predictive value).
        n_test: test images of the class.
        n_rest: test images of the other classes.
    """

    class_number: int
    prevalence: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    n_test: int
    n_rest: int


def threshold(
    own: ArrayLike, scores: ArrayLike, aim: Literal["sensitivity", "specificity"], target: float
) -> float:
    """The score from which on an image is called the class, so that a target is just reached.

    For a sensitivity the highest such score, for a specificity the lowest.

    Args:
        own: ``[n]`` true for the images of the class. They must not be test images.
        scores: ``[n]`` the class's scores of images that the classifier did not learn from.
        aim: whether at least ``target`` of the class's images are to be called so, or at least ``target`` of
            the other images not to be.
        target: between 0 and 1.

    Returns:
        NaN where there is no image to tell it from.

    Examples:
        >>> own, scores = [False, False, True, True], [0.1, 0.6, 0.4, 0.9]
        >>> threshold(own, scores, "sensitivity", 1.0), threshold(own, scores, "specificity", 0.5)
        (0.4, 0.10000000000000002)
    """
    own, scores = np.asarray(own, bool), np.asarray(scores)
    side = np.sort(scores[own if aim == "sensitivity" else ~own])
    if not len(side):
        return np.nan
    if aim == "sensitivity":
        return float(side[min(int((1 - target) * len(side) + ROUNDING), len(side) - 1)])
    spared = int(np.ceil(target * len(side) - ROUNDING))
    return float(np.nextafter(side[spared - 1], np.inf, dtype=side.dtype)) if spared else -np.inf


def predictive_values(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike
) -> tuple[Floats, Floats]:
    """Positive and negative predictive value, by Bayes' theorem; NaN where nothing is called so, or all is.

    Examples:
        >>> ppv, npv = predictive_values(0.9, 0.9, 0.1)
        >>> round(float(ppv), 3), round(float(npv), 3)
        (0.5, 0.988)
    """
    sensitivity, specificity, prevalence = map(np.asarray, (sensitivity, specificity, prevalence))
    hit, alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    spared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return divide(hit, hit + alarm), divide(spared, spared + missed)


def standardised(
    truth: Integers, weights: NDArray[np.float32], prevalence: ArrayLike
) -> Floats:
    """Weights of images ``[n, b]`` scaled so that each class's sum is its prevalence, in every resample.

    Direct standardisation: the images of a class stand for its share of the patients that the reader has in
    mind, not for how many of them happen to be in the test set. A class that was not drawn weighs nothing.

    Examples:
        >>> ones = np.ones((3, 1), dtype=np.float32)
        >>> standardised(np.array([0, 0, 1]), ones, [0.5, 0.5])[:, 0].tolist()
        [0.25, 0.25, 0.5]
    """
    prevalence = np.asarray(prevalence, dtype=np.float64)
    sizes = np.stack([weights[truth == number].sum(axis=0) for number in range(len(prevalence))])  # [c, b]
    factor = np.nan_to_num(divide(np.broadcast_to(prevalence[:, None], sizes.shape), sizes))
    return weights * factor[truth]


def operating_points(
    truth: ArrayLike, called: ArrayLike, resamples: Resamples | None, prevalence: ArrayLike | None = None
) -> list[OperatingPoint]:
    """Judge yes-or-no answers, one class against the rest.

    Sensitivity and specificity are means over the repeats; the predictive values follow from them and the
    prevalence by Bayes' theorem, the prevalence being taken as known: it is the same in all resamples.
    The rest counts in the mix that the prevalences make.

    Args:
        truth: ``[n]`` class numbers.
        called: ``[r, n, c]`` whether an image is called class c. A class's own answers are judged apart from
            the others', so an image may be called several classes, or none.
        resamples: for the intervals, of at least ten groups with the class and ten with others (each value
            needs those that it is made from); ``None`` for none.
        prevalence: ``[c]`` the share of each class, in all 1; by default that of the test set.

    Returns:
        one for each class with test images.

    Examples:
        >>> truth, called = [0, 0, 1, 1], [[[1, 0], [0, 1], [0, 1], [0, 1]]]
        >>> first = operating_points(truth, called, None)[0]
        >>> first.sensitivity.value, first.specificity.value, first.ppv.value
        (0.5, 1.0, 1.0)
    """
    truth, called = np.asarray(truth), np.asarray(called, dtype=bool)
    sizes = np.bincount(truth, minlength=called.shape[2])
    share = sizes / sizes.sum() if prevalence is None else np.asarray(prevalence, dtype=np.float64)
    points = _rates(truth, called, Resamples.whole(len(truth), len(called)), share)
    spread = None
    if resamples is not None:
        parts = [_rates(truth, called, part, share) for part in resamples.blocks()]
        spread = [np.concatenate(blocks) for blocks in zip(*parts, strict=True)]

    def of(number: int) -> OperatingPoint:
        own, rest = truth == number, truth != number
        values = [float(point[0, number]) for point in points]
        ends = [(np.nan, np.nan)] * len(points)
        if resamples is not None and spread is not None:
            ends = _ends(values, [rates[:, number] for rates in spread], resamples, own, share[number])
        found = [Estimate(value, *pair) for value, pair in zip(values, ends, strict=True)]
        return OperatingPoint(
            number, float(share[number]), sensitivity=found[0], specificity=found[1], ppv=found[2],
            npv=found[3], n_test=int(own.sum()), n_rest=int(rest.sum()),
        )

    return [of(int(number)) for number in np.flatnonzero(sizes)]


def _ends(
    values: list[float], spread: list[Floats], resamples: Resamples, own: NDArray[np.bool_], prevalence: float
) -> list[tuple[float, float]]:
    """The intervals of sensitivity, specificity and the predictive values of one class."""
    sensitivity = resamples.share_interval(values[0], spread[0], own)
    specificity = resamples.share_interval(values[1], spread[1], ~own)
    # A predictive value of 0 or 1 is as sure as the shares that it follows from, no surer.
    low, high = (
        predictive_values(sensitivity[side], specificity[side], prevalence) for side in (0, 1)
    )
    found = [sensitivity, specificity]
    for place in (0, 1):
        pair = resamples.interval(spread[2 + place])
        if resamples.too_few(own) or resamples.too_few(~own):
            pair = (np.nan, np.nan)
        elif values[2 + place] in (0, 1):
            pair = (float(low[place]), float(high[place]))
        found.append(pair)
    return found


def _rates(
    truth: Integers, called: NDArray[np.bool_], resamples: Resamples, prevalence: Floats
) -> tuple[Floats, ...]:
    """Sensitivity, specificity, and positive and negative predictive value, ``[b, c]`` each."""
    own = np.eye(called.shape[2], dtype=bool)[truth]  # [n, c]
    weights = standardised(truth, resamples.weights, prevalence).T  # [b, n]

    def weight(of: NDArray[np.bool_]) -> Floats:  # [n, c] → [b, c]
        found: Floats = weights @ of.astype(np.float64)
        return found

    found = np.stack([divide(weight(row & own), weight(own)) for row in called], axis=1)  # [b, r, c]
    spared = np.stack([divide(weight(~row & ~own), weight(~own)) for row in called], axis=1)
    sensitivity, specificity = resamples.over_repeats(found), resamples.over_repeats(spared)
    return sensitivity, specificity, *predictive_values(sensitivity, specificity, prevalence)


def prevalences(
    sizes: Integers, classes: Sequence[str], stated: Mapping[str, float],
    of: str = "test images",
) -> Floats:
    """The share of each class ``[c]``: as stated, the rest divided as the images at hand.

    Args:
        sizes: ``[c]`` images at hand.
        classes: ``[c]`` names.
        stated: class → share.
        of: what the images at hand are called.

    Raises:
        SettingsError: one is of no class with such images, or all classes are stated and do not make 1.

    Examples:
        >>> prevalences(np.array([50, 30, 20]), ["a", "b", "c"], {"a": 0.9}).round(3).tolist()
        [0.9, 0.06, 0.04]
    """
    there = {name for name, size in zip(classes, sizes, strict=True) if size}
    if unknown := sorted(stated.keys() - there):
        raise SettingsError(
            f"a prevalence is stated for {unknown[0]!r}, which has no {of}", where="prevalence",
            remedy=f"Classes with {of}: {', '.join(sorted(there))}.",
        )
    told = np.array([name in stated for name in classes])
    share = np.array([stated.get(name, 0.0) for name in classes])
    others = np.where(told, 0, sizes)
    rest = 1 - share.sum()
    if (others.sum() == 0 and abs(rest) > 1e-3) or (others.sum() and rest <= 0):
        raise SettingsError(
            f"the prevalences stated make {share.sum():g} in all", where="prevalence",
            remedy="Those of all classes make 1; those of some leave a part of 1 to the others.",
        )
    found: Floats = share + rest * others / max(others.sum(), 1)
    found /= found.sum()
    return found
