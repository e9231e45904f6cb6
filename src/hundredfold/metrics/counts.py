"""How many images of each class are recognised, and what is made of that: recall, balanced accuracy, F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hundredfold.metrics.averages import Floats, Integers, divide, nanmean

__all__ = ["balanced_accuracy", "confusion", "macro_f1", "mean_f1", "recalls"]


def confusion(truth: ArrayLike, predicted: ArrayLike, classes: int) -> Integers:
    """Count images by true class (rows) and predicted class (columns), ``[c, c]``.

    Examples:
        >>> confusion([0, 0, 1], [0, 1, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    codes = np.asarray(truth, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(codes, minlength=classes * classes).reshape(classes, classes)


def recalls(truth: ArrayLike, predicted: ArrayLike, classes: int) -> Floats:
    """Share of each class's images that is recognised, ``[c]``; NaN for a class without test images.

    Examples:
        >>> recalls([0, 0, 1], [0, 1, 1], 3).tolist()
        [0.5, 1.0, nan]
    """
    table = confusion(truth, predicted, classes)
    return divide(np.diagonal(table), table.sum(axis=1))


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Mean recall over the classes that have test images.

    Examples:
        >>> balanced_accuracy([0, 0, 1], [0, 1, 1], 3)
        0.75
    """
    return float(np.nanmean(recalls(truth, predicted, classes)))


def macro_f1(truth: ArrayLike, predicted: ArrayLike, classes: int) -> float:
    """Mean F1 over the classes that have test images.

    Examples:
        >>> round(macro_f1([0, 0, 1], [0, 1, 1], 3), 3)
        0.667
    """
    table = confusion(truth, predicted, classes)
    return float(mean_f1(np.diagonal(table), table.sum(axis=1), table.sum(axis=0)))


def mean_f1(hit: ArrayLike, true: ArrayLike, called: ArrayLike) -> Floats:
    """Mean F1 over the classes that have images, from counts ``[…, c]``.

    Args:
        hit: images of the class that are recognised.
        true: images of the class.
        called: images that are taken for the class.

    Examples:
        >>> round(float(mean_f1([1, 1], [2, 1], [1, 2])), 3)
        0.667
    """
    hit, true, called = np.asarray(hit), np.asarray(true), np.asarray(called)
    score = divide(2.0 * hit, true + called)
    return nanmean(np.where(np.broadcast_to(true, score.shape) > 0, score, np.nan))
