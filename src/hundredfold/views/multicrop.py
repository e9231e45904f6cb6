"""MultiCrop: the views of one image in one epoch under one seed — the same on any machine, in any worker.

Randomness is a function and no stream: every crop has its own row of random numbers, from the
counter-based generator Philox (Salmon et al. 2011) with (seed, image) as key and (crop, epoch)
as counter. Neither the order of images nor the number of crops or workers can change a view.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hundredfold.errors import SettingsError
from hundredfold.views import colour, geometry
from hundredfold.views.modalities import MODALITIES, Modality

__all__ = ["MultiCrop", "crop_uniforms", "image_key"]

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

#: random numbers a crop; a row of the Philox stream, so a multiple of the 4 that one block gives.
ROW = 32
#: which of a crop's random numbers decides what; a new decision takes a new column, and no other moves.
BOX = slice(0, 4)
FLIPS = slice(4, 6)
ROTATION = 6
PERSPECTIVE = 7
CORNERS = slice(8, 16)
JITTER = 16
FACTORS = slice(17, 20)
HUE = 20
GREYSCALE = 21
BLUR = 22
SIGMA = 23
SOLARISE = 24


def image_key(image_id: str) -> int:
    """A number for an image from its id: the first 63 bits of the id's SHA-256.

    Examples:
        >>> image_key("cells/0001.png")
        6812440746751409427
    """
    return int.from_bytes(hashlib.sha256(image_id.encode("utf-8")).digest()[:8], "big") >> 1


def crop_uniforms(seed: int, epoch: int, key: int, crops: int, first: int = 0) -> Floats:
    """The random numbers of crops ``first`` … ``first + crops - 1`` of one image in one epoch.

    Returns:
        Numbers in [0, 1), ``[crops, 32]``; a row does not depend on how many rows are asked for.

    Examples:
        >>> two, one = crop_uniforms(0, 3, 7, crops=2), crop_uniforms(0, 3, 7, crops=1, first=1)
        >>> bool((two[1] == one[0]).all())
        True
    """
    counter = np.array([first * ROW // 4, epoch, 0, 0], dtype=np.uint64)
    philox = np.random.Philox(key=np.array([seed, key], dtype=np.uint64), counter=counter)
    return np.random.Generator(philox).random((crops, ROW))


@dataclass(frozen=True)
class _Plan:
    """What is to be done to the crops of one image; one row a crop."""

    homographies: Floats
    matrices: Floats
    pulls: Floats
    coloured: NDArray[np.bool_]
    sigmas: Floats
    solarised: NDArray[np.bool_]


class MultiCrop:
    """Two large and several small random views of an image (Caron et al. 2020, section 3.2).

    Args:
        modality: what may be done to the images, or its name.
        image_size: side of a global crop, in px.
        local_size: side of a local crop, in px.
        local_crops: how many local crops; 0 is a number.
        global_scale: least and greatest share of the image's area in a global crop.
        local_scale: the same for a local crop.
        seed: of the run; 0 is a seed.

    Raises:
        SettingsError: a size, number, scale or seed is out of its range, or there is no such modality.

    Examples:
        >>> views = MultiCrop("microscopy", image_size=64, local_size=32, local_crops=3)
        >>> large, small = views(np.zeros((80, 80, 3), np.uint8), key=image_key("a.png"), epoch=0)
        >>> large.shape, small.shape
        ((2, 64, 64, 3), (3, 32, 32, 3))
    """

    def __init__(
        self,
        modality: Modality | str,
        *,
        image_size: int,
        local_size: int,
        local_crops: int,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.1, 0.4),
        seed: int = 0,
    ) -> None:
        self.modality = MODALITIES[modality] if isinstance(modality, str) else modality
        self.image_size = _at_least(1, image_size=image_size)
        self.local_size = _at_least(1, local_size=local_size)
        self.local_crops = _at_least(0, local_crops=local_crops)
        self.global_scale = _scale(global_scale=global_scale)
        self.local_scale = _scale(local_scale=local_scale)
        self.seed = _at_least(0, seed=seed)
        roles = np.array([0, 1, *[2] * local_crops])  # first global, second global, local
        self._scales = np.array([global_scale, global_scale, local_scale])[roles]  # [crops, 2]
        self._perspective_p = np.array(self.modality.perspective_p)[roles]
        self._blur_p = np.array(self.modality.blur_p)[roles]
        self._solarise_p = np.array(self.modality.solarise_p)[roles]

    def __call__(self, pixels: Pixels, key: int, epoch: int) -> tuple[Pixels, Pixels]:
        """Draw the views of one image.

        Args:
            pixels: the image, uint8 ``[h, w, 3]``.
            key: of the image, as :func:`image_key` gives it.
            epoch: which time the image is seen, from 0.

        Returns:
            Global crops ``[2, g, g, 3]`` and local crops ``[local_crops, l, l, 3]``, uint8.

        Raises:
            ValueError: ``pixels`` is of another type or shape.
        """
        plan, pyramid = self._prepared(pixels, key, epoch)
        large = np.empty((2, self.image_size, self.image_size, 3), dtype=np.uint8)
        small = np.empty((self.local_crops, self.local_size, self.local_size, 3), dtype=np.uint8)
        for crop in range(2):
            large[crop] = self._draw(pyramid, plan, crop, self.image_size)
        for crop in range(self.local_crops):
            small[crop] = self._draw(pyramid, plan, 2 + crop, self.local_size)
        return large, small

    def first(self, pixels: Pixels, key: int, epoch: int) -> Pixels:
        """Draw the first global crop alone ``[g, g, 3]``, the same as among all: for supervised training."""
        plan, pyramid = self._prepared(pixels, key, epoch)
        return self._draw(pyramid, plan, 0, self.image_size)

    def _prepared(self, pixels: Pixels, key: int, epoch: int) -> tuple[_Plan, geometry.Pyramid]:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(f"expected uint8 [h, w, 3], found {pixels.dtype} {list(pixels.shape)}")
        uniforms = crop_uniforms(self.seed, epoch, key, crops=2 + self.local_crops)
        return self._plan(uniforms, *pixels.shape[:2]), geometry.Pyramid(pixels)

    def _draw(self, pyramid: geometry.Pyramid, plan: _Plan, crop: int, size: int) -> Pixels:
        view = geometry.warp(pyramid, plan.homographies[crop], size, self.modality.border)
        if plan.coloured[crop]:
            view = colour.apply_colour(view, plan.matrices[crop], float(plan.pulls[crop]))
        if sigma := float(plan.sigmas[crop]):
            view = colour.blur(view, sigma, self.modality.blur_reach * self.image_size)
        return colour.solarise(view) if plan.solarised[crop] else view

    def _plan(self, uniforms: Floats, height: int, width: int) -> _Plan:
        modality = self.modality
        jittered = uniforms[:, JITTER] < modality.jitter_p  # [crops]
        strength = np.array([modality.brightness, modality.contrast, modality.saturation])
        factors = 1 + jittered[:, None] * strength * _signed(uniforms[:, FACTORS])  # [crops, 3]
        grey = uniforms[:, GREYSCALE] < modality.greyscale_p
        matrices, pulls = colour.colour_matrices(
            factors[:, 0], factors[:, 1], np.where(grey, 0.0, factors[:, 2]),
            jittered * modality.hue * _signed(uniforms[:, HUE]),
        )
        low, high = modality.blur
        sigmas = (low + uniforms[:, SIGMA] * (high - low)) * self.image_size
        return _Plan(
            self._homographies(uniforms, height, width), matrices, pulls, jittered | grey,
            np.where(uniforms[:, BLUR] < self._blur_p, sigmas, 0.0),
            uniforms[:, SOLARISE] < self._solarise_p,
        )

    def _homographies(self, uniforms: Floats, height: int, width: int) -> Floats:
        modality = self.modality
        boxes = geometry.crop_boxes(uniforms[:, BOX], self._scales, height, width, modality.aspect)
        mirrored = uniforms[:, FLIPS] < np.array([modality.flip_horizontal, modality.flip_vertical])
        flips = np.where(mirrored, -1.0, 1.0)
        radians = np.deg2rad(modality.rotation) * _signed(uniforms[:, ROTATION])
        tilt = modality.perspective * (uniforms[:, PERSPECTIVE] < self._perspective_p)  # [crops]
        moves = uniforms[:, CORNERS].reshape(-1, 4, 2) * tilt[:, None, None]
        if modality.frame == "image":
            inwards = -geometry.CORNERS * moves
            return geometry.image_homographies(boxes, flips, radians, inwards, (height, width))
        # inwards or outwards alike, so that the mean area stays what was asked for
        around = moves - tilt[:, None, None] / 2
        return geometry.crop_homographies(boxes, flips, radians, around)


def _signed(uniforms: Floats) -> Floats:
    return 2 * uniforms - 1


def _at_least(least: int, **setting: int) -> int:
    ((name, value),) = setting.items()
    if value < least:
        raise SettingsError(f"{name} must be at least {least}, found {value}", remedy=f"Raise {name}.")
    return value


def _scale(**setting: tuple[float, float]) -> tuple[float, float]:
    ((name, (low, high)),) = setting.items()
    if not 0 < low <= high <= 1:
        raise SettingsError(
            f"{name} must be two shares 0 < from <= to <= 1, found {low} and {high}",
            remedy=f"Correct {name}.",
        )
    return low, high
