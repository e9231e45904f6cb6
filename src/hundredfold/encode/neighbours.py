"""Nearest neighbours by cosine: who resembles whom, and how well neighbours tell the class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.cells import index_of
from hundredfold.errors import InputError
from hundredfold.metrics import balanced_accuracy

__all__ = ["Neighbours", "distances_to_others", "knn_balanced_accuracy", "nearest", "nearest_others"]

BLOCK = 1024
#: Most neighbours that vote on an image's class.
VOTERS = 20
#: Beyond so many images the neighbours are sought in the nearest of many cells, as an exact search of a
#: million would take hours.
EXACT = 20_000


def nearest(
    query: NDArray[np.floating[Any]], pool: NDArray[np.floating[Any]], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest vectors of a pool for each query, nearest first, exactly.

    Args:
        query: vectors [q,d].
        pool: vectors [n,d].
        k: how many; at most n are given.

    Returns:
        Cosine distances from 0 (same direction) to 2, and rows of the pool, both [q, min(k, n)].

    Raises:
        InputError: the pool is empty, or the vectors are of two lengths.

    Examples:
        >>> distances, rows = nearest(np.array([[2.0, 0]]), np.array([[0, 1.0], [1, 0]]), k=5)
        >>> rows.tolist(), distances.tolist()
        ([[1, 0]], [[0.0, 1.0]])
    """
    return Neighbours(pool).nearest(query, k)


