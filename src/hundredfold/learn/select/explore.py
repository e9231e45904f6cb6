"""Farthest first: what lies far from all that is labelled."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from hundredfold.learn.select.picks import Picks
from hundredfold.learn.select.pool import Pool

__all__ = ["explore"]


def explore(pool: Pool, budget: int) -> Picks:
    """The image farthest from all that are labelled or chosen, again and again.

    It finds rare classes, and junk. Without labels it begins with the most typical image of all.

    Source:
        Gonzalez 1985, Theoretical Computer Science 38, 293–306; as a strategy Sener, Savarese 2018,
        arXiv 1708.00489, algorithm 1.
    """
    free = pool.free
    vectors = pool.vectors[free]
    rows, reasons = [], []
    gaps = np.full(len(free), np.inf, dtype=np.float32)
    if pool.taken.any():
        gaps = _nearest_squares(vectors, pool.vectors[pool.taken])
    elif len(free):
        rows, reasons = [int(np.argmin(pool.spread[free]))], ["the most typical of all images"]
        gaps = _squares(vectors, rows[0])
    while len(rows) < min(budget, len(free)):
        gaps[rows] = -np.inf
        row = int(np.argmax(gaps))
        rows.append(row)
        reasons.append(f"unlike all that is labelled or suggested before (distance {gaps[row] / 2:.2f})")
        np.minimum(gaps, _squares(vectors, row), out=gaps)
    return Picks(free[rows], tuple(reasons))


def _nearest_squares(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distance of each row to its nearest of some others [n]."""
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(np.ascontiguousarray(others))
    squares: NDArray[np.float32] = index.search(np.ascontiguousarray(vectors), 1)[0][:, 0]
    return squares


def _squares(vectors: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    """Squared distance of each row to one of them [n]."""
    return np.asarray(((vectors - vectors[row]) ** 2).sum(axis=1), dtype=np.float32)
