"""What goes wrong with images on their way, in five grades, and the shifts that ``check`` is judged by.

The kinds are those of MedMNIST-C (Di Salvo, Doerrich and Ledig 2024, arXiv 2406.17536) that any modality
knows; the grades are our own, from hardly visible to gross. Images are uint8 [s,s,3] and stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.predict.shifts import blur, gamma, hue, noise

__all__ = ["CORRUPTIONS", "GRADES", "SHIFTS", "corrupted"]

Image = NDArray[np.uint8]
Change = Callable[[Image, float], Image]


def jpeg(image: Image, quality: float) -> Image:
    """Compressed once more."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], dtype=np.uint8)


def brighter(image: Image, share: float) -> Image:
    """Every value higher by this share of the whole range, white where it ends."""
    return np.asarray(np.clip(np.rint(image + 255.0 * share), 0, 255), dtype=np.uint8)


#: Kind → what it does, and how much of it in grades 1 to 5.
CORRUPTIONS: Mapping[str, tuple[Change, Sequence[float]]] = {
    "blur": (blur, (0.005, 0.01, 0.015, 0.025, 0.04)),
    "jpeg": (jpeg, (80, 50, 30, 15, 8)),
    "brightness": (brighter, (0.05, 0.1, 0.2, 0.3, 0.4)),
    "hue": (hue, (4, 8, 16, 32, 64)),
    "noise": (noise, (4, 8, 16, 32, 48)),
}
GRADES = 5
#: What a batch may have gone through, mildly: ``check`` ought to see it.
SHIFTS: Mapping[str, Callable[[Image], Image]] = {
    "hue +8°": lambda image: hue(image, 8),
    "gamma 1.2": lambda image: gamma(image, 1.2),
    "blur 1 %": lambda image: blur(image, 0.01),
}


def corrupted(images: Image, kind: str, grade: int) -> Image:
    """Images [b,s,s,3] in a grade from 1 to 5.

    Examples:
        >>> corrupted(np.zeros((1, 8, 8, 3), dtype=np.uint8), "brightness", 2)[0, 0, 0].tolist()
        [26, 26, 26]
    """
    change, amounts = CORRUPTIONS[kind]
    return np.stack([change(image, amounts[grade - 1]) for image in images])
