"""How fast are images decoded and kept, against a plain loop with Pillow? And a table of a million rows?

::

    python benchmarks/scan.py jpeg --out benchmarks/results/scan.json
    python benchmarks/scan.py rows --out benchmarks/results/scan.json

``jpeg`` makes JPEGs of three kinds (cells of 250 px, endoscopy of 1,280 x 1,024 px, dermoscopy of 6,000 x
4,000 px; quality 90, colour at half resolution) of smooth shapes and noise, and fills a pixel store with
them: decoded in processes with limits on all cores, checked, hashed, resized and brought to the disk. Beside
it a loop as one writes it: ``Image.open(path).convert("RGB").resize(size)`` into an array. The two take
turns; told are the medians and their ratio, and how far the stored pixels are from those of the whole image,
averaged over areas in float32. ``rows`` writes a table of a million images and opens it, in processes of
their own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.table import ImageTable
from hundredfold.process import cores

#: kind → width, height, how many, and the sizes of the store.
KINDS = {
    "cells": (250, 250, 3_000, (112, 250)),
    "endoscopy": (1_280, 1_024, 300, (112, 256)),
    "dermoscopy": (6_000, 4_000, 24, (112, 256)),
}
QUALITY = 90
COMPARED = 12
#: Sizes in px and strengths in grey levels of the shapes in an image.
SHAPES = ((4, 10), (16, 25), (64, 40), (256, 50))
OPEN = """
import re, sys, time
from pathlib import Path
from hundredfold.data.table import ImageTable
start = time.perf_counter()
table = ImageTable.read(Path(sys.argv[1]))
seconds = time.perf_counter() - start
# Not of getrusage: its maximum begins with what the parent had.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(len(table), seconds, int(peak[1]) * 1024)
"""


def picture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """An image [h,w,3] of smooth shapes of several sizes, with the noise of a camera."""
    draw = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 150, np.float32)
    for size, strength in SHAPES:
        coarse = draw.normal(size=(height // size + 2, width // size + 2, 3)).astype(np.float32)
        pixels += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels += 3 * draw.normal(size=(height, width, 1)).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def jpeg(rounds: int, folder: Path) -> dict[str, Any]:
    """Images a second of both, for each kind and size."""
    result: dict[str, Any] = {"cores": cores(), "rounds": rounds}
    for kind, (width, height, count, sizes) in KINDS.items():
        images = folder / kind
        images.mkdir()
        for number in range(count):
            Image.fromarray(picture(width, height, number)).save(images / f"{number:05}.jpg", quality=QUALITY)
        for size in sizes:
            result[f"{kind} to {size} px"] = told = compared(images, folder / f"{kind}_stores", size, rounds)
            print(f"{kind:>10} to {size} px: " + ", ".join(f"{key} {value}" for key, value in told.items()))
    return result


def compared(images: Path, store: Path, size: int, rounds: int) -> dict[str, float]:
    """Both in turn, and the difference in pixels."""
    ours, plain = list[float](), list[float]()
    for number in range(rounds):
        table = find_images(images)
        ours.append(_seconds(lambda: fill(table, store / f"{size}-{number}", size=size, fit="squash")))  # noqa: B023 - called at once
        plain.append(_seconds(lambda: loop(images, size)))
    _, filled = fill(table, store / f"{size}-0", size=size, fit="squash")
    paths = sorted(images.iterdir())[:COMPARED]
    gaps = [np.abs(filled.array[row] - whole(path, size)) for row, path in enumerate(paths)]
    count = len(table)
    return {
        "images_per_second": round(count / statistics.median(ours), 1),
        "pillow_images_per_second": round(count / statistics.median(plain), 1),
        "ratio": round(statistics.median(p / o for p, o in zip(plain, ours, strict=True)), 2),
        "mean_difference": round(float(np.mean(gaps)), 3),
        "difference_99_percent": round(float(np.percentile(gaps, 99)), 2),
    }


def loop(images: Path, size: int) -> NDArray[np.uint8]:
    """What one would write with Pillow."""
    paths = sorted(images.iterdir())
    array = np.empty((len(paths), size, size, 3), np.uint8)
    for row, path in enumerate(paths):
        array[row] = np.asarray(Image.open(path).convert("RGB").resize((size, size)))
    return array


def whole(path: Path, size: int) -> NDArray[np.float32]:
    """The image decoded at its full size and averaged over areas, in float32."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(np.float32)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)


def rows(count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds and memory to write and to open a table of so many images, in processes of their own."""
    number = np.arange(count)
    frame = {
        "id": [f"hospital/patient_{one // 50:06}/image_{one:08}.png" for one in number],
        "path": [f"/archive/hospital/patient_{one // 50:06}/image_{one:08}.png" for one in number],
        "label": np.array(["benign", "malignant", "normal"])[number % 3],
        "group": [f"patient_{one // 50:06}" for one in number],
        "split": np.where(number // 50 % 3 == 0, "test", "train"),
        "width": 1_024, "height": 768, "sha256": [f"{one:064x}" for one in number],
    }
    table, path = ImageTable.of(frame), folder / "images.parquet"
    written = _seconds(lambda: table.write(path))
    opened = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", OPEN, str(path)]).split()]
        for _ in range(rounds)
    ]
    assert all(found == count for found, _, _ in opened)
    result = {
        "rows": count,
        "write_seconds": round(written, 2),
        "open_seconds": round(statistics.median(seconds for _, seconds, _ in opened), 2),
        "peak_megabytes": round(max(peak for _, _, peak in opened) / 1e6),
        "file_megabytes": round(path.stat().st_size / 1e6),
    }
    print(result)
    return result


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("jpeg", "rows"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="JSON file to which the result is added")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.task == "jpeg":
            result = jpeg(given.rounds, Path(folder))
        else:
            result = rows(given.rows, given.rounds, Path(folder))
    if given.out:
        kept = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
        kept[given.task] = result
        given.out.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
