"""How far probabilities can be believed: reliability diagram, calibration error and log loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers, divide
from hundredfold.metrics.resampling import LEVEL, Estimate, Resamples

__all__ = ["Reliability", "reliability"]

BINS = 10
#: Times that answers are drawn for a classifier whose probabilities are right.
SIMULATED = 100
LEAST = 1e-6


@dataclass(frozen=True)
class Reliability:
    """What is said with how much certainty, and how often it is right.

    Attributes:
        sure: ``[k]`` mean probability of the most probable class, in bins of about equally many answers.
        right: ``[k, 3]`` share of these answers that is right, and the ends of its 95 % interval; NaN where
            they are on images of fewer than ten groups.
        share: ``[k]`` of all answers.
        error: expected calibration error: the mean distance of the two.
        expected: the error that probabilities without fault would show on so many images.
        loss: mean of −log(probability of the true class).
    """

    sure: Floats
    right: Floats
    share: Floats
    error: Estimate
    expected: float
    loss: Estimate


def reliability(
    truth: ArrayLike, probabilities: ArrayLike, resamples: Resamples | None = None, *,
    shares: ArrayLike | None = None,
) -> Reliability:
    """Compare probabilities with how often they are right, over all repeats.

    Errors of different repeats do not cancel: each has its own, of which the mean is told (Guo et al. 2017,
    arXiv 1706.04599, section 2; bins of equally many answers, Nguyen & O'Connor 2015).

    Chance alone makes the error greater than it is in truth, and greater once more in every resample: the
    percentile interval of probabilities without fault never held 0, and often not even the error measured. So
    the interval of the error is the basic one, of the resamples mirrored at the value (Davison & Hinkley
    1997, section 5.2), and begins at 0 where probabilities without fault would show as much.

    Args:
        truth: ``[n]`` class numbers.
        probabilities: ``[r, n, c]``.
        resamples: for the intervals; none where the test images are of fewer than ten groups.
        shares: ``[c]`` of the classes, to which the images are weighted; by default all alike.

    Examples:
        >>> said = np.tile([0.75, 0.25], (1, 40, 1))
        >>> found = reliability([0, 0, 0, 1] * 10, said, shares=[0.75, 0.25])
        >>> found.sure.tolist(), found.right[:, 0].tolist(), round(found.error.value, 3)
        ([0.75], [0.75], 0.0)
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    weights = _weights(truth, probabilities.shape[2], shares)
    said = _Said.of(truth, probabilities)
    whole = said.sums(weights, Resamples.whole(len(truth), len(said.sure)))
    error, loss, right = whole.error()[0].mean(), whole.loss()[0].mean(), whole.right()[0]
    chance = said.errors_of_chance(weights)
    ends, error_ends, loss_ends = np.full((len(right), 2), np.nan), (np.nan, np.nan), (np.nan, np.nan)
    if resamples is not None and not resamples.too_few():
        drawn = said.sums(weights, resamples)
        spread = drawn.right()
        ends = np.array([
            resamples.share_interval(float(value), spread[:, k], (said.bin == k).any(axis=0))
            for k, value in enumerate(right)
        ])
        error_ends = _mirrored(float(error), resamples.interval(drawn.error()), chance)
        loss_ends = resamples.interval(drawn.loss())
    total = whole.weight[0].sum(axis=0)
    return Reliability(
        divide(whole.sure[0].sum(axis=0), total), np.column_stack([right, ends]), total / total.sum(),
        Estimate(float(error), *error_ends), float(chance.mean()), Estimate(float(loss), *loss_ends),
    )


def _mirrored(error: float, ends: tuple[float, float], chance: Floats) -> tuple[float, float]:
    """The basic interval of a calibration error from the percentile interval; see :func:`reliability`."""
    low, high = (max(0.0, 2 * error - end) for end in reversed(ends))
    low = 0.0 if error <= np.percentile(chance, LEVEL[1]) else min(low, error)
    return low, max(high, error)


def _weights(truth: Integers, classes: int, shares: ArrayLike | None) -> Floats:
    """Of each image ``[n]``, such that the classes have their shares; in all n."""
    sizes = np.bincount(truth, minlength=classes)
    wanted = (sizes > 0) / (sizes > 0).sum() if shares is None else np.asarray(shares, dtype=np.float64)
    weights: Floats = divide(wanted, sizes)[truth]
    weights *= len(truth) / weights.sum()
    return weights


@dataclass(frozen=True)
class _Sums:
    """Weighted sums in every resample, repeat and bin ``[b, r, k]``, and of the loss ``[b, r]``."""

    weight: Floats
    sure: Floats
    correct: Floats
    lost: Floats
    repeat_counts: Floats

    def error(self) -> Floats:
        """Of each resample and repeat ``[b, r]``."""
        return divide(np.abs(self.sure - self.correct).sum(axis=2), self.weight.sum(axis=2))

    def loss(self) -> Floats:
        """Of each resample and repeat ``[b, r]``."""
        return divide(self.lost, self.weight.sum(axis=2))

    def right(self) -> Floats:
        """The share that is right, of each resample and bin ``[b, k]``, over the drawn repeats."""
        return divide(
            np.einsum("brk,br->bk", self.correct, self.repeat_counts),
            np.einsum("brk,br->bk", self.weight, self.repeat_counts),
        )


@dataclass(frozen=True)
class _Said:
    """What is said of the images: ``[r, n]``."""

    sure: Floats
    correct: NDArray[np.bool_]
    bin: Integers
    lost: Floats

    @classmethod
    def of(cls, truth: Integers, probabilities: Floats) -> _Said:
        sure = probabilities.max(axis=2)
        edges = np.unique(np.quantile(sure, np.linspace(0, 1, BINS + 1)[1:-1]))
        own = np.take_along_axis(probabilities, truth[None, :, None], axis=2)[..., 0]
        # A bin whose edge all its answers share would be empty without "left".
        bins = np.unique(np.searchsorted(edges, sure, side="left"), return_inverse=True)[1]
        return cls(
            sure, probabilities.argmax(axis=2) == truth, bins.reshape(sure.shape),
            -np.log(np.clip(own, LEAST, None)),
        )

    @property
    def bins(self) -> int:
        return int(self.bin.max()) + 1

    def sums(self, weights: Floats, resamples: Resamples) -> _Sums:
        groups, count = resamples.group_counts.shape[1], self.bins
        parts = []
        for sure, correct, bins, lost in zip(self.sure, self.correct, self.bin, self.lost, strict=True):
            place = resamples.group * count + bins
            kinds = (weights, weights * sure, weights * correct)
            in_bins = [np.bincount(place, kind, groups * count).reshape(groups, count) for kind in kinds]
            every = np.column_stack([*in_bins, np.bincount(resamples.group, weights * lost, groups)])
            parts.append(resamples.group_counts.astype(np.float64) @ every)  # [b, 3k + 1]
        told = np.stack(parts, axis=1)  # [b, r, 3k + 1]
        weight, sure, correct = np.split(told[..., :-1], 3, axis=2)
        return _Sums(weight, sure, correct, told[..., -1], resamples.repeat_counts)

    def errors_of_chance(self, weights: Floats) -> Floats:
        """Calibration errors if every answer were right with the probability that it has.

        An image that is hard is so in all repeats: it gets one random number for them.
        """
        random, errors = np.random.default_rng(0), []
        for _ in range(SIMULATED):
            total, drawn = 0.0, random.random(len(weights))
            for sure, bins in zip(self.sure, self.bin, strict=True):
                gap = weights * (sure - (drawn < sure))
                total += float(np.abs(np.bincount(bins, gap, self.bins)).sum() / weights.sum())
            errors.append(total / len(self.sure))
        return np.array(errors)
