"""Crop, flip, rotation and perspective as ONE homography, and one resampling.

Coordinates are continuous: pixel ``i`` covers ``[i, i + 1)`` and its centre is ``i + .5``. A frame
runs from -1 to 1 on both axes, whatever its size. A homography maps a point of the *crop* to the
point of the *image* it shows, so that homographies of crops are written in the order in which a
point walks back: out of the crop, through the flips, the tilt, the turn, onto the image.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Pyramid",
    "crop_boxes",
    "crop_homographies",
    "image_homographies",
    "minification",
    "quad_homographies",
    "warp",
]

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "black": cv2.BORDER_CONSTANT}

#: the corners of a frame, clockwise from the top left.
CORNERS: Floats = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)

#: from corners to the sides that meet in the third one, and to what they lack of a parallelogram.
SIDES: Floats = np.array([[0, 1, -1, 0], [0, 0, -1, 1], [1, -1, 1, -1]], dtype=np.float64)

#: from weighted corners to the axes and the origin of a frame.
FRAME: Floats = np.array([[-1, -1, 0], [1, 0, 1], [0, 1, 1]]) / 2


def crop_boxes(
    uniforms: Floats, scale: Floats, height: int, width: int, aspect: float = 4 / 3
) -> Floats:
    """Draw the boxes of random resized crops: the area uniform in ``scale``, the aspect log-uniform.

    The usual operation (Szegedy et al. 2015, section 6) draws both and tries again where the box does
    not fit, which makes large crops rarer than asked for. Here the area is kept, and the aspect drawn
    among those that fit; where none up to ``aspect`` fits, the nearest that does is taken.

    Args:
        uniforms: numbers in [0, 1), ``[n, 4]``: area, aspect, place in x and in y.
        scale: least and greatest share of the image's area, ``[n, 2]``.
        height: of the image, in px.
        width: of the image, in px.
        aspect: greatest width / height and height / width of a box.

    Returns:
        Centre x, centre y, width and height in px, ``[n, 4]``; the boxes lie inside the image.

    Examples:
        >>> crop_boxes(np.array([[0, 0.5, 0, 1.0]]), np.array([[0.25, 1]]), 100, 100).tolist()
        [[25.0, 75.0, 50.0, 50.0]]
    """
    area = scale[:, 0] + uniforms[:, 0] * (scale[:, 1] - scale[:, 0])  # [n]
    own = math.log(width / height)
    slack = -np.log(area)  # how much more oblong than the image a box of this area may be
    low = np.minimum(np.maximum(-math.log(aspect), own - slack), own + slack)
    high = np.minimum(np.maximum(math.log(aspect), own - slack), own + slack)
    root_aspect = np.exp((low + uniforms[:, 1] * (high - low)) / 2)
    side = np.sqrt(area * (height * width))
    box_width = np.minimum(side * root_aspect, width)  # rounding must not push a full crop outside
    box_height = np.minimum(side / root_aspect, height)
    x = box_width / 2 + uniforms[:, 2] * (width - box_width)
    y = box_height / 2 + uniforms[:, 3] * (height - box_height)
    return np.stack([x, y, box_width, box_height], axis=1)


def crop_homographies(boxes: Floats, flips: Floats, radians: Floats, offsets: Floats) -> Floats:
    """Crop to image where flips, turn and tilt act on the crop about its own centre.

    The crop's centre stays inside the image, so that little of a crop is border.

    Args:
        boxes: as :func:`crop_boxes` gives them, ``[n, 4]``.
        flips: 1, or -1 where mirrored, in x and in y, ``[n, 2]``.
        radians: turn of the picture, anticlockwise as it is seen, ``[n]``.
        offsets: of the corners of the shown area, in half sides of the crop, ``[n, 4, 2]``.

    Returns:
        Homographies from the crop's frame to px of the image, ``[n, 3, 3]``.

    Examples:
        >>> box, none = np.array([[50.0, 50.0, 20.0, 20.0]]), np.zeros((1, 4, 2))
        >>> h = crop_homographies(box, np.array([[-1.0, 1.0]]), np.zeros(1), none)
        >>> (h[0] @ [1, 0, 1]).tolist()
        [40.0, 50.0, 1.0]
    """
    place = _similarities(boxes[:, :2], radians) @ _scalings(boxes[:, 2:] / 2)
    return np.asarray(place @ quad_homographies(CORNERS + offsets) @ _scalings(flips))


def image_homographies(
    boxes: Floats, flips: Floats, radians: Floats, offsets: Floats, size: tuple[int, int]
) -> Floats:
    """Crop to image where, as in the reference, the whole image is tilted, then turned, then cropped.

    Args:
        boxes: as :func:`crop_boxes` gives them, ``[n, 4]``.
        flips: 1, or -1 where mirrored, in x and in y, ``[n, 2]``.
        radians: turn of the picture, anticlockwise as it is seen, ``[n]``.
        offsets: where the image's corners go, from the corners, in half sides of the image,
            ``[n, 4, 2]``; torchvision's ``RandomPerspective`` moves them inwards.
        size: height and width of the image, in px.

    Returns:
        Homographies from the crop's frame to px of the image, ``[n, 3, 3]``.

    Examples:
        >>> box, none = np.array([[25.0, 50.0, 20.0, 20.0]]), np.zeros((1, 4, 2))
        >>> h = image_homographies(box, np.ones((1, 2)), np.array([np.pi / 2]), none, (100, 100))
        >>> (h[0] @ [0, 0, 1]).round(6).tolist()
        [50.0, 25.0, 1.0]
    """
    half = np.array([[size[1] / 2, size[0] / 2]])
    still = np.zeros(len(boxes))
    crop = _similarities(boxes[:, :2] - half, still) @ _scalings(boxes[:, 2:] / 2 * flips)
    turned = _similarities(np.zeros_like(half), radians) @ crop
    tilted = np.linalg.inv(quad_homographies(CORNERS + offsets)) @ _scalings(1 / half) @ turned
    return np.asarray(_similarities(half, still[:1]) @ _scalings(half) @ tilted)


def quad_homographies(quads: Floats) -> Floats:
    """The homographies that carry the corners of a frame to the corners of convex quadrilaterals.

    Closed form of Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3.

    Args:
        quads: corners in x and y, clockwise from the top left, ``[n, 4, 2]``.

    Returns:
        ``[n, 3, 3]``.

    Examples:
        >>> quad_homographies(CORNERS[None] * 3)[0].tolist()
        [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]
    """
    a, b, twist = np.moveaxis(SIDES @ quads, 1, 0)  # each [n, 2]
    area = _cross(a, b)
    corners = np.ones((len(quads), 3, 3))  # homogeneous; three of them, each a column
    corners[:, :2] = quads[:, [0, 1, 3]].swapaxes(1, 2)
    corners[:, :, 1] *= (1 + _cross(twist, b) / area)[:, None]
    corners[:, :, 2] *= (1 + _cross(a, twist) / area)[:, None]
    frames = corners @ FRAME
    return np.asarray(frames / frames[:, 2:, 2:])


class Pyramid:
    """An image and, made when first asked for, its copies at a half, a quarter … of the size.

    They carry a fourth, idle channel: OpenCV samples four channels in half the time of three.

    Args:
        pixels: the image, uint8 ``[h, w, 3]``.

    Examples:
        >>> Pyramid(np.zeros((9, 8, 3), np.uint8)).level(1).shape
        (5, 4, 4)
    """

    def __init__(self, pixels: Pixels) -> None:
        self._levels = [_pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA))]

    def level(self, number: int) -> Pixels:
        """The copy whose sides are ``2 ** number`` smaller (rounded up), every pixel an average."""
        while len(self._levels) <= number:
            above = self._levels[-1]
            size = (-(-above.shape[1] // 2), -(-above.shape[0] // 2))
            self._levels.append(_pixels(cv2.resize(above, size, interpolation=cv2.INTER_AREA)))
        return self._levels[number]

    @property
    def depth(self) -> int:
        """The number of the last level that is more than one pixel in both directions."""
        return int(math.log2(min(self._levels[0].shape[:2])))


def warp(
    pyramid: Pyramid, homography: Floats, size: int, border: Literal["reflect", "black"] = "reflect"
) -> Pixels:
    """Sample a crop from an image once, bilinearly.

    Where the crop is more than twice smaller than what it shows, it is sampled from a copy that was
    reduced by averaging, against aliasing.

    Args:
        pyramid: the image, ``[h, w, 3]``.
        homography: from the crop's frame to px of the image, ``[3, 3]``.
        size: side of the crop, in px.
        border: what lies outside the image.

    Returns:
        The crop, uint8 ``[size, size, 3]``.

    Examples:
        >>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        >>> whole = np.array([[2.0, 0, 2], [0, 2, 2], [0, 0, 1]])
        >>> bool((warp(Pyramid(image), whole, 4) == image).all())
        True
    """
    number = min(int(math.log2(max(minification(homography, size), 1))), pyramid.depth)
    full, source = pyramid.level(0), pyramid.level(number)
    matrix = homography @ _pixel_centres(size)
    matrix[0] *= source.shape[1] / full.shape[1]
    matrix[1] *= source.shape[0] / full.shape[0]
    matrix[:2] -= matrix[2] / 2  # OpenCV counts from the centre of the first pixel
    crop = cv2.warpPerspective(
        source, matrix, (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=BORDERS[border],
    )
    return _pixels(cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB))


def minification(homography: Floats, size: int) -> float:
    """How many px of the image one px of a crop spans, on the average of both axes, at its centre.

    Examples:
        >>> minification(np.diag([100.0, 25.0, 1.0]), size=50)
        2.0
    """
    (a, b, c), (d, e, f), (g, h, i) = homography.tolist()
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    # the Jacobian's determinant at the origin of the frame; np.linalg.det takes ten times longer
    return float(2 / size * math.sqrt(abs(determinant / i**3)))


@lru_cache(maxsize=16)
def _pixel_centres(size: int) -> Floats:
    """From the index of a crop's pixel to the place of its centre in the crop's frame."""
    return np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])


def _similarities(shift: Floats, radians: Floats) -> Floats:
    matrices = np.zeros((len(radians), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(radians)
    # y points down: a picture turned anticlockwise shows what lay clockwise of it
    matrices[:, 0, 1] = -np.sin(radians)
    matrices[:, 1, 0] = np.sin(radians)
    matrices[:, :2, 2] = shift
    matrices[:, 2, 2] = 1
    return matrices


def _scalings(factors: Floats) -> Floats:
    matrices = np.zeros((len(factors), 3, 3))
    matrices[:, 0, 0], matrices[:, 1, 1] = factors[:, 0], factors[:, 1]
    matrices[:, 2, 2] = 1
    return matrices


def _pixels(array: cv2.typing.MatLike) -> Pixels:
    return np.asarray(array, dtype=np.uint8)


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
