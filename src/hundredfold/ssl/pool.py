"""What pre-training may see, in a few numbers an image: a million images are no reason to buy memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable, TableFile
from hundredfold.errors import TableError
from hundredfold.views.multicrop import image_key

__all__ = ["Pool"]


class Pool:
    """The images that pre-training may see.

    It keeps two numbers an image, 16 bytes: the row of its pixels, and the key of its random draws. Names,
    labels and hashes stay where they are and are read when they are asked for.

    Args:
        images: those it may see, as a table or as the file of one; labels only watch kNN accuracy.
        pixels: the store that holds them.

    Raises:
        TableError: an image is not in the store.
    """

    def __init__(self, images: ImageTable | TableFile, pixels: PixelStore) -> None:
        self.images, self.pixels = images, pixels
        self.keys = _keys(name for part in images.parts("id") for name in part["id"])
        self.rows = self._find_rows()

    def __len__(self) -> int:
        return len(self.keys)

    def labelled(self) -> NDArray[np.int64]:
        """The places [k] of the images of the training side that have a label."""
        masks = [
            (part["label"].notna() & (part["split"] == "train")).to_numpy(dtype=bool)
            for part in self.images.parts("label", "split")
        ]
        return np.flatnonzero(np.concatenate(masks)) if masks else np.empty(0, np.int64)

    def take(self, places: NDArray[np.int64], *names: str) -> pd.DataFrame:
        """The named columns of the table for the images at ``places`` [k], in that order."""
        wanted = np.sort(places)
        found, start = [], 0
        for part in self.images.parts(*names):
            inside = wanted[(wanted >= start) & (wanted < start + len(part))] - start
            found.append(part.iloc[inside])
            start += len(part)
        frame = pd.concat(found, ignore_index=True)
        return frame.iloc[np.argsort(np.argsort(places))].reset_index(drop=True)

    def seen(self) -> frozenset[str]:
        """SHA-256 of the pixels of every image."""
        return frozenset(value for part in self.images.parts("sha256") for value in part["sha256"])

    def fingerprint(self) -> str:
        """SHA-256 over every image's name and the hash of its pixels, in order."""
        found = hashlib.sha256()
        for part in self.images.parts("id", "sha256"):
            for name, pixels in zip(part["id"], part["sha256"], strict=True):
                found.update(f"{name} {pixels}\n".encode())
        return found.hexdigest()

    def _find_rows(self) -> NDArray[np.int64]:
        """The rows of the store [n], found by the keys; names would take ten times the memory."""
        stored = _keys(iter(self.pixels.each_id()))
        order = np.argsort(stored)
        places = np.searchsorted(stored, self.keys, sorter=order)
        rows: NDArray[np.int64] = order[np.minimum(places, len(stored) - 1)] if len(stored) else places
        absent = stored[rows] != self.keys if len(stored) else np.ones(len(self), bool)
        if absent.any():
            raise TableError(
                f"{absent.sum():,} of {len(self):,} images are not in the pixel store",
                where=self.take(np.flatnonzero(absent)[:1], "id")["id"].iloc[0],
                remedy="Ask only for usable images, and for those of the same scan.",
            )
        return rows


def _keys(names: Iterator[str]) -> NDArray[np.uint64]:
    return np.fromiter((image_key(name) for name in names), np.uint64)
