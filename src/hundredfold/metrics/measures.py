"""Every metric of every repeat with its interval; balanced accuracy in every resample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers, divide, nanmean
from hundredfold.metrics.certain import (
    certain_accuracy,
    class_trials,
    flawless_accuracy,
    flawless_area,
    flawless_f1,
)
from hundredfold.metrics.counts import mean_f1, recalls
from hundredfold.metrics.ranking import weighted_auroc
from hundredfold.metrics.resampling import MIN_GROUPS, Resamples

__all__ = ["TINY", "WITHOUT_TINY", "Measure", "interval_width", "measure", "resampled_accuracy"]

#: Test images of a class. With fewer, one image moves its recall by more than .1, and there is no interval
#: to tell how much that matters: it could not have ten groups.
TINY = MIN_GROUPS
WITHOUT_TINY = "balanced_accuracy_without_tiny"


@dataclass(frozen=True)
class Measure:
    """One metric of one method: a value a repeat, and the interval of their mean.

    Attributes:
        metric: ``balanced_accuracy``, ``macro_f1``, ``auroc`` or ``recall``; and, where some classes have
            fewer than ten test images and some have not, ``balanced_accuracy_without_tiny``, the same
            over the others.
        class_number: which class, for ``recall``; ``None`` for figures over all classes.
        values: ``[r]``.
        low: lower end of the 95 % interval of the mean over repeats; NaN where there is none. Where the
            value, or the recall of each class, is 1 or 0 in every repeat it is exact; see
            :mod:`~hundredfold.metrics.certain`.
        high: upper end.
        n_test: the test images behind it.
    """

    metric: str
    class_number: int | None
    values: Floats
    low: float
    high: float
    n_test: int


def measure(
    truth: ArrayLike, predicted: ArrayLike, scores: ArrayLike, resamples: Resamples | None
) -> list[Measure]:
    """Evaluate the predictions of all repeats; balanced accuracy comes first.

    Args:
        truth: ``[n]`` class numbers.
        predicted: ``[r, n]`` class numbers.
        scores: ``[r, n, c]``.
        resamples: for the intervals; ``None`` for none. An interval needs test images from at least
            ten groups (a class's recall: ten groups with that class).

    Examples:
        >>> truth, scores = [0, 0, 1], [[[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]]
        >>> [(m.metric, m.values.tolist()) for m in measure(truth, [[0, 1, 1]], scores, None)][:2]
        [('balanced_accuracy', [0.75]), ('macro_f1', [0.6666666666666666])]
    """
    truth, predicted, scores = np.asarray(truth), np.asarray(predicted), np.asarray(scores)
    classes = scores.shape[2]
    once = Resamples.whole(len(truth), len(predicted))
    points = _statistics(truth, predicted, scores, once)  # name → [1, r] or [1, r, c]
    spread = _statistics(truth, predicted, scores, resamples) if resamples else None
    images, recall = np.bincount(truth, minlength=classes), points["recall"][0]

    def of(metric: str, number: int | None, among: NDArray[np.bool_]) -> Measure:
        at = (slice(None), slice(None), *(() if number is None else (number,)))
        values, ends = points[metric][at][0], (np.nan, np.nan)
        if spread is not None and resamples is not None and number is None:
            ends = _ends(
                metric, float(values.mean()), spread[metric][at], resamples, truth, recall=recall, among=among
            )
        elif spread is not None and resamples is not None:
            ends = resamples.share_interval(float(values.mean()), spread[metric][at], among)
        return Measure(metric, number, values, *ends, n_test=int(among.sum()))

    every = np.ones(len(truth), bool)
    overall = [of(metric, None, every) for metric in ("balanced_accuracy", "macro_f1", "auroc")]
    if WITHOUT_TINY in points:
        overall.insert(1, of(WITHOUT_TINY, None, images[truth] >= TINY))
    present = (int(number) for number in np.flatnonzero(images))
    return overall + [of("recall", number, truth == number) for number in present]


def interval_width(
    truth: ArrayLike, predicted: ArrayLike, classes: int, resamples: Resamples
) -> float:
    """How wide the 95 % interval of the balanced accuracy is; NaN with fewer than ten groups.

    With resamples of twice as many groups (``Resamples.draw(…, times=2)``) it tells how wide the interval
    would be with twice the test set. What the draws of labels add to it stays as it is.

    Args:
        truth: ``[n]`` class numbers.
        predicted: ``[r, n]`` class numbers.
        classes: c.
        resamples: of the test groups and the repeats.

    Examples:
        >>> truth = [0, 1] * 20
        >>> for times in (1, 2):
        ...     drawn = Resamples.draw(range(40), 1, 50, seed=0, times=times)
        ...     round(interval_width(truth, [truth], 2, drawn), 3)
        0.088
        0.045
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    found = np.stack([recalls(truth, row, classes) for row in predicted])
    spread = resampled_accuracy(truth, predicted, classes, resamples)
    value = float(nanmean(found).mean())
    low, high = _ends("balanced_accuracy", value, spread, resamples, truth, recall=found)
    return high - low


def _ends(
    metric: str, value: float, spread: Floats, resamples: Resamples, truth: Integers, *,
    recall: Floats, among: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """The interval of a figure over all classes, or over those with images ``among`` [n] the test images.

    ``recall`` is that of each repeat and class ``[r, c]``.
    """
    low, high = resamples.interval(spread, among)
    if np.isnan(low):
        return low, high
    there = np.unique(truth if among is None else truth[among])
    each = recall[:, there].mean(axis=0)
    if metric in ("balanced_accuracy", WITHOUT_TINY) and np.isin(each, (0, 1)).all():
        return certain_accuracy(class_trials(truth, resamples, among), each)
    if value not in (0, 1):
        return low, high
    trials = class_trials(truth, resamples, among)
    if metric == "auroc":
        bound = flawless_area(trials)
    elif metric == "macro_f1" and value == 1:
        bound = flawless_f1(trials, np.unique(truth, return_counts=True)[1])
    else:
        bound = flawless_accuracy(trials)
    if value == 1:
        return bound, 1.0
    # An F1 is at most 2 p / (1 + p) where p is the recall, and their mean at most that of the mean recall.
    return 0.0, 2 * (1 - bound) / (2 - bound) if metric == "macro_f1" else 1 - bound


def resampled_accuracy(
    truth: ArrayLike, predicted: ArrayLike, classes: int, resamples: Resamples
) -> Floats:
    """Balanced accuracy in every resample, as the mean over the repeats drawn: ``[b]``.

    Two methods judged on the same resamples differ by what is theirs alone: what makes an image or a draw
    hard for both cancels out.

    Args:
        truth: ``[n]`` class numbers.
        predicted: ``[r, n]`` class numbers.
        classes: c.
        resamples: of the test groups and the repeats.

    Examples:
        >>> drawn = Resamples.draw(range(12), repeats=1, count=200, seed=0)
        >>> set(resampled_accuracy([0] * 6 + [1] * 6, [[0] * 12], 2, drawn).tolist())
        {0.5}
    """
    each = nanmean(divide(*_hits(np.asarray(truth), np.asarray(predicted), classes, resamples)))  # [b, r]
    return divide(np.sum(each * resamples.repeat_counts, axis=1), resamples.repeat_counts.sum(axis=1))


def _hits(truth: Integers, predicted: Integers, classes: int, resamples: Resamples) -> tuple[Floats, Floats]:
    """How many images of each class are recognised ``[b, r, c]``, and how many there are ``[b, 1, c]``."""
    hit = np.stack([_per_group(truth, row == truth, resamples, classes) for row in predicted], axis=1)
    return hit, _per_group(truth, np.ones(len(truth), bool), resamples, classes)[:, None, :]


def _statistics(
    truth: Integers, predicted: Integers, scores: Floats, resamples: Resamples
) -> dict[str, Floats]:
    """Every metric for every resample and repeat: ``[b, r]``, recall ``[b, r, c]``."""
    repeats, _, classes = scores.shape
    every = np.ones(len(truth), bool)
    true_once = np.bincount(truth, minlength=classes)
    hit, true = _hits(truth, predicted, classes, resamples)
    called = np.stack([_per_group(row, every, resamples, classes) for row in predicted], axis=1)  # [b, r, c]
    recall = divide(hit, true)
    weights = resamples.weights  # [n, b]
    area = np.stack([weighted_auroc(truth, scores[repeat], weights) for repeat in range(repeats)], axis=1)
    tiny = true_once < TINY
    kept = {} if tiny.all() or not tiny[true_once > 0].any() else {WITHOUT_TINY: nanmean(recall[..., ~tiny])}
    return kept | {
        "recall": recall, "balanced_accuracy": nanmean(recall),
        "macro_f1": mean_f1(hit, true, called), "auroc": area,
    }


def _per_group(codes: Integers, chosen: NDArray[np.bool_], resamples: Resamples, classes: int) -> Floats:
    """Number of chosen images of each class in each resample, ``[b, c]``."""
    groups = resamples.group_counts.shape[1]
    cells = resamples.group[chosen] * classes + codes[chosen]
    counts = np.bincount(cells, minlength=groups * classes).reshape(groups, classes)
    return (resamples.group_counts @ counts.astype(np.float32)).astype(np.float64)
