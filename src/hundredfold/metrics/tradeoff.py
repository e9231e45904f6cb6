"""ROC and precision–recall curves of one class against the rest, with bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, divide
from hundredfold.metrics.certain import class_trials, flawless_area
from hundredfold.metrics.operating import standardised
from hundredfold.metrics.resampling import LEVEL, Estimate, Resamples

__all__ = ["GRID", "Sweep", "Tradeoff", "tradeoff"]

#: The false positive rates, and the recalls, at which the curves are read off.
GRID: Floats = np.linspace(0, 1, 101)
ROUNDING = 1e-12


@dataclass(frozen=True)
class Sweep:
    """Who has been called the class as the threshold falls, from no one to everyone.

    Attributes:
        hits: ``[t + 1, b]`` weight of the class's images called so, at each of t different scores.
        alarms: ``[t + 1, b]`` that of the others.
    """

    hits: Floats
    alarms: Floats

    @classmethod
    def of(cls, own: NDArray[np.bool_], scores: ArrayLike, weights: NDArray[np.floating]) -> Self:
        """Sort the images ``[n]`` by their score; weights ``[n, b]`` say how much each counts.

        Examples:
            >>> sweep = Sweep.of(np.array([True, False, True]), [0.9, 0.5, 0.5], np.ones((3, 1)))
            >>> sweep.hits[:, 0].tolist(), sweep.alarms[:, 0].tolist()
            ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0])
        """
        falling = -np.asarray(scores)
        order = np.argsort(falling, kind="stable")
        # Equal scores are called together: a threshold cannot tell them apart.
        last = np.append(np.flatnonzero(np.diff(falling[order])), len(order) - 1)
        ordered, mine = weights[order], own[order, None]

        def called(of: NDArray[np.bool_]) -> Floats:
            summed = np.cumsum(ordered * of, axis=0, dtype=np.float64)[last]
            return np.concatenate([np.zeros((1, weights.shape[1])), summed])

        return cls(called(mine), called(~mine))

    def area(self) -> Floats:
        """Area under the ROC curve, ``[b]``."""
        mean = (self.hits[1:] + self.hits[:-1]) / 2
        return divide((mean * np.diff(self.alarms, axis=0)).sum(axis=0), self.hits[-1] * self.alarms[-1])

    def average_precision(self) -> Floats:
        """Precision averaged over the class's images, ``[b]``; no trapezia (Davis & Goadrich 2006)."""
        precision = np.nan_to_num(divide(self.hits, self.hits + self.alarms))[1:]
        return divide((precision * np.diff(self.hits, axis=0)).sum(axis=0), self.hits[-1])

    def sensitivity_at(self, alarm_rates: Floats) -> Floats:
        """Sensitivity at false positive rates ``[k]``, linear between thresholds: ``[k, b]``."""
        found = np.full((len(alarm_rates), self.hits.shape[1]), np.nan)
        for column in np.flatnonzero((self.hits[-1] > 0) & (self.alarms[-1] > 0)):
            hits, alarms = self.hits[:, column], self.alarms[:, column]
            wanted = alarm_rates * alarms[-1]
            left = np.searchsorted(alarms, wanted * (1 + ROUNDING), side="right") - 1
            right = np.minimum(left + 1, len(alarms) - 1)
            part = np.nan_to_num(divide(wanted - alarms[left], alarms[right] - alarms[left]))
            found[:, column] = (hits[left] + part * (hits[right] - hits[left])) / hits[-1]
        return found

    def precision_at(self, recalls: Floats) -> Floats:
        """Precision at the strictest threshold that reaches each recall ``[k]``: ``[k, b]``."""
        found = np.full((len(recalls), self.hits.shape[1]), np.nan)
        for column in np.flatnonzero(self.hits[-1] > 0):
            hits, alarms = self.hits[:, column], self.alarms[:, column]
            # no recall below the first hit: before it nothing may have been called, and has no precision
            wanted = np.maximum(recalls * (1 - ROUNDING), ROUNDING) * hits[-1]
            place = np.searchsorted(hits, wanted)
            found[:, column] = hits[place] / (hits[place] + alarms[place])
        return found


