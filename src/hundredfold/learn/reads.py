"""What labels cost a reader: images read at random until every class has enough of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

__all__ = ["expected_reads", "reads_of_class"]

STEPS = 20_000


def expected_reads(sizes: ArrayLike, n: int | Sequence[int]) -> float:
    """Expected number of images read, in random order, until each class has ``n``; all, where one never has.

    Give each image of the pool a uniform time, and read in the order of times. The time at which class c, of
    ``N_c`` images, has its n-th is distributed Beta(n, N_c - n + 1), and the classes are independent; so the
    expected latest of these times is an integral of a product, and a rank among N images is on average
    N + 1 times such a time, since ranks and times are independent (embedding; Holst 1986, International
    Statistical Review 54, 15–27). The integral is summed in 20,000 steps.

    Args:
        sizes: ``[c]`` the images of each class in the pool; classes without images are left out.
        n: labels wanted of each class, or of every class ``[c]``.

    Examples:
        >>> round(expected_reads([1, 1, 1], 1), 3), round(expected_reads([1, 9], [1, 0]), 3)
        (3.0, 5.5)
        >>> expected_reads([300, 9700], 500)
        10000.0
    """
    counts = np.asarray(sizes, dtype=np.int64)
    wanted = np.broadcast_to(np.asarray(n, dtype=np.int64), counts.shape)[counts > 0]
    counts = counts[counts > 0]
    total = int(counts.sum())
    if (wanted > counts).any():
        return float(total)
    times = (np.arange(STEPS) + 0.5) / STEPS
    done = np.ones(STEPS)  # probability that every class has enough at this time
    for size, least in zip(counts, wanted, strict=True):
        if least > 0:
            done *= betainc(least, size - least + 1, times)
    return float((total + 1) * np.mean(1 - done))


def reads_of_class(size: int, total: int, n: int) -> float:
    """Expected number of images read until one class has ``n``; all, where it never has.

    The mean of the negative hypergeometric distribution, n (N + 1) / (N_c + 1).

    Examples:
        >>> round(reads_of_class(300, 10_000, 100))
        3323
    """
    return float(total) if n > size else n * (total + 1) / (size + 1)
