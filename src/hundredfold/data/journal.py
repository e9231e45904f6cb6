"""The half-filled pixel store: pixels as they come, and a line an image that says how far it got."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.image import Pixels
from hundredfold.files import write_text

__all__ = ["HEADER_BYTES", "Journal"]

#: room for the header of the ``.npy`` file, which is known only at the end.
HEADER_BYTES = 128
COMMIT_SECONDS = 2.0


class Journal:
    """Appends images in the order of their table, so that a killed filling goes on where it was.

    Three files: ``pixels.npy`` (a row an accepted image; zeros where it is deep), ``deep.part``
    (``float32`` squares that wait for the range of the data set) and ``journal.jsonl``. A line is
    written only after the pixels it speaks of are on the disk.

    Args:
        folder: of the pixel store.
        head: what the pixels depend on, and ``rows``, how many of a finished store they follow; a journal
            with another head is begun anew.
        size: side of an image in px.
        records: what was noted before, as :meth:`found` reads it.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], size: int, records: list[dict[str, Any]]
    ) -> None:
        self.folder, self.size, self.records = folder, size, records
        self._waiting: list[str] = []
        self._committed = time.monotonic()
        if not records:
            write_text(folder / "journal.jsonl", json.dumps({"head": head, "size": size}) + "\n")
        self._lines = (folder / "journal.jsonl").open("a", encoding="utf-8")
        self.first = int(head["rows"])
        self._pixels = _cut(folder / "pixels.npy", _pixel_bytes(self.first, records, size))
        self._deep = _cut(folder / "deep.part", sum(_deep_bytes(record, size) for record in records))

    @classmethod
    def found(cls, folder: Path, head: Mapping[str, Any]) -> Self | None:
        """The journal in ``folder``, if there is one with this head."""
        path = folder / "journal.jsonl"
        if not path.is_file():
            return None
        lines = path.read_text(encoding="utf-8").split("\n")
        whole = lines[:-1]  # what follows the last line end was cut by a kill
        if not whole:
            return None
        first = json.loads(whole[0])
        if first["head"] != head:
            return None
        size = int(first["size"])
        records = _on_disk(folder, int(head["rows"]), [json.loads(line) for line in whole[1:]], size)
        kept = [whole[0], *(json.dumps(record) for record in records)]
        write_text(path, "\n".join(kept) + "\n")
        return cls(folder, head, size, records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        for file in (self._lines, self._pixels, self._deep):
            file.close()

    def reject(self, reason: str, sentence: str) -> None:
        """Note an image that cannot be used."""
        self._note({"problem": reason, "note": sentence})

    def accept(self, square: Pixels, facts: Mapping[str, Any]) -> None:
        """Append an image [size,size,3] ``uint8``, or a deep one [size,size(,3)] ``float32``."""
        deep = 0
        if square.dtype == np.uint8:
            self._pixels.write(np.ascontiguousarray(square).data)
        else:
            deep = 1 if square.ndim == 2 else 3
            self._deep.write(np.ascontiguousarray(square).data)
            self._pixels.seek(self.size * self.size * 3, os.SEEK_CUR)
        self._note({"problem": None, "deep": deep, **facts})

    def commit(self) -> None:
        """Bring everything noted so far to the disk: pixels first."""
        for file in (self._pixels, self._deep):
            file.truncate()  # reaches behind a row that was passed over
            file.flush()
            os.fsync(file.fileno())
        self._lines.write("".join(self._waiting))
        self._lines.flush()
        os.fsync(self._lines.fileno())
        self._waiting.clear()
        self._committed = time.monotonic()

    def deep_images(self) -> list[tuple[int, int, NDArray[np.float32]]]:
        """(record, row, pixels) of each committed image that waits for a range; pixels are memory-mapped."""
        path = self.folder / "deep.part"
        values = np.memmap(path, np.float32, "r") if path.stat().st_size else np.empty(0, np.float32)
        found, row, offset = [], self.first, 0
        for number, record in enumerate(self.records):
            if channels := record.get("deep"):
                count = channels * self.size**2
                shape = (self.size, self.size, *((3,) if channels == 3 else ()))
                found.append((number, row, values[offset : offset + count].reshape(shape)))
                offset += count
            row += record["problem"] is None
        return found

    def remove(self) -> None:
        """Delete what only a half-filled store needs."""
        for name in ("journal.jsonl", "deep.part"):
            with suppress(FileNotFoundError):
                (self.folder / name).unlink()

    def _note(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self._waiting.append(json.dumps(record) + "\n")
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()


def _deep_bytes(record: Mapping[str, Any], size: int) -> int:
    return int(record.get("deep") or 0) * size * size * np.dtype(np.float32).itemsize


def _pixel_bytes(first: int, records: list[dict[str, Any]], size: int) -> int:
    rows = first + sum(record["problem"] is None for record in records)
    return HEADER_BYTES + rows * size * size * 3


def _cut(path: Path, size: int) -> Any:
    """Open for writing behind the first ``size`` bytes; what lies beyond is dropped."""
    path.touch()
    os.truncate(path, size)
    file = path.open("r+b")
    file.seek(size)
    return file


def _on_disk(folder: Path, first: int, records: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """The records, or none of them where the pixels they speak of are gone."""
    deep = sum(_deep_bytes(record, size) for record in records)
    for name, least in (("pixels.npy", _pixel_bytes(first, records, size)), ("deep.part", deep)):
        path = folder / name
        if not path.is_file() or path.stat().st_size < least:
            return []
    return records
