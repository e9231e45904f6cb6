"""Which images are like one, by the vectors of the run's encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hundredfold.encode.embed import Embeddings

__all__ = ["Likes"]

#: More are never asked for at a time.
MOST = 500


class Likes:
    """Finds the images nearest to one, by the cosine of their vectors.

    Args:
        ids: of the images [n].
        vectors: theirs [n,d].

    Examples:
        >>> likes = Likes(["a", "b", "c"], np.array([[1.0, 0], [0, 1], [1, 0.1]]))
        >>> likes("a", ["b", "c", "no vector"])
        ['c', 'b']
    """

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
        self.ids = [str(image) for image in ids]
        self._rows = {image: row for row, image in enumerate(self.ids)}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Of the embeddings in a folder.

        Raises:
            RunMissingError: there are none, or they are not complete.
        """
        embeddings = Embeddings.read(folder)
        return cls(list(embeddings.ids), embeddings.vectors)

    def __call__(self, image: str, among: Sequence[str]) -> list[str]:
        """Those of ``among`` that have a vector, nearest first, at most 500.

        They stay in their order if the image itself has none.
        """
        rows = np.array([self._rows[other] for other in among if other in self._rows], dtype=np.int64)
        if image not in self._rows:
            return [self.ids[row] for row in rows[:MOST]]
        likeness = (self._unit @ self._unit[self._rows[image]])[rows]
        if len(rows) > MOST:
            best = np.argpartition(-likeness, MOST)[:MOST]
            rows, likeness = rows[best], likeness[best]
        return [self.ids[row] for row in rows[np.argsort(-likeness, kind="stable")]]
