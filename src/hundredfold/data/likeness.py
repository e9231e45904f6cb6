"""How alike two pictures are in their fine details, laid upon each other in the way that fits best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.data.resize import resize

__all__ = ["ALIKE", "WAYS", "grey", "likeness", "turned"]

#: Likeness from which two images are near-copies. Planted ones lie above, other images below: see
#: ``benchmarks/near_duplicates.py``.
ALIKE = 0.85
#: The ways to lay a square: quarter turns, then the same mirrored.
WAYS = 8
#: Side in px at which two images are compared.
SIDE = 64
#: Details below this many px (standard deviation) are compared; what is coarser is alike in many images.
DETAIL = 2.0
#: They are compared block by block (px), where their strength is no mere noise (grey values).
BLOCK, FAINT, FEWEST_BLOCKS = 8, 2.0, 4
#: Least share of an image that must lie upon the other.
OVERLAP = 0.5
ALIGNMENT = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)

Grey: TypeAlias = NDArray[np.float32]


def grey(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The grey values ``[side,side]`` of pixels ``[s,s,3]``."""
    return resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), side, side)


def turned(images: NDArray[Any], way: int) -> NDArray[Any]:
    """Square images [..., s, s] laid in one of the eight ways."""
    quarters = np.rot90(images, way % 4, axes=(-2, -1))
    return np.ascontiguousarray(quarters[..., ::-1] if way >= 4 else quarters)


def likeness(
    one: NDArray[np.uint8], other: NDArray[np.uint8], ways: Iterable[int]
) -> tuple[float, int]:
    """How alike two images ``[s,s,3]`` are, and the way to lay the first upon the second.

    It is the correlation of their fine details as they lie, and where that says no, after the first was laid
    upon the second (Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation
    coefficient maximization").

    Args:
        one: the first image.
        other: the second.
        ways: that are tried.
    """
    first, still = (grey(pixels, SIDE).astype(np.float32) for pixels in (one, other))
    laid = {way: turned(first, way) for way in ways}
    everywhere = np.ones(still.shape, dtype=bool)
    straight = {way: _correlation(moved, still, everywhere) for way, moved in laid.items()}
    way = max(straight, key=straight.__getitem__)
    if straight[way] < ALIKE:
        straight[way] = max(straight[way], _aligned(laid[way], still))
    return straight[way], way


def _aligned(moved: Grey, still: Grey) -> float:
    whole = np.ones(moved.shape, np.uint8)
    try:
        warp = cv2.findTransformECC(
            still, moved, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, ALIGNMENT, whole, 5
        )[1]
    except cv2.error:  # it found no way to lay one upon the other
        return 0.0
    back = cv2.WARP_INVERSE_MAP
    inside = cv2.warpAffine(whole, warp, still.shape, flags=cv2.INTER_NEAREST | back)
    inside = cv2.erode(inside, np.ones((5, 5), np.uint8), borderValue=0)
    if inside.mean() < OVERLAP:
        return 0.0
    laid = cv2.warpAffine(
        moved, warp, still.shape, flags=cv2.INTER_CUBIC | back, borderMode=cv2.BORDER_REFLECT
    )
    return _correlation(np.asarray(laid, np.float32), still, np.asarray(inside) > 0)


def _correlation(a: Grey, b: Grey, inside: NDArray[np.bool_]) -> float:
    """The lower quartile over small blocks of the correlation of details; 0 where hardly a block has any.

    Copies agree everywhere; images that share a dark frame or writing, or round things of one size, agree in
    the blocks at their edges.
    """
    x, y = (_blocks(image - cv2.GaussianBlur(image, (0, 0), DETAIL)) for image in (a, b))
    own, other, both = (x * x).mean(axis=1), (y * y).mean(axis=1), (x * y).mean(axis=1)
    told = (np.maximum(own, other) >= FAINT**2) & _blocks(inside).all(axis=1)
    if told.sum() < FEWEST_BLOCKS:
        return 0.0
    return float(np.quantile(both[told] / np.sqrt(np.maximum(own * other, 1e-6)[told]), 0.25))


def _blocks(image: NDArray[Any]) -> NDArray[Any]:
    """An image [s,s] in squares of ``BLOCK`` px [n,BLOCK²]."""
    count = SIDE // BLOCK
    return image.reshape(count, BLOCK, count, BLOCK).swapaxes(1, 2).reshape(count * count, -1)
