"""The votes of a kNN's neighbours, which are found by matrix products in float32."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import KNeighborsClassifier

__all__ = ["votes_by_distance"]

#: Squared distances are differences of larger numbers. They have lost their digits where the nearest is below
#: this share of a vector's own square, and where that is so many times a sample's.
CLOSE, FAR = 1e-3, 100.0


def votes_by_distance(fitted: KNeighborsClassifier, features: ArrayLike) -> NDArray[np.float64]:
    """``fitted.predict_proba(features)`` ``[n, c]``, to rounding in float32, in half the time.

    Vectors whose distances float32 would not tell apart are left to scikit-learn.

    Args:
        fitted: with Euclidean distances and weights by distance.
        features: ``[n, d]``.

    Examples:
        >>> knn = KNeighborsClassifier(2, weights="distance").fit([[0.0], [3.0], [9.0]], ["a", "b", "b"])
        >>> votes_by_distance(knn, [[1.0], [9.0]]).round(4).tolist()
        [[0.6667, 0.3333], [0.0, 1.0]]
    """
    samples, codes = np.asarray(fitted._fit_X), np.asarray(fitted._y)  # noqa: SLF001 - they have no public name
    x, centre, count = np.asarray(features, dtype=np.float64), samples.mean(axis=0), len(fitted.classes_)
    asked, known = (np.ascontiguousarray(part - centre, dtype=np.float32) for part in (x, samples))
    squares, rows = faiss.knn(asked, known, fitted.n_neighbors)  # [n,k]
    lengths, usual = (np.einsum("nd,nd->n", part, part) for part in (asked, known))
    doubtful = (squares[:, 0] <= CLOSE * lengths) | (lengths > FAR * usual.mean())
    weights = 1 / np.sqrt(np.where(doubtful[:, None], 1.0, squares), dtype=np.float64)
    places = np.arange(len(x))[:, None] * count + codes[rows]
    votes = np.bincount(places.ravel(), weights=weights.ravel(), minlength=len(x) * count)
    shares: NDArray[np.float64] = votes.reshape(len(x), count) / weights.sum(axis=1, keepdims=True)
    if doubtful.any():
        shares[doubtful] = fitted.predict_proba(x[doubtful])
    return shares
