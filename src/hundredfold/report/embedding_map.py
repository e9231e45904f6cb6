"""A map of the embeddings: where images lie near each other whose features are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.encode.embed import Embeddings

__all__ = ["map_points"]

MOST_IMAGES = 1200
ITERATIONS = 500
FEWEST_IMAGES = 10
COMPONENTS = 50


def map_points(embeddings: Embeddings, *, seed: int, most: int = MOST_IMAGES) -> pd.DataFrame:
    """Place labelled images in the plane: PCA to 50 numbers, then t-SNE (van der Maaten and Hinton 2008).

    Args:
        embeddings: vectors ``[n, d]`` with their rows of the image table.
        seed: which images are drawn where there are more than ``most``, and how t-SNE starts.
        most: images on the map.

    Returns:
        ``id, label, split, x, y``; empty with fewer than 10 labelled images.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    frame = embeddings.images.frame
    labelled = np.flatnonzero(frame["label"].notna() & frame["problem"].isna())
    chosen = np.sort(np.random.default_rng(seed).permutation(labelled)[:most])
    table = frame.iloc[chosen][["id", "label", "split"]].reset_index(drop=True)
    if len(chosen) < FEWEST_IMAGES:
        return table.iloc[:0].assign(x=0.0, y=0.0)
    vectors = np.asarray(embeddings.vectors[chosen], dtype=np.float64)  # [m, d]
    reduced = PCA(min(COMPONENTS, *vectors.shape), random_state=seed).fit_transform(vectors)  # [m, 50]
    reduced /= reduced.std() or 1.0
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", max_iter=ITERATIONS, random_state=seed).fit_transform(
        reduced
    )  # [m, 2]
    return table.assign(x=placed[:, 0], y=placed[:, 1])
