"""Novelty: how unlike the images that a predictor learned from a new one is, and from where on to say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hundredfold.encode.neighbours import distances_to_others
from hundredfold.predict.memory import Memory

__all__ = ["ALARM", "FEWEST", "Novelty"]

#: An image is unusual if so large a share of the known images is less so.
ALARM = 0.95
#: Of so many known images at least one in twenty can be the most unusual.
FEWEST = 19
NEIGHBOURS = 5
#: Known images that are looked at, and distances of theirs that are kept.
LOOKED_AT, KEPT = 5000, 1000
#: Of distances: single precision tells no more, and what it cannot tell apart is equally unusual.
DECIMALS = 6


@dataclass(frozen=True)
class Novelty:
    """What is known of the distances between images of different patients.

    The distance of an image is the mean cosine distance from its vector to the five nearest vectors of the
    memory. For a known image those of other groups are taken, and of no copy of it, so that its distance is
    what that of an image from a new patient would be. Then an image is as novel as the share of known images
    with a smaller distance. Of new images like the known ones at most a twentieth comes to .95 or more, on
    average over the choice of patients; with few patients that average hides a wide spread.

    Attributes:
        neighbours: to how many a distance is taken.
        distances: of known images, increasing; at most 1,000 evenly spaced ones.
        images: how many images these stand for.

    Source:
        Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors", arXiv 2204.06507, with
        the mean in place of the last distance; the share is one less a conformal p-value (Bates et al. 2023,
        "Testing for outliers with conformal p-values", arXiv 2104.08279).
    """

    neighbours: int
    distances: tuple[float, ...]
    images: int

    @classmethod
    def fit(cls, memory: Memory, *, seed: int = 0) -> Self | None:
        """Measure the known images against those of other groups.

        ``None`` where fewer than 19 have five others to be measured against.
        """
        rows = np.sort(np.random.default_rng(seed).permutation(len(memory))[:LOOKED_AT])
        found = distances_to_others(memory.vectors, memory.pieces, rows, NEIGHBOURS)
        known = np.sort(found[np.isfinite(found)])
        if len(known) < FEWEST:
            return None
        kept = min(KEPT, len(known))
        ranks = np.ceil(np.arange(1, kept + 1) * (len(known) + 1) / (kept + 1)).astype(int)
        return cls(NEIGHBOURS, tuple(round(float(one), DECIMALS) for one in known[ranks - 1]), len(known))

    def distance(self, vectors: NDArray[np.floating[Any]], memory: Memory) -> NDArray[np.float64]:
        """The distances ``[b]`` of new images from what is remembered; ``vectors`` are ``[b, d]``."""
        nearest = memory.neighbours.nearest(vectors, self.neighbours)[0]
        return np.asarray(np.round(nearest.mean(axis=1, dtype=np.float64), DECIMALS))

    def share(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of known images that are less unusual than images at these distances ``[b]``; below 1.

        Examples:
            >>> known = Novelty(5, tuple(number / 100 for number in range(1, 20)), 19)
            >>> known.share(np.array([0.005, 0.105, 0.5])).tolist()
            [0.0, 0.5, 0.95]
        """
        below = np.searchsorted(np.array(self.distances), distances, side="left")
        return np.asarray(below / (len(self.distances) + 1))

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, which :meth:`of` reads."""
        return {"neighbours": self.neighbours, "images": self.images, "distances": list(self.distances)}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What :attr:`facts` told."""
        return cls(int(facts["neighbours"]), tuple(facts["distances"]), int(facts["images"]))
