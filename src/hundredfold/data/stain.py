"""The colour of lamp and stain brought to that of the training images, each image by itself.

It takes no two dyes for granted, as the methods for haematoxylin and eosin do (Macenko et al. 2009;
Vahadane et al. 2016), so it may be used on blood smears too. What it gains, and where, says docs/stain.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.errors import InputError

__all__ = ["Reference", "Stain", "StainMethod", "colours"]

StainMethod: TypeAlias = Literal["white", "reinhard"]
Image: TypeAlias = NDArray[np.uint8]  # [h,w,3]

#: Share of the pixels that are darker than the glass, in each channel.
GLASS = 0.95
#: A channel of the glass below this is not lit; a deviation of the grey values below this is no picture.
DARK, FLAT = 32, 2.0
#: Channels that differ by no more than JPEG leaves in a grey picture.
GREY = 3
#: A channel, or the spread of one, is changed at most so many times.
MOST = 3.0
LEAST_SPREAD = 0.1


@dataclass(frozen=True)
class Stain:
    """How colours are brought to those of a reference; a pure function of an image.

    ``white`` multiplies each channel, so that the glass (the 95th percentile) gets the colour of the
    reference's: what another lamp or white balance does, and in optical density only a shift of the origin,
    so a dark cell stays as much darker than the glass as it was. ``reinhard`` also brings the mean and the
    spread of L*, a* and b* to those of the reference (Reinhard et al. 2001, "Color transfer between images",
    IEEE Computer Graphics and Applications 21(5), in CIE L*a*b* in place of their lαβ): it takes away more
    of the stain, and of what tells the classes apart.

    What has no colour, light or contrast to measure (grey, dark or plain images) stays as it is.

    Args:
        method: ``white`` or ``reinhard``.
        reference: the measures of the reference, as :func:`colours` gives them.

    Raises:
        InputError: there is no such method, or the reference does not belong to it.

    Examples:
        >>> image = np.full((1, 8, 8, 3), (100, 180, 200), np.uint8)
        >>> image[:, :2, :2] = 50, 30, 60
        >>> Stain("white", (200, 180, 150)).apply(image)[0, ::7, 0].tolist()
        [[100, 30, 45], [200, 180, 150]]
    """

    method: StainMethod
    reference: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.method not in METHODS or len(self.reference) != METHODS[self.method].numbers:
            raise InputError(
                f"expected the stain {' or '.join(get_args(StainMethod))} with its reference, found "
                f"{self.method!r} with {len(self.reference)} numbers",
                remedy="Make the store, encoder or predictor again with this version.",
            )

    @classmethod
    def read(cls, facts: Mapping[str, Any] | None) -> Self | None:
        """What :attr:`facts` gave, or ``None``."""
        if facts is None:
            return None
        return cls(facts["method"], tuple(float(number) for number in facts["reference"]))

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"method": self.method, "reference": list(self.reference)}

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``uint8`` [n,h,w,3] with the colours of the reference, as a copy."""
        changed = np.empty_like(images)
        for image, target in zip(images, changed, strict=True):
            own = colours(self.method, image)
            target[...] = image if own is None else METHODS[self.method].bring(image, own, self._wanted)
        return changed

    @property
    def _wanted(self) -> NDArray[np.float64]:
        return np.array(self.reference, dtype=np.float64)


@dataclass(frozen=True)
class Reference:
    """The colours of some images.

    Args:
        stain: that brings other images to them.
        looked: how many images were looked at.
        measured: how many of those had colours to measure.
    """

    stain: Stain
    looked: int
    measured: int

    @classmethod
    def of(cls, method: StainMethod, images: Iterable[Image]) -> Self:
        """The median of the measures of some images.

        Raises:
            InputError: half of the images or more are grey, dark or plain.
        """
        found = [colours(method, image) for image in images]
        known = [own for own in found if own is not None]
        if 2 * len(known) <= len(found):
            raise InputError(
                f"the stain was to be measured, but {len(found) - len(known):,} of {len(found):,} training "
                "images looked at have no colour, light or contrast to measure",
                remedy="Leave --stain out: it is for colour images of stained slides.",
            )
        numbers = np.median(np.array(known), axis=0).round(2)
        return cls(Stain(method, tuple(numbers.tolist())), len(found), len(known))


def colours(method: StainMethod, image: Image) -> NDArray[np.float64] | None:
    """The measures of an image ``uint8`` [h,w,3], ``None`` where it is grey, dark or plain.

    Returns:
        ``white``: the levels of red, green and blue that 95 % of the pixels do not exceed.
        ``reinhard``: the means of L*, a*, b*, then their standard deviations.
    """
    glass = _glass(image)
    spread = cv2.meanStdDev(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[1].item()
    if glass.min() < DARK or spread < FLAT or _is_grey(image):
        return None
    return glass if method == "white" else METHODS[method].measure(image)


def _is_grey(image: Image) -> bool:
    red, green, blue = cv2.split(image)
    return all(int(cv2.absdiff(green, other).max()) <= GREY for other in (red, blue))


def _glass(image: Image) -> NDArray[np.float64]:
    least = GLASS * image.shape[0] * image.shape[1]
    counts = [cv2.calcHist([image], [channel], None, [256], [0, 256]) for channel in range(3)]
    return np.array([np.searchsorted(np.cumsum(count), least) for count in counts], dtype=np.float64)


def _bring_glass(image: Image, own: NDArray[np.float64], wanted: NDArray[np.float64]) -> Image:
    factors = np.clip(wanted / own, 1 / MOST, MOST)
    table = np.arange(256)[:, None] * factors  # [256,3]
    levels = np.rint(np.clip(table, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels[None]), dtype=np.uint8)


def _spread(image: Image) -> NDArray[np.float64]:
    means, deviations = cv2.meanStdDev(_to_lab(image))
    return np.concatenate([means[:, 0], deviations[:, 0]])


def _bring_spread(image: Image, own: NDArray[np.float64], wanted: NDArray[np.float64]) -> Image:
    scale = np.clip(wanted[3:] / np.maximum(own[3:], LEAST_SPREAD), 1 / MOST, MOST)
    lab = _to_lab(image) * scale.astype(np.float32) + (wanted[:3] - own[:3] * scale).astype(np.float32)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    changed: Image = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return changed


def _to_lab(image: Image) -> NDArray[np.float32]:
    shares = image.astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(shares, cv2.COLOR_RGB2LAB), dtype=np.float32)


@dataclass(frozen=True)
class _Method:
    numbers: int
    measure: Callable[[Image], NDArray[np.float64]]
    bring: Callable[[Image, NDArray[np.float64], NDArray[np.float64]], Image]


METHODS: Mapping[str, _Method] = {
    "white": _Method(3, _glass, _bring_glass),
    "reinhard": _Method(6, _spread, _bring_spread),
}
