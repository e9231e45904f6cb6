"""How the pixels of new images are made of their files: as those were that a predictor learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.image import Pixels
from hundredfold.data.resize import Fit
from hundredfold.data.stain import Stain
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.errors import ImageError, ModelFileError

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """What decides of the pixels of an image, whatever other images come with it.

    Args:
        size: side of the square in px.
        fit: how an image that is not square is made so.
        value_range: black and white of deep (16-bit, float) images; ``None`` where none were learned from.
        window: centre and width in Hounsfield units through which CT is shown.
        stain: how colours are normalised.
    """

    size: int
    fit: Fit
    value_range: ValueRange | None = None
    window: CtWindow | None = None
    stain: Stain | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The recipe among the facts of a predictor.

        Raises:
            ModelFileError: it does not say at which size it learned.
        """
        if facts.get("pixel_size") is None:
            raise ModelFileError(
                "the predictor does not say at which size it saw images", remedy="Fit it again."
            )
        limits, window = facts["value_range"], facts.get("window")
        return cls(
            facts["pixel_size"], facts["fit"], ValueRange(*limits) if limits else None,
            (window[0], window[1]) if window else None, Stain.read(facts.get("stain")),
        )

    @property
    def task(self) -> dict[str, Any]:
        """What a decoder is asked for, the image itself left out."""
        limits = None if self.value_range is None else list(asdict(self.value_range).values())
        return {"size": self.size, "fit": self.fit, "value_range": limits, "ct_window": self.window}

    def checked(self, square: Pixels) -> NDArray[np.uint8]:
        """The square that a decoder gave.

        Raises:
            ImageError: ``no_range``; it is deep, and nothing says what is black and white in it. A range of
                its own, or of what happens to come with it, would show it as no image was learned from.
        """
        if square.dtype != np.uint8:
            raise ImageError(
                "no_range", "its pixels have 16 bits or more, and the predictor learned from 8-bit images: "
                "nothing says what is black and what is white in it",
            )
        return square

    def batch(self, squares: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Squares [s,s,3] → one array [b,s,s,3], their colours normalised."""
        pixels = np.stack(squares)
        return pixels if self.stain is None else self.stain.apply(pixels)
