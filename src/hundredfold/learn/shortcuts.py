"""The shortcut baseline: how well classes are told apart by what has nothing to do with the disease."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.profile import MEASURED, folder_means_class
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.protocol import digest

__all__ = ["SHORTCUT", "shortcut_embeddings"]

#: The name under which its curve stands beside those of the encoders.
SHORTCUT = "shortcut"
#: Kinds and folders that get a feature of their own, the most frequent ones.
MOST = 20


def shortcut_embeddings(table: ImageTable, facts: pd.DataFrame) -> Embeddings:
    """Brightness, contrast, colour, size, kind of file and folder of each image as a vector.

    A classifier on these alone sees no shape and no texture. Where it does nearly as well as one on an
    encoder's features, that one may have learned the scanner, the stain or the source instead of the
    disease (Geirhos et al. 2020, "Shortcut learning in deep neural networks", arXiv 2004.07780). Folders
    that are called like their class are left out: labels were sorted by them.

    Args:
        table: the labelled images.
        facts: what :func:`~hundredfold.data.profile.profile` gives for them.

    Returns:
        Vectors float32 ``[n, d]``; ``encoder["features"]`` names the d numbers.
    """
    columns = {name: facts[name].to_numpy(np.float32) for name in MEASURED}
    for side in ("width", "height"):
        columns[f"log {side}"] = np.log(facts[side].to_numpy(np.float32))
    columns |= _one_hot(facts["kind"])
    known = facts["label"].notna()
    if not folder_means_class(facts.loc[known, "folder"].tolist(), facts.loc[known, "label"].tolist()):
        columns |= _one_hot(facts["folder"])
    names = list(columns)
    encoder = {
        "kind": SHORTCUT, "name": SHORTCUT, "dimension": len(names), "features": names, "seen_count": 0,
        "hash": digest(SHORTCUT, "1", *names),
    }
    return Embeddings(table.ids, np.stack(list(columns.values()), axis=1), encoder, table)


def _one_hot(values: pd.Series) -> dict[str, NDArray[np.float32]]:
    """A column each of the most frequent values; none where all are the same."""
    numbers = values.value_counts()
    if len(numbers) < 2:
        return {}
    kept = sorted(numbers.index[:MOST])
    return {f"{values.name} {value}": (values == value).to_numpy(np.float32) for value in kept}
