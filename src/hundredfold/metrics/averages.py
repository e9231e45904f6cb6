"""Quotients and means that are undefined where there is nothing to divide by."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Floats", "Integers", "divide", "nanmean"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def divide(part: ArrayLike, whole: ArrayLike) -> Floats:
    """Quotients; NaN where the divisor is 0.

    Examples:
        >>> divide([1, 2], [2, 0]).tolist()
        [0.5, nan]
    """
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    unknown: Floats = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=unknown, where=whole > 0)
    return unknown


def nanmean(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where all are (numpy would warn).

    Examples:
        >>> nanmean(np.array([[1.0, np.nan], [np.nan, np.nan]])).tolist()
        [1.0, nan]
    """
    known = ~np.isnan(values)
    return divide(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))
