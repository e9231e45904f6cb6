"""One image of each cluster: the most typical one, or the one in the middle."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from hundredfold.learn.select.picks import Picks
from hundredfold.learn.select.pool import Pool, Rows

__all__ = ["clustered", "medoids", "typiclust"]

#: More clusters than this are not sought, nor smaller ones than this on average.
MOST_CLUSTERS, FEWEST_IMAGES = 1000, 5
ROUNDS = 20
#: Few clusters are sought several times over, and the best taken: one that is missed matters more.
REDO = 100


def typiclust(pool: Pool, budget: int) -> Picks:
    """The most typical image of each cluster without a label, the largest cluster first.

    As many clusters are sought as there will be labels, so that each label has its own. Typical is the image
    with the smallest distance to its 20 nearest neighbours. Unlike in the paper these are sought among all
    images, not in the cluster alone: the two differ at the borders of clusters, where no typical image is.

    Source:
        Hacohen, Dekel, Weinshall 2022, arXiv 2202.02794, section 3.
    """
    members, _ = clustered(pool.vectors, _count(pool, budget), seed=pool.seed)
    return _first_of_each(pool, budget, members, pool.spread, "typical of {} unlabelled images")


def medoids(pool: Pool, budget: int) -> Picks:
    """The image nearest to the centre of each cluster without a label, the largest cluster first."""
    members, distances = clustered(pool.vectors, _count(pool, budget), seed=pool.seed)
    return _first_of_each(pool, budget, members, distances, "in the middle of {} unlabelled images")


def clustered(
    vectors: NDArray[np.float32], count: int, *, seed: int
) -> tuple[Rows, NDArray[np.float32]]:
    """The cluster of each row by k-means, begun by k-means++, and its squared distance to the centre [n].

    Examples:
        >>> members, _ = clustered(np.float32([[0, 1], [0, 1.1], [1, 0]]), 2, seed=0)
        >>> bool(members[0] == members[1] != members[2])
        True
    """
    count = int(min(count, len(vectors)))
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=ROUNDS, seed=seed % 2**31, min_points_per_centroid=1,
        nredo=max(1, REDO // count),
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
    )
    means.train(vectors)
    distances, members = means.index.search(vectors, 1)
    return members[:, 0].astype(np.int64), distances[:, 0]


def _count(pool: Pool, budget: int) -> int:
    most = min(MOST_CLUSTERS, len(pool.vectors) // FEWEST_IMAGES)
    return max(1, min(int(pool.taken.sum()) + budget, most))


def _first_of_each(
    pool: Pool, budget: int, members: Rows, order: NDArray[np.float32], reason: str
) -> Picks:
    """Free rows in turn from each cluster: first where labels are fewest, then the largest; by ``order``."""
    free = pool.free
    count = int(members.max()) + 1
    labels, size = (np.bincount(members[rows], minlength=count) for rows in (pool.taken, free))
    free = free[np.lexsort((order[free], members[free]))]
    starts = np.cumsum(size) - size
    place = np.arange(len(free)) - starts[members[free]]  # in its cluster
    turn = labels[members[free]] + place
    chosen = free[np.lexsort((members[free], -size[members[free]], turn))][:budget]
    return Picks(chosen, tuple(reason.format(f"{size[members[row]]:,}") for row in chosen))