class Neighbours:
    """A pool in which the nearest vectors are sought again and again: :func:`nearest` with a memory.

    Args:
        pool: vectors [n,d].

    Examples:
        >>> pool = Neighbours(np.array([[0, 1.0], [1, 0]]))
        >>> pool.nearest(np.array([[2.0, 0]]), k=1)[1].tolist()
        [[1]]
    """

    def __init__(self, pool: NDArray[np.floating[Any]]) -> None:
        self.shape = pool.shape
        self._index = index_of(_unit(pool), exact=len(pool))

    def nearest(
        self, query: NDArray[np.floating[Any]], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As :func:`nearest`."""
        if self.shape[0] == 0 or query.shape[1] != self.shape[1]:
            raise InputError(
                f"expected vectors of one length and a pool to search, found {query.shape} and {self.shape}",
                remedy="Search among embeddings of the same encoder.",
            )
        similarities, rows = self._index.search(_unit(query), max(1, min(k, self.shape[0])))
        return np.clip(1 - similarities, 0, 2), rows


def distances_to_others(
    vectors: NDArray[np.floating[Any]], pieces: NDArray[np.int64], rows: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """Mean cosine distance [r] of some vectors to their k nearest of other pieces; NaN where there are fewer.

    Args:
        vectors: [n,d].
        pieces: [n] numbers; what shares one (a patient, copies) is no neighbour of each other.
        rows: [r] of the vectors that are asked for.
        k: how many.

    Examples:
        >>> vectors = np.array([[1.0, 0], [1, 0], [0, 1], [0, -1]])
        >>> distances_to_others(vectors, np.array([0, 0, 1, 2]), np.array([0, 2]), k=1).tolist()
        [1.0, 1.0]
    """
    unit = _unit(vectors)
    found = np.full(len(rows), np.nan)
    for start in range(0, len(rows) if k <= len(unit) else 0, BLOCK):
        some = rows[start : start + BLOCK]
        similarity = unit[some] @ unit.T  # [b, n]
        similarity[pieces[some][:, None] == pieces[None, :]] = -np.inf
        best = np.partition(similarity, -k, axis=1)[:, -k:].astype(np.float64)
        found[start : start + BLOCK] = np.where(np.isfinite(best).all(axis=1), 1 - best.mean(axis=1), np.nan)
    return found


def nearest_others(vectors: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """The k nearest others of each vector by Euclidean distance [n, min(k, n - 1)], nearest first.

    Of more than 20,000 vectors they are sought in the 8 nearest of about 2 √n cells (an inverted file), so
    that one may be missed; -1 stands where even fewer than k are there.

    Args:
        vectors: [n,d].
        k: how many.

    Examples:
        >>> nearest_others(np.array([[1.0, 0], [2, 0], [9, 0]]), 5).tolist()
        [[1, 2], [0, 2], [1, 0]]
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    count, k = len(vectors), min(k, len(vectors) - 1)
    rows = index_of(vectors, exact=EXACT, euclidean=True).search(vectors, k + 1)[1]
    own = rows == np.arange(count)[:, None]
    own[~own.any(axis=1), -1] = True  # among many equal ones it may not find itself
    return np.asarray(rows[~own].reshape(count, k), dtype=np.int64)


def knn_balanced_accuracy(
    vectors: NDArray[np.floating[Any]], labels: NDArray[Any], groups: NDArray[Any] | None = None,
    k: int | None = None,
) -> float:
    """Balanced accuracy of the majority among an image's k nearest others; leave-one-out.

    Each class counts the same; one whose images are all of one group cannot be found, and counts 0.
    Neighbours of the same group (patient, slide) do not vote; images without a group are a group of their
    own. A tie goes to the label that is nearer on average.

    Args:
        vectors: [n,d].
        labels: [n].
        groups: [n], where known; a missing one is ``None`` or NaN.
        k: voters an image; fewer where fewer are left. By itself half of the images of a class, on average,
            and at most 20: where nearly all others vote, an image's own class is outvoted, as it lacks the
            image itself.

    Raises:
        InputError: fewer than two images.

    Source:
        Wu et al. 2018, arXiv 1805.01978, section 3.4, without the weights.

    Examples:
        >>> vectors = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
        >>> knn_balanced_accuracy(vectors, np.array(["a", "a", "b", "b"]), k=1)
        1.0
    """
    if len(vectors) < 2:
        raise InputError(f"expected at least 2 images, found {len(vectors)}")
    unit = _unit(vectors)
    classes, truth = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    kin = _numbered(groups, len(vectors))
    voters = k or min(VOTERS, max(1, len(vectors) // (2 * len(classes))))
    predicted = np.empty_like(truth)
    for start in range(0, len(unit), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(unit)))
        similarity = unit[rows] @ unit.T  # [b, n]
        similarity[kin[rows][:, None] == kin[None, :]] = -np.inf
        predicted[rows] = _vote(similarity, truth, len(classes), voters)
    # Nobody to vote is an answer of its own, and wrong.
    return balanced_accuracy(truth, np.where(predicted < 0, len(classes), predicted), len(classes) + 1)


def _vote(
    similarity: NDArray[np.float32], truth: NDArray[np.int64], classes: int, k: int
) -> NDArray[np.int64]:
    """The majority label [b] of the k most similar columns; -1 where there is none."""
    k = min(k, similarity.shape[1])
    chosen = np.argpartition(-similarity, k - 1, axis=1)[:, :k]  # [b, k]
    closeness = np.take_along_axis(similarity, chosen, axis=1)
    # A vote counts one, and at most a hundredth of one more for closeness: enough to break ties.
    weight = np.where(np.isfinite(closeness), 1 + np.nan_to_num(closeness, neginf=0) / (100 * k), 0)
    votes = np.zeros((len(similarity), classes))
    np.add.at(votes, (np.arange(len(similarity))[:, None], truth[chosen]), weight)
    return np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)


def _numbered(groups: NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    """A number for each group [n]; images without one get numbers of their own."""
    own = np.arange(count, dtype=np.int64)
    if groups is None:
        return own
    known = pd.notna(np.asarray(groups, dtype=object))
    numbers = own + count
    _, numbers[known] = np.unique(np.asarray(groups)[known].astype(str), return_inverse=True)
    return numbers


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Vectors of length 1 [n,d]; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
