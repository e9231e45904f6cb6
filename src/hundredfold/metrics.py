"""How good predictions are, and how sure one can be of it.

Labels are integers ``0 … c-1`` here (positions in a list of classes). Shapes: n test images, c classes,
r repeats (draws of the labels), g groups (patients, slides), b bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MIN_GROUPS", "Measure", "Resamples", "auroc", "balanced_accuracy", "confusion", "group_codes",
    "macro_f1", "measure", "paired_difference", "recalls",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MIN_GROUPS = 10
LEVEL = (2.5, 97.5)


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
    return _divide(np.diagonal(table), table.sum(axis=1))


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
    return float(_mean_f1(np.diagonal(table), table.sum(axis=1), table.sum(axis=0)))


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
    return float(_auroc(truth, scores, once)[0])


def group_codes(groups: Sequence[object] | None, count: int) -> Integers:
    """Number the groups ``0 … g-1``; an image without a group is a group of its own.

    Args:
        groups: ``[n]`` names, missing where unknown; ``None`` if no image has one.
        count: n.

    Examples:
        >>> group_codes(["slide 2", None, "slide 1", "slide 2"], 4).tolist()
        [0, 1, 2, 0]
    """
    if groups is None:
        return np.arange(count, dtype=np.int64)
    seen: dict[object, int] = {}
    keys = [position if _missing(name) else str(name) for position, name in enumerate(groups)]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of test groups and of repeats, drawn jointly and used for every method alike.

    Whole groups are drawn with replacement, because the images of one patient are no independent
    evidence (Field & Welsh 2007, cluster bootstrap), and so are the repeats, because other labels
    would have given another classifier.

    Attributes:
        group: ``[n]`` the group number of each test image.
        group_counts: ``[b, g]`` how often each group was drawn.
        repeat_counts: ``[b, r]`` how often each repeat was drawn.
    """

    group: Integers
    group_counts: NDArray[np.float32]
    repeat_counts: Floats

    @classmethod
    def draw(cls, group: ArrayLike, repeats: int, count: int, seed: int) -> Resamples:
        """Draw ``count`` resamples; the same arguments give the same resamples.

        Examples:
            >>> drawn = Resamples.draw([0, 0, 1], repeats=5, count=100, seed=0)
            >>> drawn.group_counts.shape, drawn.repeat_counts.shape
            ((100, 2), (100, 5))
        """
        group = np.asarray(group, dtype=np.int64)
        groups = int(group.max()) + 1
        random = np.random.default_rng([seed, groups, repeats])
        drawn = random.integers(groups, size=(count, groups))
        rows = np.arange(count)[:, None] * groups
        counts = np.bincount((drawn + rows).ravel(), minlength=count * groups).reshape(count, groups)
        draws = random.multinomial(repeats, [1 / repeats] * repeats, count).astype(np.float64)
        return cls(group, counts.astype(np.float32), draws)

    def __len__(self) -> int:
        return len(self.group_counts)

    @property
    def weights(self) -> NDArray[np.float32]:
        """How often each image is in each resample, ``[n, b]``."""
        return np.ascontiguousarray(self.group_counts.T)[self.group]


