"""Nearest vectors among many: all are compared where they are few, else those in the nearest cells."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

__all__ = ["index_of"]

#: So many cells are looked through.
CELLS_SEEN = 8
METRICS = {True: (faiss.IndexFlatL2, faiss.METRIC_L2), False: (faiss.IndexFlatIP, faiss.METRIC_INNER_PRODUCT)}


def index_of(vectors: NDArray[np.float32], *, exact: int, euclidean: bool = False) -> Any:
    """A faiss index that holds the vectors ``[n,d]``; ``search(queries, k)`` gives values and rows ``[q,k]``.

    Of more than ``exact`` vectors the nearest are sought in the 8 nearest of about 2 √n cells (an inverted
    file), so that one may be missed; then -1 stands where fewer than k are found.

    Args:
        vectors: contiguous.
        exact: as many as can be compared with all others.
        euclidean: by distance; else by inner product.

    Examples:
        >>> index_of(np.eye(3, dtype=np.float32), exact=10).search(np.float32([[0, 2, 1]]), 2)[1].tolist()
        [[1, 2]]
    """
    count, length = vectors.shape
    flat, metric = METRICS[euclidean]
    index: Any = flat(length)
    if count > exact:
        index = faiss.IndexIVFFlat(index, length, int(2 * count**0.5), metric)
        index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 64
        index.nprobe = CELLS_SEEN
        index.train(vectors)
    index.add(vectors)
    return index
