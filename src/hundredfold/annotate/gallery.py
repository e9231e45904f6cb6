"""The pictures of a run under names that tell nothing, decoded in processes of their own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.file import frame_of
from hundredfold.data.sandbox import answers
from hundredfold.data.store import PixelStore
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.data.table import ImageTable
from hundredfold.errors import HundredfoldError, ImageError

__all__ = ["MOST", "Gallery", "Picture"]

#: Longest side of a picture in px.
MOST = 2048
#: Pixels up to which a picture is sent without loss; above, a JPEG of this quality shows no difference.
LOSSLESS, QUALITY = 1_200_000, 95
#: Bytes of finished pictures that are kept in memory.
KEPT = 200_000_000
#: Pictures that are decoded at once.
AT_ONCE = 2
NAME_BYTES = 12
NOTES = {"no_file": "The original file is gone", "changed": "The original file was changed"}


class Picture(NamedTuple):
    """A picture as it is sent.

    Args:
        data: the file.
        kind: its media type.
        note: empty, or why it is the stored copy and not the original.
    """

    data: bytes
    kind: str
    note: str = ""


class Gallery:
    """Pictures by opaque names: a keyed hash of the image's id, the same for as long as the record is.

    Args:
        table: the images; unusable ones have no picture.
        store: their stored squares, for tiles, and where an original is gone.
        key: of the hash.
        supply: where the originals are.
    """

    def __init__(self, table: ImageTable, store: PixelStore, key: bytes, supply: Supply = LOCAL) -> None:
        usable = table.usable.frame
        self._key = key
        self._store, self._supply = store, supply
        self._paths = dict(zip(usable["id"].astype(str), usable["path"].astype(str), strict=True))
        self._ids = {self.name(image): image for image in self._paths}
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(AT_ONCE)

    def name(self, image: str) -> str:
        """The name of an image on the page."""
        return blake2b(image.encode(), key=self._key, digest_size=NAME_BYTES).hexdigest()

    def image(self, name: str) -> str | None:
        """The image of a name; ``None`` if there is none."""
        return self._ids.get(name)

    def has(self, image: str) -> bool:
        """Whether the run has the image, and it is usable."""
        return image in self._paths

    def tile(self, image: str) -> Picture:
        """The stored square of an image, in the colours in which it came."""
        self._store.check()
        return _picture(np.array(self._store.array[self._store.rows([image])[0]]))

    def picture(self, image: str) -> Picture:
        """An image as large as the screen can show it, from its original file.

        Where that is gone, was changed since the scan, or can no longer be decoded, it is the stored square:
        what is seen is always the image that was scanned.
        """
        with self._lock:
            if image in self._kept:
                self._kept.move_to_end(image)
                return self._kept[image]
        with self._turns:
            found = self._decoded(image)
        with self._lock:
            self._bytes += len(found.data) - len(self._kept[image].data if image in self._kept else b"")
            self._kept[image] = found
            while self._bytes > KEPT and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old.data)
        return found

    def _decoded(self, image: str) -> Picture:
        try:
            return _picture(self._original(image))
        except HundredfoldError as error:  # of the image, or there can be no process that decodes
            why = NOTES.get(getattr(error, "reason", ""), "The original file cannot be read")
            note = f"{why}: this is the copy of {self._store.size} px made by the scan."
            return self.tile(image)._replace(note=note)

    def _original(self, image: str) -> NDArray[np.uint8]:
        """The pixels of the file as it was scanned.

        Raises:
            ImageError: there are none any more.
        """
        path, limits = self._paths[image], self._store.value_range
        try:
            now = self._supply.stamp(path)
        except KeyError:  # an archive was replaced by another
            now = "absent"
        if now != self._stamps.get(image):
            raise ImageError("no_file" if now == "absent" else "changed", "it is not what was scanned")
        asked = {
            "do": "show", "most": MOST, "frame": frame_of(image, path), "known": now,
            "value_range": None if limits is None else (limits.low, limits.high),
            "ct_window": self._store.window,
        }
        with self._supply.ready([path]) as ready:
            (answer,) = answers([0], lambda place: {**asked, **ready(place)})
        if isinstance(answer, ImageError):
            raise answer
        return np.asarray(answer[1], dtype=np.uint8)

    @cached_property
    def _stamps(self) -> dict[str, str]:
        """The fingerprints of the files as they were scanned."""
        known = pd.read_parquet(self._store.folder / "images.parquet", columns=["id", "stamp"])
        return dict(zip(known["id"].astype(str), known["stamp"].astype(str), strict=True))


def _picture(pixels: NDArray[np.uint8]) -> Picture:
    if pixels.ndim == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), dtype=np.uint8)
    if pixels.shape[0] * pixels.shape[1] <= LOSSLESS:
        return Picture(_encoded(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1]), "image/png")
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return Picture(_encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling]), "image/jpeg")


def _encoded(suffix: str, pixels: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return bytes(data)
