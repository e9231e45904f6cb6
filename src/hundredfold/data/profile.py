"""What a person should know of the images: brightness, colour, size, kind of file, folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable

__all__ = ["MEASURED", "folder_means_class", "measured", "profile"]

#: What is measured of the pixels.
MEASURED = (
    "brightness", "contrast", "red", "green", "blue", "border_red", "border_green", "border_blue",
)
#: Width of the border, of the side; what stands there is mostly background.
BORDER = 1 / 16


def profile(table: ImageTable, store: PixelStore) -> pd.DataFrame:
    """Describe the images of a table; classes that differ here may be told apart by the scanner alone.

    Args:
        table: usable images.
        store: holds their pixels.

    Returns:
        A row an image: id, label, brightness and contrast (mean and standard deviation of the grey
        values, 0–255), red, green, blue (means, 0–255), border_red, border_green, border_blue (the same
        of the outermost sixteenth of each side), width, height (of the image as it came, in px), aspect
        (width by height), kind (the file name's ending) and folder (that the file lies in).

    Raises:
        TableError: an image is not in the store.
    """
    images = table.frame
    numbers = np.array([measured(store[[row]][0]) for row in store.rows(table.ids)])
    frame = pd.DataFrame(numbers.reshape(-1, len(MEASURED)), columns=list(MEASURED))
    frame.insert(0, "id", images["id"])
    frame.insert(1, "label", images["label"])
    frame["width"], frame["height"] = images["width"], images["height"]
    frame["aspect"] = images["width"].astype("float64") / images["height"].astype("float64")
    places = [PurePosixPath(str(name)) for name in images["id"]]
    frame["kind"] = [place.suffix.partition("#")[0].lower() or "none" for place in places]
    frame["folder"] = [str(place.parent) for place in places]
    return frame


def folder_means_class(folders: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether images were sorted into folders by class: each folder is then called like its only class.

    Examples:
        >>> folder_means_class(["cells/Benign", "cells/malignant"], ["benign", "malignant"])
        True
        >>> folder_means_class(["clinic_a", "clinic_b"], ["benign", "malignant"])
        False
    """
    pairs = {(PurePosixPath(folder).name.casefold(), label.casefold())
             for folder, label in zip(folders, labels, strict=True)}
    return len(pairs) > 1 and all(folder == label for folder, label in pairs)


def measured(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    """The numbers ``MEASURED`` of an image [s,s,3]."""
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    inner = np.full(pixels.shape[:2], 255, np.uint8)
    width = max(1, round(BORDER * len(pixels)))
    inner[width:-width, width:-width] = 0
    return (
        float(mean[0, 0]), float(deviation[0, 0]), *cv2.mean(pixels)[:3], *cv2.mean(pixels, inner)[:3],
    )
