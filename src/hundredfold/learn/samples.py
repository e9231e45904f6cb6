"""What every classifier of ours begins with: samples, and their classes as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

__all__ = ["labelled_samples"]


def labelled_samples(
    estimator: Any, samples: ArrayLike, labels: ArrayLike, dtype: DTypeLike
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Check what an estimator is fitted to, and number the classes.

    Returns:
        the samples ``[n, d]``, the class names ``[c]``, sorted, and the class number of each sample ``[n]``.

    Raises:
        ValueError: the samples are of one class.

    Examples:
        >>> from sklearn.base import BaseEstimator
        >>> _, names, codes = labelled_samples(BaseEstimator(), [[0.0], [1.0]], ["dog", "cat"], np.float64)
        >>> names.tolist(), codes.tolist()
        (['cat', 'dog'], [1, 0])
    """
    x, y = validate_data(estimator, samples, labels, dtype=dtype)
    check_classification_targets(y)
    names, codes = np.unique(y, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"expected samples of two classes or more, found {len(names)} class")
    return x, names, codes.astype(np.int64)
