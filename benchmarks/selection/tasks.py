"""What is chosen from: three sets as they are, one thinned to 30:1, one with 5 % junk planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.splits import draw_splits
from hundredfold.encode.embed import Embeddings

__all__ = ["JUNK", "TASKS", "Task", "load"]

SETS = ("pbc_blood_cells", "chula_rbc", "busi_ultrasound")
#: task → what is done to the pool of its set.
TASKS: Mapping[str, tuple[str, str]] = {
    "pbc_blood_cells": ("pbc_blood_cells", "as it is"),
    "chula_rbc": ("chula_rbc", "as it is"),
    "busi_ultrasound": ("busi_ultrasound", "as it is"),
    "pbc_blood_cells 30:1": ("pbc_blood_cells", "thinned"),
    "chula_rbc 5 % junk": ("chula_rbc", "junk"),
}
JUNK = "junk"
RATIO, JUNK_SHARE = 30, 0.05
INNER_TEST, INNER_SEED, CHANCE = 1 / 3, 1, 7
#: Each seed sees so much of the pool, so that strategies without chance vary as well.
POOL_SHARE = 0.8


@dataclass(frozen=True)
class Task:
    """A pool to choose from, and the fixed test images.

    Attributes:
        vectors, labels: of the pool ``[n,d]``, ``[n]``; junk is labelled ``JUNK``.
        test_vectors, test_labels: ``[t,d]``, ``[t]``.
    """

    name: str
    vectors: NDArray[np.float32]
    labels: NDArray[np.object_]
    test_vectors: NDArray[np.float32]
    test_labels: NDArray[np.object_]

    @property
    def classes(self) -> list[str]:
        """Those of the test images."""
        return sorted(set(self.test_labels))

    def part(self, seed: int) -> NDArray[np.int64]:
        """The rows of the pool that a seed sees."""
        count = round(POOL_SHARE * len(self.labels))
        return np.sort(np.random.default_rng([CHANCE, seed]).permutation(len(self.labels))[:count])


def load(name: str, folders: Mapping[str, Path], *, inner: bool) -> Task:
    """One task; ``inner`` leaves the test images alone and splits the training side again."""
    of, change = TASKS[name]
    found = Embeddings.read(folders[of])
    table = found.images
    if inner:
        keep = (table.frame["split"] == "train").to_numpy()
        side = draw_splits(table.select(keep).assign(split=None), test_size=INNER_TEST, seed=INNER_SEED)
        vectors, frame = found.vectors[keep], side.frame
    else:
        vectors, frame = found.vectors, table.frame
    labels = frame["label"].to_numpy(dtype=object)
    pool, test = (np.flatnonzero(frame["split"] == side) for side in ("train", "test"))
    if change == "thinned":
        pool = pool[_thinned(labels[pool])]
    chosen, told = vectors[pool], labels[pool]
    if change == "junk":
        chosen, told = _with_junk(chosen, told, [folders[other] for other in SETS if other != of])
    return Task(name, chosen, told, vectors[test], labels[test])


def _thinned(labels: NDArray[np.object_]) -> NDArray[np.int64]:
    """Rows of which the classes, in the order of their sizes, fall off geometrically to a thirtieth."""
    sizes = pd.Series(labels).value_counts()
    wanted = sizes.iloc[0] * float(RATIO) ** -np.linspace(0, 1, len(sizes))
    order = np.random.default_rng(CHANCE).permutation(len(labels))
    pairs = zip(sizes.index, wanted, strict=True)
    kept = [order[labels[order] == name][: round(size)] for name, size in pairs]
    return np.sort(np.concatenate(kept))


def _with_junk(
    vectors: NDArray[np.float32], labels: NDArray[np.object_], others: list[Path]
) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    each = round(JUNK_SHARE / (1 - JUNK_SHARE) * len(labels) / len(others))
    random = np.random.default_rng(CHANCE)
    junk = []
    for folder in others:
        found = Embeddings.read(folder)
        train = np.flatnonzero(found.images.frame["split"] == "train")
        junk.append(found.vectors[random.permutation(train)[:each]])
    planted = np.concatenate(junk)
    return np.concatenate([vectors, planted]), np.concatenate([labels, np.full(len(planted), JUNK, object)])
