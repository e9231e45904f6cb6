"""What may happen to images on their way from a patient to a file, mildly; :mod:`drift` looks for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SHIFTS", "Shift", "blur", "gamma", "hue", "noise"]

Image: TypeAlias = NDArray[np.uint8]


def blur(image: Image, share: float) -> Image:
    """Out of focus: a Gaussian whose standard deviation is this share of the side."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), share * len(image)), dtype=np.uint8)


def gamma(image: Image, exponent: float) -> Image:
    """Middle tones darker (above 1) or brighter; black and white stay."""
    return _levels(255 * (image / 255.0) ** exponent)


def contrast(image: Image, factor: float) -> Image:
    """Every value further from the image's mean by this factor."""
    middle = image.mean()
    return _levels(middle + factor * (image - middle))


def hue(image: Image, degrees: float) -> Image:
    """Every colour turned on the colour wheel, red towards yellow; grey stays grey."""
    wheel = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    wheel[..., 0] = (wheel[..., 0] + degrees) % 360
    return _levels(255.0 * cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB))


def saturation(image: Image, factor: float) -> Image:
    """Every colour further from its grey by this factor."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    return _levels(grey + factor * (image - grey))


def warmth(image: Image, share: float) -> Image:
    """Red higher and blue lower by this share, as another white balance makes them."""
    return _levels(image * np.array([1 + share, 1, 1 - share]))


def noise(image: Image, levels: float) -> Image:
    """Gaussian noise of so many grey levels, each value its own; the same image gets the same."""
    random = np.random.default_rng(int(image.sum(dtype=np.int64)))
    return _levels(image + random.normal(0, levels, image.shape))


def _levels(values: NDArray[np.floating[Any]]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


@dataclass(frozen=True)
class Shift:
    """A shift: what it does to an image, and how a sentence calls images that went its way or the other."""

    change: Callable[[Image], Image]
    forwards: str
    backwards: str


SHIFTS: Mapping[str, Shift] = {
    "gamma": Shift(lambda image: gamma(image, 1.2), "darker in the middle tones",
                   "brighter in the middle tones"),
    "contrast": Shift(lambda image: contrast(image, 1.2), "richer in contrast", "poorer in contrast"),
    "hue": Shift(lambda image: hue(image, 8), "turned in hue, red towards yellow",
                 "turned in hue, yellow towards red"),
    "saturation": Shift(lambda image: saturation(image, 1.25), "more colourful", "paler in colour"),
    "white balance": Shift(lambda image: warmth(image, 0.04), "warmer in colour", "cooler in colour"),
    "blur": Shift(lambda image: blur(image, 0.01), "blurrier", "sharper"),
    "noise": Shift(lambda image: noise(image, 4), "noisier", "smoother"),
}
