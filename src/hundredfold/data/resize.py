"""Any image → a square, antialiased: padded by reflection, cut, or squashed."""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np

from hundredfold.data.image import Pixels

__all__ = ["Fit", "resize", "scaled_size", "to_square"]

Fit: TypeAlias = Literal["pad", "crop", "squash"]


def scaled_size(width: int, height: int, *, size: int, fit: Fit) -> tuple[int, int]:
    """(width, height) that an image is scaled to before it is padded or cut to ``size`` x ``size`` px.

    Examples:
        >>> [scaled_size(400, 200, size=100, fit=fit) for fit in ("pad", "crop", "squash")]
        [(100, 50), (200, 100), (100, 100)]
    """
    if fit == "squash":
        return size, size
    scale = size / (max(width, height) if fit == "pad" else min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize ``uint8`` or ``float32`` pixels [h,w] or [h,w,c] to ``height`` x ``width``.

    A side that shrinks is averaged over areas (no aliasing), one that grows is interpolated
    (bicubic); one after the other, because OpenCV averages only where both sides shrink.

    Examples:
        >>> resize(np.array([[0, 200], [100, 100]], np.uint8), 1, 1)
        array([[100]], dtype=uint8)
    """
    pixels = np.ascontiguousarray(pixels)
    least = min(width, pixels.shape[1]), min(height, pixels.shape[0])
    if least != pixels.shape[1::-1]:
        pixels = cv2.resize(pixels, least, interpolation=cv2.INTER_AREA)
    if least != (width, height):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return pixels


def to_square(pixels: Pixels, size: int, fit: Fit) -> Pixels:
    """Make pixels [h,w] or [h,w,c] ``size`` x ``size``.

    ``pad`` keeps all of the image and reflects it at its borders, ``crop`` keeps the middle square,
    ``squash`` gives up the aspect ratio.
    """
    height, width = pixels.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return resize(pixels[top : top + side, left : left + side], size, size)
    scaled = resize(pixels, *scaled_size(width, height, size=size, fit=fit))
    below, right = size - scaled.shape[0], size - scaled.shape[1]
    if below == right == 0:
        return scaled
    top, left = below // 2, right // 2
    return cv2.copyMakeBorder(scaled, top, below - top, left, right - left, cv2.BORDER_REFLECT_101)
