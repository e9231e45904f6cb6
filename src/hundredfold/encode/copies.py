"""Copies that an encoder sees: pictures of one thing, so far apart that thumbnails do not match."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.near_duplicates import clusters_of, confirmed
from hundredfold.data.splits import HELD_OUT, pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.neighbours import nearest

__all__ = ["copies_across", "copies_among", "join"]

#: Training images that are looked at for each image held out.
NEAREST = 5
#: Likeness from which two images are copies. An encoder's neighbours are all alike in kind, so it is higher
#: than among thumbnails: of red cells the nine pairs above it were all of overlapping fields (photographs
#: said to be of two smears), and below it true and false ones mix (``benchmarks/near_duplicates.py``).
ALIKE = 0.92


def copies_across(embeddings: Embeddings, table: ImageTable, store: PixelStore) -> pd.DataFrame:
    """Training images that show what a test or audit image shows, beyond those that are known to.

    The five training images nearest to each image held out are laid upon it, as
    :func:`~hundredfold.data.near_duplicates.near_duplicates` does with images whose thumbnails match. So are
    found two photographs of overlapping fields.

    Args:
        embeddings: vectors of the images of ``table``.
        table: the images with their sides.
        store: their pixels.

    Returns:
        Pairs, the training image ``first``; the columns are those of ``near_duplicates``.
    """
    held = table.frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)
    sides = [np.flatnonzero(table.frame["problem"].isna() & mask) for mask in (~held, held)]
    train, test = sides
    if not len(train) or not len(test):
        return confirmed(store, [], alike=ALIKE)
    known, asked = (embeddings.of(table.by_id(table.ids[side])) for side in sides)
    near = train[nearest(asked, known, NEAREST)[1]]
    return _confirmed(table, store, _pairs(near, test))


def copies_among(embeddings: Embeddings, table: ImageTable, store: PixelStore) -> pd.DataFrame:
    """Images that show the same, beyond those that are known to, whatever side they are on.

    As :func:`copies_across`, but each image is laid upon the five nearest of all others.
    """
    rows = np.flatnonzero(table.frame["problem"].isna())
    if len(rows) < 2:
        return confirmed(store, [], alike=ALIKE)
    vectors = embeddings.of(table.by_id(table.ids[rows]))
    near = rows[nearest(vectors, vectors, NEAREST + 1)[1]]  # itself among them
    return _confirmed(table, store, np.unique(np.sort(_pairs(near, rows), axis=1), axis=0))


def join(table: ImageTable, pairs: pd.DataFrame) -> ImageTable:
    """The table with the two images of each pair in one cluster, beside those that were in either's.

    Args:
        table: the images.
        pairs: of :func:`copies_among`.

    Examples:
        >>> table = ImageTable.of({"id": list("abcd"), "group": ["p", "p", "q", "r"]})
        >>> linked = join(table, pd.DataFrame({"first": ["b"], "second": ["c"]}))
        >>> linked.frame["cluster"].tolist()[1:3], pieces_of(linked).tolist()
        (['b', 'b'], [0, 0, 0, 1])
    """
    known = table.frame[["id", "cluster"]].dropna()
    before = pd.DataFrame({"first": known.groupby("cluster")["id"].transform("first"), "second": known["id"]})
    every = pd.concat([pairs[["first", "second"]], before], ignore_index=True)
    return table.assign(cluster=clusters_of(every, table.ids).to_numpy())


def _pairs(near: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row with those near to it [n,k]: pairs [n*k,2], itself second."""
    return np.stack([near.ravel(), np.repeat(rows, near.shape[1])], axis=1)


def _confirmed(table: ImageTable, store: PixelStore, pairs: NDArray[np.int64]) -> pd.DataFrame:
    """Those of some pairs of rows of the table that are copies, and in two pieces so far."""
    pieces, places = pieces_of(table)[pairs], store.rows(table.ids)[pairs]
    apart = places[pieces[:, 0] != pieces[:, 1]]
    return confirmed(store, [(int(one), int(other)) for one, other in apart], alike=ALIKE)
