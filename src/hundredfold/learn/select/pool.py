"""The images one may choose from: their vectors, who is labelled, how alone each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.encode.neighbours import nearest_others
from hundredfold.errors import SettingsError

__all__ = ["Pool"]

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

#: Principal components that are kept; the others tell little of who resembles whom, and cost time.
DIMENSIONS = 64
#: Images that the components are fitted to, and rows that are worked on at a time.
SAMPLE, BLOCK = 20_000, 2048
#: Neighbours that tell how densely images lie (Hacohen et al. 2022, section 3: 20), and the nearest of them,
#: which tell an outlier: a class of six images has none.
NEIGHBOURS, NEAREST = 20, 5
#: An image is an outlier whose distance to the nearest is this many standard deviations above the usual
#: one, both on a logarithmic scale and robust.
FAR = 3.0
#: A standard deviation is so many times the distance from the median to the upper quartile.
QUARTILE = 1 / 0.6745
#: Cosine distances below this are rounding.
TINY = 1e-5


@dataclass(frozen=True)
class Pool:
    """Images to choose from, and those that are labelled already.

    Attributes:
        vectors: ``[n,d]`` at most 64 principal components, of length 1: half a squared distance is a cosine
            distance about the mean image.
        spread: ``[n]`` mean cosine distance to the 20 nearest others; small where many images are alike.
        alone: ``[n]`` mean cosine distance to the 5 nearest, as a multiple of the median image's.
        outlier: ``[n]`` far from every neighbour.
        labels: ``[n]`` class numbers; -1 without a label, and the number of classes for what is of no use.
        taken: ``[n]`` labelled, of no use, or suggested already.
        classes: the names of the classes, sorted.
        seed: of everything that is left to chance.

    Examples:
        >>> pool = Pool.of(np.eye(3), ["a", None, None])
        >>> pool.free.tolist(), pool.after(np.array([2])).free.tolist()
        ([1, 2], [1])
    """

    vectors: Vectors
    spread: NDArray[np.float32]
    alone: NDArray[np.float32]
    outlier: NDArray[np.bool_]
    labels: Rows
    taken: NDArray[np.bool_]
    classes: tuple[str, ...] = field(default=())
    seed: int = 0

    @classmethod
    def of(
        cls, vectors: NDArray[np.floating[Any]], labels: Sequence[str | None] | None = None, *,
        useless: str | None = None, seed: int = 0,
    ) -> Self:
        """Build the pool.

        Args:
            vectors: ``[n,d]``.
            labels: ``[n]`` names of classes, ``None`` or NaN without a label; by default none has one.
            useless: the label of images that are of no use (junk): no class, and no more of them are sought.
            seed: of everything that is left to chance.

        Raises:
            SettingsError: there are fewer than two images, or not as many labels.
        """
        if len(vectors) < 2:
            raise SettingsError(
                f"expected two images or more to choose from, found {len(vectors)}", remedy="Embed more."
            )
        reduced = _reduced(vectors)
        distances = _distances(vectors, nearest_others(reduced, NEIGHBOURS))
        spread, alone = distances.mean(axis=1), distances[:, :NEAREST].mean(axis=1)
        blank = np.full(len(reduced), -1, dtype=np.int64)
        usual = _apart(alone)
        far = _far(alone, usual)
        pool = cls(reduced, spread, alone / np.median(usual), far, blank, blank >= 0, seed=seed)
        return pool if labels is None else pool.labelled(labels, useless=useless)

    def labelled(self, labels: Sequence[str | None], *, useless: str | None = None) -> Self:
        """The same images with these labels in place of earlier ones.

        Raises:
            SettingsError: there are not as many labels as images.
        """
        if len(labels) != len(self.vectors):
            raise SettingsError(f"expected {len(self.vectors):,} labels, found {len(labels):,}")
        told = pd.Series(list(labels), dtype="str")
        junk = (told == useless).to_numpy(dtype=bool)
        codes, names = pd.factorize(told.mask(junk), sort=True)
        numbers = np.where(junk, len(names), codes).astype(np.int64)
        return replace(self, labels=numbers, taken=numbers >= 0, classes=tuple(map(str, names)))

    def after(self, rows: Rows) -> Self:
        """The pool in which these rows are taken, too."""
        taken = self.taken.copy()
        taken[rows] = True
        return replace(self, taken=taken)

    @property
    def free(self) -> Rows:
        """The rows that may be suggested: neither taken nor outliers."""
        return np.flatnonzero(~self.taken & ~self.outlier)

    @property
    def strange(self) -> Rows:
        """The outliers without a label, the farthest first."""
        rows = np.flatnonzero(~self.taken & self.outlier)
        return rows[np.argsort(-self.alone[rows], kind="stable")]


def _reduced(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Principal components of length 1 [n, at most 64]; a vector at the mean is zero."""
    rows = np.linspace(0, len(vectors) - 1, min(len(vectors), SAMPLE)).astype(np.int64)
    some = np.asarray(vectors[rows], dtype=np.float32)
    mean = some.mean(axis=0)
    turned = np.linalg.eigh((some - mean).T @ (some - mean))[1][:, ::-1][:, :DIMENSIONS]
    axes = np.ascontiguousarray(turned, dtype=np.float32)  # [d, 64]
    reduced = np.empty((len(vectors), axes.shape[1]), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        reduced[part] = _unit((np.asarray(vectors[part], dtype=np.float32) - mean) @ axes)
    return reduced


def _distances(vectors: NDArray[np.floating[Any]], others: Rows) -> NDArray[np.float32]:
    """Cosine distances of the whole vectors to some others of each [n,k], nearest first; to a missing one 2.

    What sets a strange image apart lies mostly in the components that are left out.
    """
    distances = np.empty(others.shape, dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        near = _unit(vectors[others[part].ravel()]).reshape(*others[part].shape, -1)  # [b,k,d]
        distances[part] = 1 - np.einsum("bd,bkd->bk", _unit(vectors[part]), near)
    distances[others < 0] = 2
    return np.sort(np.clip(distances, TINY, 2), axis=1)


def _unit(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Vectors of length 1 [n,d]; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _apart(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distances that are more than rounding; all, if none is.

    Where most images are copies, as still frames of a film are, all others would be far away.
    """
    apart = distances[distances > 1.01 * TINY]
    return apart if len(apart) else distances


def _far(distances: NDArray[np.float32], usual: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which distances are far above the usual ones."""
    middle, upper = np.quantile(np.log(usual), [0.5, 0.75])
    return np.asarray(np.log(distances) > middle + FAR * QUARTILE * (upper - middle), dtype=np.bool_)
