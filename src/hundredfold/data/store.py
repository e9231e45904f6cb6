"""The finished pixel store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from hundredfold.data.journal import HEADER_BYTES
from hundredfold.data.resize import Fit
from hundredfold.data.stain import Stain
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.errors import InputError, RunMissingError, TableError

__all__ = ["PixelStore", "ValueRange", "stored_facts"]

READ_AT_A_TIME = 2_000
LOOKED_AT_BY_HASH = 256


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Images as ``uint8`` RGB squares, in the order of their table.

    Made by :func:`hundredfold.data.pixels.fill`.

    Args:
        folder: holds ``pixels.npy`` [n,size,size,3] and ``pixels.json``.
        count: how many images there are.
        size: side of an image in px.
        fit: how images that are not square were made so.
        value_range: what deep images were scaled by; ``None`` where there were none.
        window: centre and width in Hounsfield units through which they were shown; ``None`` where each was
            shown through its own.
        stain: how colours are normalised when images are read; :attr:`array` has them as they came.
    """

    folder: Path
    count: int
    size: int
    fit: Fit
    value_range: ValueRange | None
    window: CtWindow | None = None
    stain: Stain | None = None

    @classmethod
    def open(cls, folder: Path, *, unsettled: bool = False) -> Self:
        """Open a finished store.

        Args:
            folder: of the store.
            unsettled: take one, too, whose colours are to be normalised once the training side is known.

        Raises:
            RunMissingError: there is none in ``folder``.
            InputError: its files do not fit each other.
        """
        facts = stored_facts(folder)
        if facts is None:
            raise RunMissingError(
                "expected a finished pixel store, found no pixels.json", where=folder,
                remedy="Run `hundredfold scan` (with --resume, if it was interrupted).",
            )
        limits = facts["value_range"]
        value_range = None if limits is None else ValueRange(*limits)
        window = tuple(facts["window"]) if facts.get("window") else None
        stain = Stain.read(facts.get("stain"))
        if stain is None and facts.get("head", {}).get("stain") and not unsettled:
            raise RunMissingError(
                "the pixel store waits for the colours of the training side", where=folder,
                remedy="Run `hundredfold scan` with --resume.",
            )
        store = cls(folder, facts["count"], facts["size"], facts["fit"], value_range, window, stain)
        store.check()
        return store

    def __len__(self) -> int:
        return self.count

    @property
    def recipe(self) -> dict[str, Any]:
        """How the pixels were made of the files, as JSON holds it: fit, value_range, window, stain."""
        limits = self.value_range
        return {
            "fit": self.fit, "value_range": None if limits is None else [limits.low, limits.high],
            "window": None if self.window is None else list(self.window),
            "stain": None if self.stain is None else self.stain.facts,
        }

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """The ids of the rows [n]."""
        return np.array([*self.each_id()], dtype=object)

    def each_id(self) -> Iterator[str]:
        """The ids of the rows one after the other; few are in memory at a time."""
        told = 0
        with parquet.ParquetFile(self.folder / "images.parquet", memory_map=True) as file:
            for batch in file.iter_batches(READ_AT_A_TIME, columns=["id", "problem"]):
                frame = batch.to_pandas()
                names = frame.loc[frame["problem"].isna(), "id"].tolist()
                # A kill while images are added may leave names beyond the rows there are.
                yield from names[: max(0, self.count - told)]
                told += len(names)

    @cached_property
    def array(self) -> NDArray[np.uint8]:
        """The pixels [n,size,size,3], memory-mapped and read-only; their colours as they came."""
        if not len(self):  # an empty file cannot be mapped
            return np.empty((0, self.size, self.size, 3), np.uint8)
        return self._map()

    def _map(self) -> NDArray[np.uint8]:
        shape = (self.count, self.size, self.size, 3)
        return np.memmap(self.folder / "pixels.npy", np.uint8, "r", HEADER_BYTES, shape)

    def check(self) -> None:
        """Make sure that the file of the pixels is there and whole: to read past its end would be fatal.

        It may be longer than it says it is, when another scan adds to it.

        Raises:
            InputError: it is not.
        """
        path = self.folder / "pixels.npy"
        expected = HEADER_BYTES + len(self) * self.size**2 * 3
        found = path.stat().st_size if path.is_file() else 0
        if found < expected:
            raise _damaged(
                path,
                f"expected {len(self):,} images of {self.size} px, {expected:,} bytes, found {found:,} bytes",
            )

    def fingerprint(self, rows: NDArray[np.int64]) -> str:
        """SHA-256 of up to 256 of the images at ``rows`` [k], as they are on the disk at this moment.

        Raises:
            InputError: the file is gone or cut short.
        """
        self.check()
        stain = "" if self.stain is None else f" {self.stain.facts}"
        digest = hashlib.sha256(f"{self.size} {self.fit}{stain}".encode())
        if len(rows):
            pixels = self._map()  # afresh: the file may be another
            for place in np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT_BY_HASH).astype(int)):
                digest.update(pixels[rows[place]].tobytes())
        return digest.hexdigest()

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows [k] of the images.

        Raises:
            TableError: an id is not in the store (it was rejected, or is of another scan).
        """
        wanted = pd.Index(list(ids), dtype=object)
        rows = self._index.get_indexer(wanted).astype(np.int64)
        if (rows < 0).any():
            unknown = wanted[rows < 0]
            raise TableError(
                f"{len(unknown):,} of {len(wanted):,} images are not in the pixel store", where=unknown[0],
                remedy="Ask only for usable images, and for those of the same scan.",
            )
        return rows

    def __getitem__(self, rows: NDArray[np.int64] | Sequence[int]) -> NDArray[np.uint8]:
        """The pixels [k,size,size,3] of ``rows`` [k], as a copy, with their colours normalised by ``stain``.

        Raises:
            InputError: the file was cut short or deleted since it was opened.
        """
        places = np.asarray(rows, dtype=np.int64)
        if len(places) and not (places.min() >= 0 and places.max() < len(self)):
            raise IndexError(f"rows {places.min()} to {places.max()} of a store of {len(self)} images")
        pixels = np.empty((len(places), self.size, self.size, 3), np.uint8)
        self._read(places, pixels)
        return pixels if self.stain is None else self.stain.apply(pixels)

    def _read(self, places: NDArray[np.int64], pixels: NDArray[np.uint8]) -> None:
        """Read row by row: a map of a file that another cuts short in this moment would be fatal."""
        path, size = self.folder / "pixels.npy", self.size**2 * 3
        try:
            with path.open("rb", buffering=0) as file:
                for place, image in zip(places.tolist(), pixels, strict=True):
                    file.seek(HEADER_BYTES + place * size)
                    if file.readinto(image.data.cast("B")) < size:
                        break
                else:
                    return
        except FileNotFoundError:
            pass
        self.check()
        raise _damaged(path, "it changed while it was read")

    def __getstate__(self) -> dict[str, Any]:
        # a worker process maps the file itself; pickled, the map would carry all the pixels
        cached = ("array", "ids", "_index")
        return {name: value for name, value in self.__dict__.items() if name not in cached}

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.ids, dtype=object)


def _damaged(where: Path, found: str) -> InputError:
    return InputError(
        f"the pixel store is damaged: {found}", where=where,
        remedy="Delete the folder of the store and repeat `hundredfold scan` with --resume.",
    )


def stored_facts(folder: Path) -> dict[str, Any] | None:
    """The contents of ``pixels.json``, or ``None`` where no store was finished.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "pixels.json"
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(
            "pixels.json is damaged", where=path, remedy="Delete the folder of the pixel store."
        ) from None
