"""A synthetic blood smear with known classes: the demo and the tests need no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.glass import Glass, Mask, Slide
from hundredfold.data.rows import write_rows
from hundredfold.progress import track

__all__ = ["CELLS", "draw_cell", "draw_smear"]

IMAGES_PER_SLIDE = 20
SLIDES = (6, 36)


def draw_smear(folder: Path, *, images: int = 600, size: int = 64, seed: int = 0) -> Path:
    """Draw single cells of six classes from many slides, with their labels.

    Writes ``images/*.jpg`` and ``labels.csv`` (image, label, group; the group is the slide). The
    classes differ in the nucleus' shape and in granules; slides differ in stain, light and focus,
    and cells in place, direction and size, so single pixels say little.

    Args:
        folder: where to write; made if it is not there.
        images: how many cells.
        size: side of an image in px.
        seed: another seed, another smear.

    Returns:
        The folder.

    Examples:
        >>> import tempfile
        >>> smear = draw_smear(Path(tempfile.mkdtemp()), images=3, size=32)
        >>> sorted(path.name for path in smear.iterdir()), len(list((smear / "images").iterdir()))
        (['images', 'labels.csv'], 3)
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    slides = [Slide.prepare(rng) for _ in range(int(np.clip(images // IMAGES_PER_SLIDE, *SLIDES)))]
    names = list(CELLS)
    shares = np.array([CELLS[name].share for name in names])
    # Every class is there however few images are asked for; the rest is drawn.
    drawn = rng.choice(len(names), size=images, p=shares / shares.sum())
    drawn[: len(names)] = np.arange(len(names))[:images]
    rows = []
    for number, kind in enumerate(track(drawn, "Drawing")):
        slide = int(rng.integers(len(slides)))
        pixels = draw_cell(names[kind], slides[slide], size, np.random.default_rng([seed, number]))
        rows.append((f"cell_{number:05d}.jpg", names[kind], f"slide_{slide:02d}"))
        coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 94])[1]
        (folder / "images" / rows[-1][0]).write_bytes(coded.tobytes())
    write_rows(folder / "labels.csv", pd.DataFrame(rows, columns=["image", "label", "group"]))
    return folder


def draw_cell(name: str, slide: Slide, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One cell of a class with red cells around it [size,size,3], RGB."""
    glass = Glass(size, rng)
    for _ in range(int(rng.poisson(slide.crowd))):
        _red_cell(glass)
    CELLS[name].draw(glass)
    return glass.seen(slide)


def _red_cell(glass: Glass) -> None:
    rng = glass.rng
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(1.35, 2.1)
    at = (away * np.cos(angle), away * np.sin(angle))
    radius, squash = rng.uniform(0.5, 0.66), rng.uniform(0.82, 1.0)
    body = glass.blot(at, radius, squash=squash)
    glass.lay(body, (0.03, 0.5, 0.34), soft=0.03, mottle=0.05)
    glass.lay(glass.blot(at, radius * 0.36, squash=squash), (0.01, 0.22, 0.14), soft=0.13)


def _nucleus(
    glass: Glass, mask: Mask, *, mottle: float = 0.16, soft: float = 0.03, depth: float = 1.0
) -> None:
    glass.lay(mask, (0.85 * depth, 1.05 * depth, 0.1), soft=soft, mottle=mottle)


def _lymphocyte(glass: Glass) -> None:
    rng = glass.rng
    radius = rng.uniform(0.62, 0.82)
    glass.lay(glass.blot((0, 0), radius, wobble=0.05), (0.42, 0.12, 0.02), mottle=0.08)
    away = rng.uniform(0, 0.12) * radius
    body = glass.blot((away, 0), radius * rng.uniform(0.76, 0.88), wobble=0.04, squash=rng.uniform(0.88, 1))
    _nucleus(glass, body, mottle=0.2, depth=1.05)


def _monocyte(glass: Glass) -> None:
    rng = glass.rng
    cell = glass.blot((0, 0), rng.uniform(0.92, 1.08), wobble=0.09, squash=rng.uniform(0.85, 1))
    glass.lay(cell, (0.3, 0.24, 0.02), mottle=0.12)
    glass.lay(glass.grains(cell, int(rng.integers(0, 6)), 0.06), (0.08, 0.08, 0.02), soft=0.02)
    sweep, radius = rng.uniform(2.3, 3.4), rng.uniform(0.36, 0.44)
    angle = np.linspace(-sweep / 2, sweep / 2, 24)
    arc = np.stack([np.cos(angle) - 0.55, np.sin(angle)], 1) * radius
    body = glass.line(arc, rng.uniform(0.58, 0.72))  # a thick, bent line is a kidney
    _nucleus(glass, body, mottle=0.26, soft=0.045, depth=0.8)


def _lobes(glass: Glass, count: int, radius: float, sweep: float, ring: float) -> Mask:
    rng = glass.rng
    angle = np.linspace(-sweep / 2, sweep / 2, count) + rng.normal(0, 0.12, count)
    away = ring * rng.uniform(0.8, 1.15, count)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * away[:, None]
    mask = glass.line(points, 0.09)
    for x, y in points:
        lobe = radius * rng.uniform(0.82, 1.15)
        mask = np.maximum(mask, glass.blot((x, y), lobe, wobble=0.1, squash=rng.uniform(0.7, 1)))
    return mask


def _neutrophil(glass: Glass) -> None:
    rng = glass.rng
    cell = glass.blot((0, 0), rng.uniform(0.8, 0.98), wobble=0.05)
    glass.lay(cell, (0.07, 0.24, 0.04), mottle=0.1)
    glass.lay(glass.grains(cell, 90, 0.016), (0.16, 0.36, 0.05), soft=0.01)
    _nucleus(glass, _lobes(glass, int(rng.integers(3, 6)), 0.27, rng.uniform(3.2, 4.6), 0.47), mottle=0.18)


def _eosinophil(glass: Glass) -> None:
    rng = glass.rng
    cell = glass.blot((0, 0), rng.uniform(0.82, 1.0), wobble=0.05)
    glass.lay(cell, (0.05, 0.35, 0.14), mottle=0.1)
    _nucleus(glass, _lobes(glass, 2, 0.37, rng.uniform(1.7, 2.6), 0.5), mottle=0.18)
    glass.lay(glass.grains(cell, 75, 0.055), (0.08, 0.72, 0.5), soft=0.012, mottle=0.1)
    _nucleus(glass, _lobes(glass, 2, 0.34, rng.uniform(1.7, 2.6), 0.5), mottle=0.18)


def _basophil(glass: Glass) -> None:
    rng = glass.rng
    cell = glass.blot((0, 0), rng.uniform(0.76, 0.94), wobble=0.05)
    glass.lay(cell, (0.2, 0.28, 0.02), mottle=0.1)
    _nucleus(glass, _lobes(glass, 2, 0.42, rng.uniform(1.2, 2.2), 0.34), soft=0.09, depth=0.62)
    glass.lay(glass.grains(cell, 75, 0.058), (1.0, 1.25, 0.1), soft=0.03, mottle=0.15)


def _platelet(glass: Glass) -> None:
    rng = glass.rng
    for _ in range(int(rng.integers(1, 4))):
        at = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5))
        body = glass.blot(at, rng.uniform(0.2, 0.34), wobble=0.16, squash=rng.uniform(0.6, 1))
        glass.lay(body, (0.26, 0.3, 0.02), soft=0.03)
        glass.lay(glass.grains(body, 14, 0.04), (0.6, 0.8, 0.05), soft=0.015)


@dataclass(frozen=True)
class _Cell:
    """How a class is drawn, and how frequent it is."""

    draw: Callable[[Glass], None]
    share: float


CELLS = {
    "basophil": _Cell(_basophil, 0.13),
    "eosinophil": _Cell(_eosinophil, 0.16),
    "lymphocyte": _Cell(_lymphocyte, 0.21),
    "monocyte": _Cell(_monocyte, 0.16),
    "neutrophil": _Cell(_neutrophil, 0.21),
    "platelet": _Cell(_platelet, 0.13),
}
