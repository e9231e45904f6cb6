"""Bootstrap over groups and repeats: how sure one can be of a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers

__all__ = ["MIN_GROUPS", "Resamples", "group_codes"]

MIN_GROUPS = 10
LEVEL = (2.5, 97.5)


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

    def interval(self, statistic: Floats, among: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """The ends of the 95 % percentile interval of a statistic's mean over the drawn repeats.

        Args:
            statistic: ``[b, r]``; a resample in which it is undefined (NaN) is left out.
            among: ``[n]`` the images that it is a statement on; by default all.

        Returns:
            low and high; NaN where these images come from fewer than ten groups.

        Examples:
            >>> drawn = Resamples.draw(range(10), repeats=1, count=3, seed=0)
            >>> drawn.interval(np.array([[0.0], [0.5], [1.0]]))
            (0.025, 0.975)
        """
        groups = np.unique(self.group if among is None else self.group[among])
        mean = np.sum(statistic * self.repeat_counts, axis=1) / self.repeat_counts.sum(axis=1)
        defined = mean[~np.isnan(mean)]
        if len(groups) < MIN_GROUPS or len(defined) == 0:
            return np.nan, np.nan
        low, high = np.percentile(defined, LEVEL)
        return float(low), float(high)


def _missing(name: object) -> bool:
    return name is None or str(name) in ("", "<NA>", "nan")
