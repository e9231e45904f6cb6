"""Intervals of results that are exactly 1 or exactly 0, where no bootstrap resample differs from another.

After a flawless result the only populations to be ruled out are those in which it would have been unlikely.
So each lower end here is a bound of the measure over all populations in which a flawless result has a
probability of at least 2.5 %: for one class that is the exact binomial interval of Clopper and Pearson
(1934), for a function of several shares the limit of Buehler (1957, Journal of the American Statistical
Association 52, 482–493). The upper ends after a result of 0 follow by symmetry.

Shapes: c classes, each with its number of independent trials (test groups).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats
from hundredfold.metrics.resampling import LEVEL, Resamples

__all__ = [
    "certain_accuracy", "class_trials", "flawless_accuracy", "flawless_area", "flawless_f1", "least_mean",
]

#: How likely a flawless result must be in a population that is not ruled out.
LIKELY = LEVEL[0] / 100


def least_mean(trials: ArrayLike, weights: ArrayLike) -> float:
    """The lower end of a weighted mean of shares, each of which is 1 in its trials.

    It minimises ``sum(w p)`` over all p with ``prod(p**n) >= .025``: a convex problem whose solution is
    ``p = min(1, t n / w)``, so the shares of few trials are doubted first.

    Args:
        trials: ``[c]`` how many, above 0; not necessarily whole.
        weights: ``[c]`` of the shares; in all 1.

    Examples:
        >>> round(least_mean([10], [1]), 4), round(0.025 ** (1 / 10), 4)
        (0.6915, 0.6915)
        >>> round(least_mean([10, 1000], [0.5, 0.5]), 4)
        0.8458
    """
    n, w = np.asarray(trials, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(n / w, kind="stable")
    n, w = n[order], w[order]
    ratio = n / w
    # t, if the first 1, 2, … c shares are the ones below 1; the first that leaves the next at 1 is right
    t = np.exp((np.log(LIKELY) - np.cumsum(n * np.log(ratio))) / np.cumsum(n))
    right = np.argmax(t * np.append(ratio[1:], np.inf) >= 1)
    return float(w @ np.minimum(1, t[right] * ratio))


def flawless_accuracy(trials: ArrayLike) -> float:
    """The lower end of a balanced accuracy of 1.

    Examples:
        >>> round(flawless_accuracy([40, 40]), 4), round(0.025 ** (1 / 80), 4)
        (0.9549, 0.9549)
    """
    n = np.asarray(trials, dtype=np.float64)
    return least_mean(n, np.full(len(n), 1 / len(n)))


def certain_accuracy(trials: ArrayLike, recalls: ArrayLike) -> tuple[float, float]:
    """The interval of a balanced accuracy of classes that are each recognised always or never.

    As after a flawless result, resamples do not differ from each other, whatever the mean is. The lower end
    is had with the classes never recognised at 0, the upper one with the others at 1.

    Args:
        trials: ``[c]``.
        recalls: ``[c]``, each 1 or 0.

    Examples:
        >>> low, high = certain_accuracy([40, 40], [1, 0])
        >>> round(low, 3), round(high, 3), round(0.025 ** (1 / 40) / 2, 3)
        (0.456, 0.544, 0.456)
    """
    n, always = np.asarray(trials, dtype=np.float64), np.asarray(recalls) == 1
    below, above = (
        float(of.mean() * (1 - flawless_accuracy(n[of]))) if of.any() else 0.0 for of in (always, ~always)
    )
    value = float(always.mean())
    return value - below, value + above


def flawless_f1(trials: ArrayLike, images: ArrayLike) -> float:
    """The lower end of a macro F1 of 1.

    A class loses at most the share of its images that is missed, and the images wrongly called so over its
    own. So the mean loses at most that of the balanced accuracy, and the share of all images that is missed,
    were all of them called the rarest class.

    Args:
        trials: ``[c]``.
        images: ``[c]`` test images of each class, which stand for how frequent it is.

    Examples:
        >>> round(flawless_f1([40, 40], [40, 40]), 3)
        0.91
    """
    frequency = np.asarray(images) / np.sum(images)
    missed = 1 - least_mean(trials, frequency)
    return max(0.0, flawless_accuracy(trials) - missed / (len(frequency) * float(frequency.min())))


def flawless_area(trials: ArrayLike) -> float:
    """The lower end of an area under the ROC curve of 1, one class against the rest, averaged over classes.

    That n images of a class all score above m others has at most the probability ``A**min(n, m)`` where the
    area is A: so many pairs can be made without using an image twice, and each pair has to be in order. The
    mean of the classes' bounds is one of their mean.

    Examples:
        >>> round(flawless_area([40, 40]), 4), round(0.025 ** (1 / 40), 4)
        (0.9119, 0.9119)
    """
    n = np.asarray(trials, dtype=np.float64)
    pairs = np.minimum(n, n.sum() - n)
    return float(np.mean(LIKELY ** (1 / pairs)))


def class_trials(truth: ArrayLike, resamples: Resamples, among: NDArray[np.bool_] | None = None) -> Floats:
    """How many independent trials each class has: the test groups with images of it.

    A group of several classes counts once in all, in equal parts for each: its images may be right or wrong
    together. (The bounds of accuracies hold for any such division; see the module's text.)

    Args:
        truth: ``[n]`` class numbers.
        resamples: they know the groups, and how many times as many are drawn.
        among: ``[n]`` the images that count; by default all.

    Returns:
        ``[c]``, of the classes that have images, in ascending order.

    Examples:
        >>> drawn = Resamples.draw([0, 0, 1, 2], repeats=1, count=5, seed=0)
        >>> class_trials([0, 1, 0, 1], drawn).tolist()
        [1.5, 1.5]
    """
    truth, group = np.asarray(truth), resamples.group
    if among is not None:
        truth, group = truth[among], group[among]
    pairs = np.unique(np.stack([group, truth]), axis=1)
    _, place, classes_of = np.unique(pairs[0], return_inverse=True, return_counts=True)
    _, number = np.unique(pairs[1], return_inverse=True)
    return np.bincount(number, weights=resamples.times / classes_of[place]).astype(np.float64)
