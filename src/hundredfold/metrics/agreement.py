"""How far readers agree beyond chance: Cohen's kappa of two, Krippendorff's alpha of any number.

Shapes: n images, r readers, c categories, b bootstrap resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats
from hundredfold.metrics.resampling import Estimate, Resamples

__all__ = ["cohen_kappa", "krippendorff_alpha"]


def cohen_kappa(first: ArrayLike, second: ArrayLike, resamples: Resamples) -> Estimate:
    """Cohen's kappa of two readers of the same images, with its 95 % interval.

    NaN where both gave all images one and the same category: chance alone then explains the agreement. After
    complete agreement no bootstrap resample differs from another; the lower end is then that of the exact
    binomial interval of the share of agreement, at the same agreement by chance.

    Args:
        first: ``[n]`` categories 0 … c-1.
        second: ``[n]`` those of the other reader.
        resamples: of the images, by group.

    Source:
        Cohen 1960, Educational and Psychological Measurement 20(1), 37–46.

    Examples:
        >>> drawn = Resamples.draw(range(20), repeats=1, count=200, seed=0)
        >>> found = cohen_kappa([0] * 10 + [1] * 10, [0] * 9 + [1] * 11, drawn)
        >>> round(found.value, 2), found.low < 0.9 < found.high
        (0.9, True)
    """
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    c = int(max(a.max(), b.max())) + 1
    pairs = np.zeros((len(a), c * c))
    pairs[np.arange(len(a)), a * c + b] = 1  # [n, c²]
    value, chance = (float(part[0]) for part in _kappa(pairs.sum(axis=0)[None], c))
    drawn = resamples.weights.T.astype(np.float64) @ pairs  # [b, c²]
    low, high = resamples.interval(_kappa(drawn, c)[0])
    if value == 1 and not np.isnan(low):
        agreed, _ = resamples.share_interval(1.0, np.ones(len(resamples)))
        low = (agreed - chance) / (1 - chance)
    return Estimate(value, low, high)


def _kappa(pairs: Floats, c: int) -> tuple[Floats, Floats]:
    """Kappa and the agreement by chance, both ``[b]``, of tables ``[b, c²]`` of pairs; NaN where it is 1."""
    table = (pairs / pairs.sum(axis=1, keepdims=True)).reshape(-1, c, c)
    observed = np.trace(table, axis1=1, axis2=2)
    chance = np.einsum("bi,bi->b", table.sum(axis=2), table.sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)
    return kappa, chance


def krippendorff_alpha(reads: ArrayLike, resamples: Resamples) -> Estimate:
    """Krippendorff's alpha for categories without an order, with its 95 % interval.

    Images with fewer than two reads tell nothing and are left out. NaN where there are no others, or all
    reads are of one category.

    Args:
        reads: ``[r, n]`` categories 0 … c-1; -1 where a reader did not read an image.
        resamples: of the images, by group.

    Source:
        Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability" (section D), on coincidences.

    Examples:
        >>> drawn = Resamples.draw(range(12), repeats=1, count=200, seed=0)
        >>> reads = [[0, 1] * 6, [0, 1] * 5 + [1, 1], [-1, -1] * 5 + [0, 1]]
        >>> round(krippendorff_alpha(reads, drawn).value, 2)
        0.85
    """
    pairs, c = _coincidences(np.asarray(reads, dtype=np.int64))  # [n, c²]
    value = float(_alpha(pairs.sum(axis=0)[None], c)[0])
    drawn = resamples.weights.T.astype(np.float64) @ pairs
    low, high = resamples.interval(_alpha(drawn, c), among=pairs.sum(axis=1) > 0)
    if value == 1 and not np.isnan(low):
        agreed, _ = resamples.share_interval(1.0, np.ones(len(resamples)), among=pairs.sum(axis=1) > 0)
        low = 1 - (1 - agreed) / _expected(pairs.sum(axis=0)[None], c)[0]
    return Estimate(value, low, high)


def _coincidences(reads: NDArray[np.int64]) -> tuple[Floats, int]:
    """What each image adds to the table of coincidences ``[n, c²]``, and c."""
    c = int(reads.max(initial=0)) + 1
    counts = (reads[..., None] == np.arange(c)).sum(axis=0).astype(np.float64)  # [n, c]
    many = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, np.arange(c), np.arange(c)] -= counts  # a read makes no pair with itself
    pairs[many < 2] = 0
    return (pairs / np.maximum(many - 1, 1)[:, None, None]).reshape(len(counts), c * c), c


def _alpha(pairs: Floats, c: int) -> Floats:
    """Alpha ``[b]`` of tables of coincidences ``[b, c²]``; NaN where no disagreement could be."""
    table = pairs.reshape(-1, c, c)
    with np.errstate(divide="ignore", invalid="ignore"):
        disagreed = 1 - np.trace(table, axis1=1, axis2=2) / table.sum(axis=(1, 2))
        expected = _expected(pairs, c)
        return np.where(expected > 1e-12, 1 - disagreed / expected, np.nan)


def _expected(pairs: Floats, c: int) -> Floats:
    """The disagreement by chance ``[b]``: of two reads drawn without putting the first back."""
    each = pairs.reshape(-1, c, c).sum(axis=2)  # [b, c]
    total = each.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - (each * (each - 1)).sum(axis=1) / (total * (total - 1)))
