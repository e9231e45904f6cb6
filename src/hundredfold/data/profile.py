"""What a person should know of the pixels: brightness, contrast, colour and size of each image."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable

__all__ = ["profile"]


def profile(table: ImageTable, store: PixelStore) -> pd.DataFrame:
    """Describe the images of the store; classes that differ here may be told apart by the scanner alone.

    Returns:
        A row an image of the store, in its order: id, label, brightness and contrast (mean and
        standard deviation of the grey values, 0–255), red, green, blue (means, 0–255), width, height
        (of the image as it came, in px) and aspect (width by height).

    Raises:
        TableError: the store holds images that the table does not know.
    """
    images = table.by_id(store.ids).frame
    measured = np.array([_measured(pixels) for pixels in store.array]).reshape(-1, 5)
    frame = pd.DataFrame(measured, columns=["brightness", "contrast", "red", "green", "blue"])
    frame.insert(0, "id", images["id"])
    frame.insert(1, "label", images["label"])
    frame["width"], frame["height"] = images["width"], images["height"]
    frame["aspect"] = images["width"].astype("float64") / images["height"].astype("float64")
    return frame


def _measured(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    """Brightness, contrast, red, green, blue of an image [s,s,3]."""
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    return (float(mean[0, 0]), float(deviation[0, 0]), *cv2.mean(pixels)[:3])