@dataclass(frozen=True)
class Tradeoff:
    """The curves of one class against the rest, averaged over the repeats at equal places of ``GRID``.

    Attributes:
        class_number: which class.
        area: under the ROC curve.
        average_precision: the area under the precision–recall curve; guessing has the class's prevalence.
            Where it is exactly 1 it has no interval.
        sensitivity: ``[k, 3]`` at the false positive rates ``GRID``: value, and ends of the 95 % interval.
        precision: ``[k, 3]`` at the recalls ``GRID``.
        n_test: test images of the class.
    """

    class_number: int
    area: Estimate
    average_precision: Estimate
    sensitivity: Floats
    precision: Floats
    n_test: int


def tradeoff(
    truth: ArrayLike, scores: ArrayLike, number: int, resamples: Resamples | None,
    prevalence: ArrayLike | None = None,
) -> Tradeoff:
    """The ROC and the precision–recall curve of a class, each the mean of those of the repeats.

    The mean is vertical: of the sensitivities at each false positive rate, and of the precisions at each
    recall (Fawcett 2006, section 9.1). Scores of different repeats are never pooled, for they need not share
    a scale.

    Args:
        truth: ``[n]`` class numbers.
        scores: ``[r, n, c]``.
        number: which class.
        resamples: for the intervals, of at least ten groups with the class and ten with others; else none.
        prevalence: ``[c]`` the share of each class; by default that of the test set.

    Examples:
        >>> found = tradeoff([0, 0, 1, 1], [[[0.9, 0], [0.4, 0], [0.5, 0], [0.3, 0]]], 0, None)
        >>> found.area.value, round(found.average_precision.value, 3), found.sensitivity[49].tolist()
        (0.75, 0.833, [0.5, nan, nan])
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    sizes = np.bincount(truth, minlength=scores.shape[2])
    scores = scores[..., number]  # [r, n]
    share = sizes / sizes.sum() if prevalence is None else np.asarray(prevalence, dtype=np.float64)
    own = truth == number
    point = _read_off(truth, scores, own, Resamples.whole(len(truth), len(scores)), share)
    if resamples is None or any(resamples.too_few(side) for side in (own, ~own)):
        ends = np.full((len(point), 2), np.nan)
    else:
        drawn = _read_off(truth, scores, own, resamples, share)
        defined = drawn[:, ~np.isnan(drawn[0])]  # without those that drew no image of one side
        ends = np.percentile(defined, LEVEL, axis=1).T
    table = np.column_stack([point[:, 0], ends])  # area, average precision, the two curves
    if (exact := _parted(scores, own, share[truth] > 0)) is not None:
        table[0, 0] = exact
    if resamples is not None and np.isfinite(table[0, 1]) and exact is not None:
        # No resample differs from another: the area has an exact end, the average precision none is known of.
        bound = flawless_area(class_trials(own.astype(np.int64), resamples))
        table[0, 1:] = (bound, 1) if table[0, 0] == 1 else (0, 1 - bound)
        table[1, 1:] = np.nan
    return Tradeoff(
        number, Estimate(*map(float, table[0])), Estimate(*map(float, table[1])),
        table[2 : 2 + len(GRID)], table[2 + len(GRID) :], int(own.sum()),
    )


def _parted(scores: Floats, own: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float | None:
    """The area where it is 1 or 0 in all repeats, of which sums of weights only come near; else ``None``."""
    mine, others = scores[:, own & counted], scores[:, ~own & counted]
    if not mine.size or not others.size:
        return None
    if (mine.min(axis=1) > others.max(axis=1)).all():
        return 1.0
    return 0.0 if (mine.max(axis=1) < others.min(axis=1)).all() else None


def _read_off(
    truth: NDArray[np.int64], scores: Floats, own: NDArray[np.bool_], resamples: Resamples, share: Floats
) -> Floats:
    """Area, average precision, sensitivities and precisions, means over the repeats: ``[2 + 2k, b]``."""
    blocks = []
    for part in resamples.blocks():
        weights = standardised(truth, part.weights, share)
        each = np.stack([_values(Sweep.of(own, row, weights)) for row in scores])  # [r, 2 + 2k, b]
        blocks.append(part.over_repeats(each.transpose(2, 0, 1)).T)
    return np.concatenate(blocks, axis=1)


def _values(sweep: Sweep) -> Floats:
    areas = np.stack([sweep.area(), sweep.average_precision()])
    return np.concatenate([areas, sweep.sensitivity_at(GRID), sweep.precision_at(GRID)])
