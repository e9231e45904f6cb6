"""The encoder that learned nothing: a thumbnail and colour histograms. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.data.resize import Fit
from hundredfold.data.stain import Stain
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.encode.protocol import digest, resize, write_facts

__all__ = ["ThumbnailEncoder"]


class ThumbnailEncoder:
    """What a classifier can tell from colours and coarse layout alone; the reference every encoder must beat.

    Args:
        side: side of the thumbnail in px.
        bins: bins of each channel's histogram over all pixels.

    Examples:
        >>> encoder = ThumbnailEncoder(side=1, bins=2)
        >>> encoder.encode(np.full((1, 4, 4, 3), 255, dtype=np.uint8)).tolist()
        [[1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]]
    """

    name = "thumbnail"
    fit: Fit = "pad"
    value_range: ValueRange | None = None
    window: CtWindow | None = None
    stain: Stain | None = None
    seen: frozenset[str] = frozenset()

    def __init__(self, *, side: int = 16, bins: int = 32) -> None:
        self.side, self.bins = side, bins
        self.dimension = 3 * (side * side + bins)
        self.hash = digest("thumbnail", "1", str(side), str(bins))

    @property
    def facts(self) -> dict[str, Any]:
        """What reports say of it; JSON can hold it."""
        return {
            "kind": "thumbnail", "name": self.name, "hash": self.hash, "dimension": self.dimension,
            "seen_count": 0, "side": self.side, "bins": self.bins,
        }

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images [b,h,h,3] → thumbnail pixels from 0 to 1, then shares of pixels a bin [b,d]."""
        thumbnails = resize(batch, self.side).reshape(len(batch), 3 * self.side**2) / np.float32(255)
        return np.concatenate([thumbnails, self._histograms(batch)], axis=1, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write ``encoder.json``."""
        write_facts(folder, self.facts)

    def _histograms(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        counts = np.zeros((len(batch), 3, self.bins), dtype=np.float32)
        for image, row in zip(np.ascontiguousarray(batch), counts, strict=True):
            for channel in range(3):
                row[channel] = cv2.calcHist([image], [channel], None, [self.bins], [0, 256]).ravel()
        return counts.reshape(len(batch), 3 * self.bins) / np.float32(batch.shape[1] * batch.shape[2])
