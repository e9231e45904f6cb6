"""What every format's reader shares: the limits, upright pixels, and what stands behind alpha."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hundredfold.errors import ImageError

__all__ = [
    "MAX_BYTES", "MAX_PIXELS", "MIN_SIDE", "Opened", "Pixels", "Raw", "Target", "check_finite", "check_size",
    "cmyk_to_rgb", "over_white", "upright",
]

#: the shorter side of a usable image, in px.
MIN_SIDE = 8
#: width x height of the largest image that is decoded; 300 MB as RGB.
MAX_PIXELS = 100_000_000
#: the largest file that is read, in bytes.
MAX_BYTES = 1_000_000_000

Pixels: TypeAlias = NDArray[Any]
#: (width, height) of an image → the (width, height) it will be resized to.
Target: TypeAlias = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Raw:
    """Decoded pixels [h,w] or [h,w,3] of an image, upright.

    ``deep`` pixels are of no known range (16-bit, float) and need one; ``flags`` are remarks for
    the image table; ``identity`` is what stands for the pixels in their hash where a reader may
    give them at a reduced scale.
    """

    pixels: Pixels
    deep: bool = False
    flags: tuple[str, ...] = ()
    identity: bytes | None = None


@dataclass(frozen=True)
class Opened:
    """An image of which the header was read: its upright size in px, and how to go on."""

    width: int
    height: int
    read: Callable[[Target | None], Raw]


def check_size(width: int, height: int) -> None:
    """Refuse what is too small to show anything or too large to decode safely.

    Raises:
        ImageError: ``too_small`` or ``too_large``.

    Examples:
        >>> check_size(20_000, 20_000)
        Traceback (most recent call last):
            ...
        hundredfold.errors.ImageError: the header says 20000 x 20000 px; at most 100 megapixels are decoded.
    """
    if min(width, height) < MIN_SIDE:
        least = f"{MIN_SIDE} x {MIN_SIDE}"
        raise ImageError("too_small", f"the image is {width} x {height} px; at least {least} are needed")
    if width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS // 1_000_000} megapixels"
        raise ImageError("too_large", f"the header says {width} x {height} px; at most {most} are decoded")


def check_finite(pixels: Pixels) -> None:
    """Refuse values that are no numbers; whatever they became would look like a measured one.

    Raises:
        ImageError: ``nonfinite``.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError("nonfinite", "the pixels hold NaN or infinite values")


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the EXIF or TIFF ``orientation`` (1–8; others mean 1) of pixels [h,w] or [h,w,c].

    Examples:
        >>> upright(np.array([[1, 2], [3, 4]]), 6)
        array([[3, 1],
               [4, 2]])
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def over_white(
    pixels: Pixels, alpha: Pixels, *, premultiplied: bool = False, white: int | None = None
) -> Pixels:
    """Lay pixels [h,w] or [h,w,3] on white, the background a page shows them on, by ``alpha`` [h,w].

    Both are of one unsigned type; ``white`` is white and opaque, by itself the maximum of the type.

    Examples:
        >>> over_white(np.zeros((1, 2), np.uint8), np.array([[255, 0]], np.uint8))
        array([[  0, 255]], dtype=uint8)
    """
    white = white or int(np.iinfo(pixels.dtype).max)
    share = (alpha.astype(np.float32) / white).reshape(alpha.shape + (1,) * (pixels.ndim - 2))
    front = pixels if premultiplied else pixels * share
    laid: Pixels = np.clip(np.rint(front + (1 - share) * white), 0, white)
    return laid.astype(pixels.dtype)


def cmyk_to_rgb(pixels: Pixels, white: int) -> Pixels:
    """Ink shares [h,w,4] up to ``white`` → RGB [h,w,3] of the same type, without a colour profile."""
    paper = white - pixels.astype(np.float32)
    colours: Pixels = np.rint(paper[..., :3] * paper[..., 3:] / white).astype(pixels.dtype)
    return colours
