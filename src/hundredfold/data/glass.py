"""A field of view under the microscope, drawn as the amounts of three dyes.

The dyes absorb light after Beer and Lambert, as in Ruifrok & Johnston 2001 ("Quantification of
histochemical staining by color deconvolution"). So a slide is a matrix of dye colours and a lamp,
and two slides differ as two laboratories do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Glass", "Mask", "Slide"]

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]

#: drawn at this many times the size, then averaged: smooth edges.
FINE = 2
#: what the dyes (azure blue, eosin, orange) take from red, green and blue light, as optical density.
DYES = np.array([[0.95, 0.72, 0.28], [0.12, 0.62, 0.33], [0.04, 0.30, 0.62]])
BACKGROUND = np.array([0.0, 0.05, 0.02], np.float32)
ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
WAVES = np.outer((2, 3, 4), ANGLES)


@dataclass(frozen=True)
class Slide:
    """How one slide was stained, lit and focused.

    Args:
        dyes: what each dye takes from red, green and blue light, as optical density [3,3].
        lamp: the light where no dye is, red, green and blue [3].
        focus: deviation of the blur in px.
        crowd: red cells around a cell, on average.
    """

    dyes: NDArray[np.float64]
    lamp: NDArray[np.float64]
    focus: float
    crowd: float

    @classmethod
    def prepare(cls, rng: np.random.Generator) -> Slide:
        """A slide from another laboratory, or from another day."""
        strength = np.exp(rng.normal(0, [0.22, 0.3, 0.25]))[:, None]
        tint = np.exp(rng.normal(0, 0.13, (3, 3)))
        lamp = rng.uniform(0.8, 1.0) * np.array([1.0, 0.965, 0.975]) * np.exp(rng.normal(0, 0.035, 3))
        return cls(DYES * strength * tint, lamp, rng.uniform(0.3, 0.9), rng.uniform(1.0, 4.5))


class Glass:
    """The field of view around one cell of random place, direction and size.

    ``dyes`` holds the amount of each dye at each point [s,s,3]. Places and lengths are in cell radii
    from the cell's centre, before it is turned.

    Args:
        size: side of the picture in px; s is ``FINE`` times as much.
        rng: where everything random comes from.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.side = size * FINE
        self.rng = rng
        cloud = self.noise((4, 4), (self.side, self.side))
        self.dyes: Floats = BACKGROUND * (1 + 0.25 * cloud[..., None])
        self.turn = rng.uniform(0, 2 * np.pi)
        self.unit = self.side * 0.36 * rng.uniform(0.78, 1.15)
        self.centre = self.side * (0.5 + rng.uniform(-0.13, 0.13, 2))

    def noise(self, grains: tuple[int, int], shape: tuple[int, int]) -> Floats:
        """Smooth noise of mean 0 and deviation about .6, with so many grains down and across [*shape]."""
        coarse = self.rng.standard_normal(grains, dtype=np.float32)
        smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
        return np.asarray(smooth, np.float32)

    def blot(
        self, at: tuple[float, float], radius: float, *, wobble: float = 0.04, squash: float = 1.0
    ) -> Mask:
        """The mask of a rounded shape around a place [s,s]."""
        height = self.rng.normal(0, wobble, 3) / (1, 2, 3)
        waves = np.cos(WAVES + self.rng.uniform(0, 2 * np.pi, 3)[:, None])
        outline = CIRCLE * (1, squash) * (radius * (1 + height @ waves))[:, None]
        return self._filled(outline @ _rotation(self.rng.uniform(0, np.pi)) + at)

    def line(self, points: NDArray[np.float64], width: float) -> Mask:
        """The mask of a line with round ends through points [n,2] [s,s]."""
        mask = np.zeros((self.side, self.side), np.uint8)
        thick = max(1, int(width * self.unit))
        cv2.polylines(mask, [self._placed(points)], False, 255, thick, cv2.LINE_AA, 4)
        return mask

    def grains(self, within: Mask, count: int, radius: float) -> Mask:
        """The mask of granules scattered in another mask [s,s]."""
        rows, columns = np.nonzero(within > 127)
        mask = np.zeros_like(within)
        if len(rows):
            for pick in self.rng.integers(len(rows), size=count):
                size = radius * self.unit * self.rng.uniform(0.7, 1.3)
                centre = (int(columns[pick] * 16), int(rows[pick] * 16))
                cv2.circle(mask, centre, max(8, int(size * 16)), 255, -1, cv2.LINE_AA, 4)
        return mask

    def lay(
        self, mask: Mask, dyes: tuple[float, float, float], *, soft: float = 0.03, mottle: float = 0.0
    ) -> None:
        """Put dyes where the mask is, in place of what was there."""
        blur = max(0.4, soft * self.unit)
        left, top, width, height = cv2.boundingRect(mask)
        if not width:
            return
        # The work is done only where the mask is, blurred edge included.
        margin = int(3 * blur)
        rows = slice(max(0, top - margin), top + height + margin)
        box = rows, slice(max(0, left - margin), left + width + margin)
        edge = cv2.GaussianBlur(mask[box], (0, 0), blur).astype(np.float32)[..., None] / 255
        amount = np.array(dyes, np.float32)
        if mottle:
            shape = edge.shape[:2]
            grain = 0.09 * self.unit
            noise = self.noise((int(shape[0] / grain) + 2, int(shape[1] / grain) + 2), shape)
            amount = np.maximum(amount * (1 + mottle * noise[..., None]), 0)
        self.dyes[box] += edge * (amount - self.dyes[box])

    def seen(self, slide: Slide) -> NDArray[np.uint8]:
        """The picture a camera takes [size,size,3], RGB."""
        size = self.side // FINE
        blurred = cv2.GaussianBlur(self.dyes, (0, 0), slide.focus * FINE)
        dyes = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_AREA)
        light = slide.lamp * np.exp(-dyes @ slide.dyes)
        ramp = np.linspace(-1, 1, size) * self.rng.normal(0, 0.03)
        light = light * (1 + ramp[:, None, None] + self.rng.normal(0, 0.03) * ramp[None, :, None])
        light = light * np.exp(self.rng.normal(0, 0.05)) + self.rng.normal(0, 0.008, light.shape)
        return np.asarray(np.clip(light * 255 + 0.5, 0, 255), np.uint8)

    def _filled(self, points: NDArray[np.float64]) -> Mask:
        mask = np.zeros((self.side, self.side), np.uint8)
        cv2.fillPoly(mask, [self._placed(points)], 255, cv2.LINE_AA, 4)
        return mask

    def _placed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        placed = points @ _rotation(self.turn) * self.unit + self.centre
        return np.asarray(np.round(placed * 16), np.int32)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
