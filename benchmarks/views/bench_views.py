"""How long the views of one image take: ours, the reference's steps on PIL images, torchvision v2 on tensors.

All three draw the reference's augmentation (METHOD.md) with the same sizes, scales and probabilities, on
one thread. They take turns, so that a busy moment of the machine hits all of them alike; the table
gives medians of processor time, and ratios, of one run.

    python benchmarks/views/bench_views.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from hundredfold.files import write_json
from hundredfold.progress import say
from hundredfold.rundir import software
from hundredfold.views.modalities import MODALITIES
from hundredfold.views.multicrop import MultiCrop

RESULTS = Path(__file__).resolve().parent.parent / "results" / "views.json"
SCALES = {"global_scale": (0.5, 1.0), "local_scale": (0.1, 0.5)}
#: name → image, global, local crops in px, and the number of local crops.
CASES = {"2x224 + 6x96 of 256 px": (256, 224, 96, 6), "2x80 + 4x40 of 112 px": (112, 80, 40, 4)}
#: images a turn; every one with its own random numbers.
IMAGES = 8

Draw = Callable[[int], object]


def steps(size: int, scale: tuple[float, float], role: int) -> v2.Compose:
    """The reference's chain for the first global crop (0), the second (1) or a local one (2)."""
    paper = MODALITIES["paper"]
    jitter = v2.ColorJitter(paper.brightness, paper.contrast, paper.saturation, paper.hue)
    blur = v2.GaussianBlur(11, (0.1, 5.0))
    return v2.Compose([
        v2.RandomPerspective(paper.perspective, paper.perspective_p[role]),
        v2.RandomRotation(paper.rotation, v2.InterpolationMode.BILINEAR),
        v2.RandomResizedCrop(size, scale),
        v2.RandomHorizontalFlip(paper.flip_horizontal),
        v2.RandomVerticalFlip(paper.flip_vertical),
        v2.RandomApply([jitter], paper.jitter_p),
        v2.RandomGrayscale(paper.greyscale_p),
        v2.RandomApply([blur], paper.blur_p[role]),
        v2.RandomSolarize(128, paper.solarise_p[role]),
    ])


def ours(modality: str, pixels: NDArray[np.uint8], sizes: tuple[int, int, int]) -> Draw:
    large, small, count = sizes
    views = MultiCrop(modality, image_size=large, local_size=small, local_crops=count, seed=0, **SCALES)
    return lambda key: views(pixels, key, 0)


def theirs(image: Image.Image | torch.Tensor, sizes: tuple[int, int, int]) -> Draw:
    large, small, count = sizes
    chains = [steps(large, SCALES["global_scale"], 0), steps(large, SCALES["global_scale"], 1)]
    chains += [steps(small, SCALES["local_scale"], 2)] * count
    return lambda _: [chain(image) for chain in chains]


def candidates(side: int, sizes: tuple[int, int, int]) -> dict[str, Draw]:
    coarse = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    pixels = np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return {
        "PIL steps": theirs(Image.fromarray(pixels), sizes),
        "torchvision v2": theirs(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), sizes),
        "MultiCrop paper": ours("paper", pixels, sizes),
        "MultiCrop microscopy": ours("microscopy", pixels, sizes),
        "MultiCrop xray": ours("xray", pixels, sizes),
    }


def take_turns(draws: dict[str, Draw], rounds: int) -> dict[str, float]:
    """Median milliseconds of processor time an image."""
    times: dict[str, list[float]] = {name: [] for name in draws}
    for turn in range(rounds + 1):
        for name, draw in draws.items():
            started = time.process_time()
            for image in range(IMAGES):
                draw(turn * IMAGES + image)
            times[name].append((time.process_time() - started) / IMAGES * 1000)
    return {name: statistics.median(seen[1:]) for name, seen in times.items()}  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns that each candidate takes")
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases: dict[str, object] = {}
    for case, (side, *sizes) in CASES.items():
        found = take_turns(candidates(side, (sizes[0], sizes[1], sizes[2])), rounds)
        slowest = found["PIL steps"]
        say(f"\n{case}\n{'':24}{'ms an image':>12}{'images/s':>10}{'x PIL':>8}")
        for name, milliseconds in found.items():
            say(f"{name:24}{milliseconds:12.2f}{1000 / milliseconds:10.0f}{slowest / milliseconds:8.1f}")
        cases[case] = {
            name: {"ms_per_image": round(ms, 3), "times_faster_than_pil": round(slowest / ms, 2)}
            for name, ms in found.items()
        }
    write_json(RESULTS, {
        "what": "median processor time in ms an image, one thread, candidates in turns",
        "rounds": rounds, "images_a_round": IMAGES, "processor": platform.processor() or platform.machine(),
        "software": {**software(), "pillow": Image.__version__}, "cases": cases,
    })
    say(f"\nwritten to {RESULTS}")


if __name__ == "__main__":
    main()
