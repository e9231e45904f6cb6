"""Copies that an encoder sees: pictures of one thing, so far apart that thumbnails do not match."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.data.near_duplicates import confirmed
from hundredfold.data.splits import HELD_OUT, pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.neighbours import nearest

__all__ = ["copies_across"]

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
    near = nearest(asked, known, NEAREST)[1]
    pieces, places = pieces_of(table), store.rows(table.ids)
    pairs = [
        (int(places[one]), int(places[other]))
        for other, found in zip(test, train[near], strict=True) for one in found
        if pieces[one] != pieces[other]
    ]
    return confirmed(store, pairs, alike=ALIKE)
