"""What grey values become black and white: one range of deep images for a data set, one window of CT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.image import Pixels

__all__ = ["CtWindow", "ValueRange"]

LOOKED_AT = 2_000
SAMPLES = 4_000_000
PERCENTILES = (0.1, 99.9)

#: centre and width in Hounsfield units.
CtWindow: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class ValueRange:
    """The values of deep (16-bit, float) images that become black and white, one pair for a data set.

    Examples:
        >>> ValueRange(0, 1000).to_uint8(np.array([-5.0, 500.0, 4000.0]))
        array([  0, 128, 255], dtype=uint8)
    """

    low: float
    high: float

    def to_uint8(self, values: Pixels) -> NDArray[np.uint8]:
        """Scale values of any shape; what lies outside is cut."""
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
        eight: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return eight

    @classmethod
    def of(cls, images: Sequence[Pixels]) -> Self:
        """The range from the .1st to the 99.9th percentile of the images' values.

        At most about four million values are looked at, evenly spaced over the images and in each.
        """
        every = max(1, len(images) // LOOKED_AT)
        chosen = images[::every]
        share = max(1, SAMPLES // len(chosen))
        # Pixel by pixel: values of colour images at even distances may all be of one channel.
        pixels = [image.reshape(image.shape[0] * image.shape[1], -1) for image in chosen]
        values = [image[:: max(1, image.size // share)].ravel() for image in pixels]
        low, high = np.percentile(np.concatenate(values), PERCENTILES)
        return cls(float(low), float(high) if high > low else float(low) + 1.0)
