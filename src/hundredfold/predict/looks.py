"""What images look like, in numbers that have words: brightness, colour, background, sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.data.profile import MEASURED, measured
from hundredfold.data.store import PixelStore

__all__ = ["LOOKS", "looks_of", "looks_of_images"]

#: Brightness and contrast as in :mod:`hundredfold.data.profile`; how far red, green and blue lie above the
#: mean of the three; the same of the border, which is mostly background; saturation (mean of the largest less
#: the smallest of the three), all 0–255; grain (how much detail there is finer than a pixel or two) and
#: sharpness (how much of it to each coarser one), both as powers of two.
LOOKS = (
    "brightness", "contrast", "redness", "greenness", "blueness", "background", "background redness",
    "background greenness", "background blueness", "saturation", "grain", "sharpness",
)
#: Standard deviations in px of the blurs between which detail is fine, and coarser.
FINE, COARSE = 1.0, 3.0
COLOURS = ("red", "green", "blue")
#: Grey levels below which there is no detail, but rounding.
LEAST = 0.1


def looks_of(store: PixelStore, ids: Sequence[str] | NDArray[np.object_]) -> NDArray[np.float32]:
    """The numbers ``LOOKS`` of some images, float32 ``[n, 12]``.

    Raises:
        TableError: an image is not in the store.
    """
    rows = store.rows(ids)
    found = [_looks(store[[row]][0]) for row in rows]
    return np.array(found, dtype=np.float32).reshape(-1, len(LOOKS))


def looks_of_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The same of images uint8 ``[n, s, s, 3]``.

    Examples:
        >>> grey = np.full((1, 16, 16, 3), 90, dtype=np.uint8)
        >>> found = dict(zip(LOOKS, looks_of_images(grey)[0].tolist()))
        >>> found["background"], found["saturation"], found["sharpness"]
        (90.0, 0.0, 0.0)
    """
    return np.array([_looks(one) for one in images], dtype=np.float32).reshape(-1, len(LOOKS))


def _looks(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), FINE)
    fine = float((grey - smooth).std())
    coarse = float((smooth - cv2.GaussianBlur(grey, (0, 0), COARSE)).std())
    saturation = float((pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)).mean())
    known = dict(zip(MEASURED, measured(pixels), strict=True))
    inside, border = (np.array([known[f"{where}{one}"] for one in COLOURS]) for where in ("", "border_"))
    return (
        known["brightness"], known["contrast"], *(inside - inside.mean()), border.mean(),
        *(border - border.mean()), saturation, _power(fine), _power(fine) - _power(coarse),
    )


def _power(levels: float) -> float:
    return float(np.log2(max(levels, LEAST)))