@dataclass(frozen=True)
class Measure:
    """One metric of one method: a value a repeat, and the interval of their mean.

    Attributes:
        metric: ``balanced_accuracy``, ``macro_f1``, ``auroc`` or ``recall``.
        class_number: which class, for ``recall``; ``None`` for figures over all classes.
        values: ``[r]``.
        low: lower end of the 95 % interval of the mean over repeats; NaN where there is none.
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
    every = np.arange(len(truth))
    once = Resamples(every, np.ones((1, len(truth)), np.float32), np.ones((1, len(predicted))))
    points = _statistics(truth, predicted, scores, once)  # name → [1, r] or [1, r, c]
    spread = _statistics(truth, predicted, scores, resamples) if resamples else None
    images = np.bincount(truth, minlength=classes)

    def of(metric: str, number: int | None) -> Measure:
        at = (slice(None), slice(None), *(() if number is None else (number,)))
        ends = (np.nan, np.nan)
        if spread is not None and resamples is not None and _groups(resamples, truth, number) >= MIN_GROUPS:
            ends = _interval(spread[metric][at], resamples.repeat_counts)
        count = len(truth) if number is None else int(images[number])
        return Measure(metric, number, points[metric][at][0], *ends, n_test=count)

    present = np.flatnonzero(images)
    overall = [of(metric, None) for metric in ("balanced_accuracy", "macro_f1", "auroc")]
    return overall + [of("recall", int(number)) for number in present]


def paired_difference(
    truth: ArrayLike, first: ArrayLike, second: ArrayLike, classes: int, resamples: Resamples
) -> tuple[float, float, float]:
    """How much better the balanced accuracy of one method is than another's, with its 95 % interval.

    Both are judged on the same resamples of the same test images and draws of labels, so what makes
    an image or a draw hard for both cancels out; two intervals that overlap say nothing of this.

    Args:
        truth: ``[n]`` class numbers.
        first: ``[r, n]`` class numbers that the one predicts.
        second: the other's, for the same labels and images.
        classes: c.
        resamples: of the test groups and the repeats.

    Returns:
        the mean difference (first - second) over the repeats, and the ends of its interval; they are NaN
        where the test images come from fewer than ten groups.

    Examples:
        >>> truth, right, wrong = [0] * 6 + [1] * 6, [[0] * 6 + [1] * 6], [[0] * 12]
        >>> drawn = Resamples.draw(range(12), repeats=1, count=200, seed=0)
        >>> paired_difference(truth, right, wrong, 2, drawn)
        (0.5, 0.5, 0.5)
    """
    truth = np.asarray(truth)
    pairs = [np.asarray(first), np.asarray(second)]
    values = [[balanced_accuracy(truth, row, classes) for row in rows] for rows in pairs]
    value = float(np.mean(values[0]) - np.mean(values[1]))
    if _groups(resamples, truth, None) < MIN_GROUPS:
        return value, np.nan, np.nan
    one, other = (_nanmean(_divide(*_hits(truth, rows, classes, resamples))) for rows in pairs)  # [b, r]
    return value, *_interval(one - other, resamples.repeat_counts)


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
    hit, true = _hits(truth, predicted, classes, resamples)
    called = np.stack([_per_group(row, every, resamples, classes) for row in predicted], axis=1)  # [b, r, c]
    recall = _divide(hit, true)
    weights = resamples.weights  # [n, b]
    area = np.stack([_auroc(truth, scores[repeat], weights) for repeat in range(repeats)], axis=1)
    return {
        "recall": recall, "balanced_accuracy": _nanmean(recall),
        "macro_f1": _mean_f1(hit, true, called), "auroc": area,
    }


def _per_group(codes: Integers, chosen: NDArray[np.bool_], resamples: Resamples, classes: int) -> Floats:
    """Number of chosen images of each class in each resample, ``[b, c]``."""
    groups = resamples.group_counts.shape[1]
    cells = resamples.group[chosen] * classes + codes[chosen]
    counts = np.bincount(cells, minlength=groups * classes).reshape(groups, classes)
    return (resamples.group_counts @ counts.astype(np.float32)).astype(np.float64)


def _auroc(truth: Integers, scores: NDArray[np.floating], weights: NDArray[np.float32]) -> Floats:
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
        areas.append(_divide(won, weights[own].sum(axis=0, dtype=np.float64) * below[-1]))
    return _nanmean(np.stack(areas, axis=-1))


def _interval(statistic: Floats, repeat_counts: Floats) -> tuple[float, float]:
    """Percentiles over resamples of the mean over the drawn repeats; undefined resamples are left out."""
    mean = np.sum(statistic * repeat_counts, axis=1) / repeat_counts.sum(axis=1)
    defined = mean[~np.isnan(mean)]
    if len(defined) == 0:
        return np.nan, np.nan
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)


def _groups(resamples: Resamples, truth: Integers, number: int | None) -> int:
    chosen = resamples.group if number is None else resamples.group[truth == number]
    return len(np.unique(chosen))


def _mean_f1(hit: ArrayLike, true: ArrayLike, called: ArrayLike) -> Floats:
    hit, true, called = np.asarray(hit), np.asarray(true), np.asarray(called)
    score = _divide(2.0 * hit, true + called)
    return _nanmean(np.where(np.broadcast_to(true, score.shape) > 0, score, np.nan))


def _divide(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    unknown: Floats = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=unknown, where=whole > 0)
    return unknown


def _nanmean(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where all are (numpy would warn)."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _missing(name: object) -> bool:
    return name is None or str(name) in ("", "<NA>", "nan")
