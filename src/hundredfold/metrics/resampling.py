"""Bootstrap over groups and repeats: how sure one can be of a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers

__all__ = ["LEVEL", "MIN_GROUPS", "Estimate", "Resamples", "group_codes"]

MIN_GROUPS = 10
LEVEL = (2.5, 97.5)
BLOCK = 100


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


class Estimate(NamedTuple):
    """A value and the ends of its 95 % interval, NaN where there is none."""

    value: float
    low: float
    high: float


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
    def draw(cls, group: ArrayLike, repeats: int, count: int, seed: int, *, times: int = 1) -> Self:
        """Draw ``count`` resamples; the same arguments give the same resamples.

        Args:
            group: ``[n]`` the group number of each test image.
            repeats: r.
            count: b.
            seed: another seed, other resamples.
            times: how many times as many groups to draw as there are: the intervals are then those of a
                test set so many times as large, its groups being of the same kind.

        Examples:
            >>> drawn = Resamples.draw([0, 0, 1], repeats=5, count=100, seed=0)
            >>> drawn.group_counts.shape, drawn.repeat_counts.shape
            ((100, 2), (100, 5))
        """
        group = np.asarray(group, dtype=np.int64)
        groups = int(group.max()) + 1
        random = np.random.default_rng([seed, groups, repeats])
        counts = np.empty((count, groups), dtype=np.float32)
        for row in counts:  # one after the other: all at once would take six times the memory
            row[:] = np.bincount(random.integers(groups, size=times * groups), minlength=groups)
        draws = random.multinomial(repeats, [1 / repeats] * repeats, count).astype(np.float64)
        return cls(group, counts, draws)

    @classmethod
    def whole(cls, images: int, repeats: int) -> Self:
        """The test set as it is, once; every image and every repeat counts once."""
        return cls(np.arange(images), np.ones((1, images), np.float32), np.ones((1, repeats)))

    def __len__(self) -> int:
        return len(self.group_counts)

    @property
    def times(self) -> float:
        """How many times as many groups are drawn as there are."""
        return float(self.group_counts[0].sum() / self.group_counts.shape[1])

    def blocks(self) -> Iterator[Self]:
        """The resamples a hundred at a time: so many weights of 50,000 test images are 40 MB."""
        for start in range(0, len(self), BLOCK):
            part = slice(start, start + BLOCK)
            yield replace(self, group_counts=self.group_counts[part], repeat_counts=self.repeat_counts[part])

    @property
    def weights(self) -> NDArray[np.float32]:
        """How often each image is in each resample, ``[n, b]``."""
        return np.ascontiguousarray(self.group_counts.T)[self.group]

    def over_repeats(self, statistic: Floats) -> Floats:
        """The mean over the drawn repeats, ``[b, …]`` from ``[b, r, …]``; NaN if one of them is."""
        mean: Floats = np.einsum("br...,br->b...", statistic, self.repeat_counts)
        mean /= self.repeat_counts.sum(axis=1).reshape(-1, *[1] * (mean.ndim - 1))
        return mean

    def too_few(self, among: NDArray[np.bool_] | None = None) -> bool:
        """Whether the images ``among`` ``[n]`` (by default all) are of too few groups for an interval."""
        return len(np.unique(self.group if among is None else self.group[among])) < MIN_GROUPS

    def interval(self, statistic: Floats, among: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """The ends of the 95 % percentile interval of a statistic.

        Args:
            statistic: ``[b]``, or ``[b, r]`` to have its mean over the drawn repeats; a resample in
                which it is undefined (NaN) is left out.
            among: ``[n]`` the images that it is a statement on; by default all.

        Returns:
            low and high; NaN where these images come from fewer than ten groups.

        Examples:
            >>> drawn = Resamples.draw(range(10), repeats=1, count=3, seed=0)
            >>> drawn.interval(np.array([0.0, 0.5, 1.0]))
            (0.025, 0.975)
        """
        mean = self.over_repeats(statistic) if statistic.ndim == 2 else statistic
        defined = mean[~np.isnan(mean)]
        if self.too_few(among) or len(defined) == 0:
            return np.nan, np.nan
        low, high = np.percentile(defined, LEVEL)
        return float(low), float(high)

    def share_interval(
        self, value: float, statistic: Floats, among: NDArray[np.bool_] | None = None
    ) -> tuple[float, float]:
        """The interval of a share of images, which is as honest where it is 0 or 1.

        There no resample differs from another, and the bootstrap would claim to be certain. The exact
        binomial interval (Clopper & Pearson 1934) of as many trials as there are groups stands in: of ten
        patients who were all recognised one may say "at least .69".

        Args:
            value: the share.
            statistic: ``[b]`` or ``[b, r]``; see :meth:`interval`.
            among: ``[n]`` the images that it is a share of; by default all.

        Examples:
            >>> drawn = Resamples.draw(range(10), repeats=1, count=3, seed=0)
            >>> low, high = drawn.share_interval(1.0, np.ones(3))
            >>> round(low, 2), high
            (0.69, 1.0)
        """
        low, high = self.interval(statistic, among)
        if np.isnan(low) or low < high or value not in (0, 1):
            return low, high
        groups = len(np.unique(self.group if among is None else self.group[among]))
        bound = float((LEVEL[0] / 100) ** (1 / (self.times * groups)))
        return (bound, 1.0) if value == 1 else (0.0, 1 - bound)


def _missing(name: object) -> bool:
    return name is None or str(name) in ("", "<NA>", "nan")
