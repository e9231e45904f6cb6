"""Thumbnails: small pictures of the labelled images, for a predictor that was asked to carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import pandas as pd

from hundredfold.data.store import PixelStore
from hundredfold.errors import ModelFileError
from hundredfold.files import atomic_write

__all__ = ["Thumbnails"]

FILE = "thumbnails.parquet"
SIDE, QUALITY = 64, 85


@dataclass(frozen=True)
class Thumbnails:
    """A small JPEG of each labelled image that a predictor learned from: id → bytes.

    A predictor carries none unless ``fit --thumbnails`` asked for them: it is passed on, and images of
    patients must not travel with it unasked.
    """

    jpegs: Mapping[str, bytes]

    @classmethod
    def of(cls, ids: Sequence[str], store: PixelStore) -> Self:
        """Take those of some images from the pixels of a run; images that it does not hold have none."""
        stored = set(store.ids)
        known = [str(name) for name in ids if name in stored]
        return cls({name: _jpeg(store[store.rows([name])][0]) for name in known})

    def save(self, folder: Path) -> None:
        """Write ``thumbnails.parquet``: id, jpeg."""
        rows = pd.DataFrame({"id": list(self.jpegs), "jpeg": list(self.jpegs.values())})
        with atomic_write(folder / FILE) as path:
            rows.to_parquet(path, index=False)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what :meth:`save` wrote; ``None`` where there are none.

        Raises:
            ModelFileError: the file is damaged.
        """
        if not (folder / FILE).is_file():
            return None
        try:
            rows = pd.read_parquet(folder / FILE, columns=["id", "jpeg"])
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"cannot read the thumbnails: {type(error).__name__}", where=folder / FILE,
                remedy="Copy the predictor again from where it was made, or fit it again.",
            ) from error
        return cls(dict(zip(rows["id"].astype(str), rows["jpeg"], strict=True)))


def _jpeg(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    turned = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", turned, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes())
