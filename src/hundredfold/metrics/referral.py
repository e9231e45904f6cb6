"""How often something holds of the images, in the mix of the classes that a reader has in mind."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, divide
from hundredfold.metrics.operating import standardised
from hundredfold.metrics.resampling import Estimate, Resamples

__all__ = ["weighted_share"]

Bools = NDArray[np.bool_]


def weighted_share(
    truth: ArrayLike, holds: ArrayLike, shares: ArrayLike, resamples: Resamples | None = None, *,
    among: ArrayLike | None = None,
) -> Estimate:
    """The share of the images ``among`` some of which something holds, mean over the repeats.

    Args:
        truth: ``[n]`` class numbers.
        holds: ``[r, n]`` of which images it holds, in each repeat.
        shares: ``[c]`` of the classes, to which the images are weighted, in every resample anew.
        resamples: for the interval; none where the images are of fewer than ten groups.
        among: ``[r, n]`` the images that count; by default all. NaN where there are none.

    Examples:
        >>> weighted_share([0, 0, 0, 1], [[True, True, True, False]], [0.5, 0.5]).value
        0.5
    """
    truth, holds = np.asarray(truth), np.atleast_2d(np.asarray(holds, dtype=bool))
    shares = np.asarray(shares, dtype=np.float64)
    counted: Bools = np.ones_like(holds) if among is None else np.atleast_2d(np.asarray(among, dtype=bool))
    whole = Resamples.whole(len(truth), len(holds))
    value = float(_of(truth, holds, counted, shares, whole).mean())
    if resamples is None or np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    spread = [_of(truth, holds, counted, shares, part) for part in resamples.blocks()]
    anywhere = np.asarray(counted.any(axis=0))
    return Estimate(value, *resamples.share_interval(value, np.concatenate(spread), anywhere))


def _of(truth: NDArray[np.int64], holds: Bools, among: Bools, shares: Floats, resamples: Resamples) -> Floats:
    """The share in each resample and repeat ``[b, r]``."""
    weights = standardised(truth, resamples.weights, shares).T  # [b, n]
    found: Floats = divide(weights @ (holds & among).T.astype(float), weights @ among.T.astype(float))
    return found
