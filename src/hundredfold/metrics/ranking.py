"""How well scores put the images of a class above the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers, divide, nanmean

__all__ = ["auroc", "weighted_auroc"]


def auroc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, one class against the rest, averaged over the classes with test images.

    Args:
        truth: ``[n]`` class numbers.
        scores: ``[n, c]``, the higher the likelier; only their order within a class's column matters.

    Examples:
        >>> auroc([0, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        1.0
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    once = np.ones((len(truth), 1), dtype=np.float32)
    return float(weighted_auroc(truth, scores, once)[0])


def weighted_auroc(truth: Integers, scores: NDArray[np.floating], weights: NDArray[np.float32]) -> Floats:
    """Weighted one-against-rest AUROC, averaged over classes, for each column of weights: ``[b]``.

    The probability that a random image of the class scores above a random other one, ties counting half
    (Mann-Whitney), with every image counted as often as it was drawn.
    """
    areas = []
    for number in np.unique(truth):
        own = truth == number
        other = np.sort(scores[~own, number])
        below = np.zeros((len(other) + 1, weights.shape[1]), dtype=np.float32)
        # Counts of at most 2^24 images are exact in float32.
        np.cumsum(weights[~own][np.argsort(scores[~own, number], kind="stable")], axis=0, out=below[1:])
        mine = scores[own, number]
        beaten = below[np.searchsorted(other, mine, "left")] + below[np.searchsorted(other, mine, "right")]
        won = np.einsum("nb,nb->b", weights[own], beaten, dtype=np.float64) / 2
        areas.append(divide(won, weights[own].sum(axis=0, dtype=np.float64) * below[-1]))
    return nanmean(np.stack(areas, axis=-1))
