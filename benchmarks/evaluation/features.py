"""Vectors like those of an encoder, of 21 classes, written as the program and its peer read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings

__all__ = ["CLASSES", "DIMENSION", "make_features", "write_features"]

CLASSES, DIMENSION = 21, 384
SEPARATION = 0.45  # by which an SVM at 100 labels a class comes to about .7, as in the paper
FACTORS = 40


def make_features(count: int, *, seed: int, first: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Skewed, correlated vectors float32 [n,384] and their class numbers [n]; the classes take turns.

    Args:
        count: n.
        seed: of the classes and of the samples; the same seed has the same classes.
        first: number of the first sample, so that two calls need not share any.
    """
    shape = np.random.default_rng(seed)
    centres = shape.normal(size=(CLASSES, FACTORS)) * SEPARATION
    factors = shape.normal(size=(FACTORS, DIMENSION)) / np.sqrt(FACTORS)
    power = shape.uniform(0.5, 1.5, size=DIMENSION)
    random = np.random.default_rng([seed, first])
    labels = np.arange(first, first + count) % CLASSES
    x = (centres[labels] + random.normal(size=(count, FACTORS))) @ factors
    x += 0.3 * random.normal(size=(count, DIMENSION))
    return np.exp(power * x * 0.5).astype(np.float32), labels


def write_features(folder: Path, train: int, test: int, *, seed: int = 0) -> None:
    """Write ``features.npz`` and, for us, ``embeddings/``, once."""
    if (folder / "features.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (x, y), (new, truth) = make_features(train, seed=seed), make_features(test, seed=seed, first=train)
    vectors, labels = np.concatenate([x, new]), np.concatenate([y, truth])
    table = ImageTable.of({
        "id": [f"{number:06d}.png" for number in range(len(labels))],
        "label": [f"class_{number:02d}" for number in labels],
        "split": ["train"] * train + ["test"] * test,
        "sha256": [f"{number:064x}" for number in range(len(labels))],
    })
    facts = {"name": "made", "hash": "made", "kind": "made", "dimension": DIMENSION, "seen_count": 0}
    Embeddings(table.ids, vectors, facts, table).write(folder / "embeddings")
    np.savez(folder / "features.npz", train=x, train_labels=y, test=new, test_labels=truth)
