"""Every image decoded and resized once, kept as ``uint8`` in a memory-mapped file: the pixel store."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.file import frame_of
from hundredfold.data.journal import HEADER_BYTES, Journal
from hundredfold.data.kept import KNOWN, Kept, Waiting
from hundredfold.data.resize import Fit
from hundredfold.data.sandbox import answers
from hundredfold.data.stain import Stain, StainMethod
from hundredfold.data.store import PixelStore
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.data.table import ImageTable
from hundredfold.data.value_range import CtWindow, ValueRange
from hundredfold.errors import ImageError, InputError
from hundredfold.files import atomic_write, write_json
from hundredfold.lock import alone
from hundredfold.progress import bar

__all__ = ["PixelStore", "Pool", "ValueRange", "fill"]

VERSION = 2  # of what the pixels depend on: raise it when decoding or resizing changes
LARGEST_OWN_SIZE = 256
SMALLEST_SIZE = 16
MEASURED = 2_000
#: Share by which a store's size may differ from that which images coming to it have by themselves.
SIZE_TOLERANCE = 0.1

#: table → which of its rows [n] may define the range of deep images.
Pool: TypeAlias = Callable[[ImageTable], NDArray[np.bool_]]


def fill(
    table: ImageTable, folder: Path, *, size: int | None, fit: Fit, value_range: ValueRange | None = None,
    window: CtWindow | None = None, stain: Stain | StainMethod | None = None, pool: Pool | None = None,
    tell: Callable[[int, int], None] | None = None, supply: Supply = LOCAL,
) -> tuple[ImageTable, PixelStore]:
    """Decode every image of ``table`` once, check it, and keep it as a square of ``size`` px.

    Images are decoded on all cores. An interrupted filling is continued by the next call. What a finished
    store made with the same ``size`` and ``fit`` holds is not decoded again while the files are as they were
    (place, size and time); images that it lacks are added at its own size, if that is about what they
    would have had by themselves. Images that already have a problem are passed over; those that turn out
    unusable get one and no row.

    Args:
        table: the images.
        folder: where the store is, or comes to be.
        size: side of the stored images in px; ``None``: the 90th percentile of the images' longer
            sides, at most 256. A store takes whoever names the size that it has.
        fit: ``pad``, ``crop`` or ``squash``.
        value_range: that of an earlier data set (``predict``); else deep images get the .1–99.9
            percentile of those that ``pool`` names.
        window: centre and width in Hounsfield units through which all images, CT, are shown.
        stain: how colours are normalised when images are read; after a name alone ``settle_stain`` must
            find the reference, once the training side is known.
        pool: called once with the filled table; by default the images that are not on the test side.
        tell: called with how many images were decoded, and how many needed no decoding.
        supply: where the bytes of the images come from.

    Returns:
        the table with ``width``, ``height``, ``sha256``, ``problem`` and ``note``, and the store.

    Raises:
        RunExistsError: ``folder`` holds a finished store of changed images or with other settings, one
            with deep images and not just these, or one of much larger or smaller images.
        InputError: the disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head, waiting = _head(size, fit, value_range, window, stain), _waiting(table, supply)
    with alone(folder / ".fill.lock", "the pixel store"):  # another run may share it
        kept = Kept.found(folder, head)
        todo = kept.lacking(waiting)
        pool, decoded = pool or _training_side, 0
        if begun := bool(todo or not kept.facts):
            decoded = _Filling(table, todo, kept, head, value_range, supply).add(pool)
            kept = Kept.found(folder, head)
        filled = _filled(table, kept, waiting)
    if not begun and kept.facts["pool"] not in (None, _pool_hash(filled, pool(filled))):
        raise kept.other(", and its deep ones by the range of another training side")
    if tell:
        tell(decoded, len(waiting) - decoded)
    return filled, PixelStore.open(folder, unsettled=True)


@dataclass(frozen=True)
class _Filling:
    """The images of a table that a store lacks, and the store."""

    table: ImageTable
    todo: list[Waiting]
    kept: Kept
    head: dict[str, Any]
    value_range: ValueRange | None
    supply: Supply

    def add(self, pool: Pool) -> int:
        """Decode the images and add them to the store; gives how many were decoded now."""
        digest = hashlib.sha256(json.dumps([image[1:] for image in self.todo]).encode()).hexdigest()
        begun = {**self._lasting_head(), "images": digest, "rows": self.kept.rows}
        journal = Journal.found(self.kept.folder, begun)
        if journal is None:
            side = self._size()
            _check_space(self.kept.folder, len(self.todo), side)
            journal = Journal(self.kept.folder, begun, side, [])
        done = len(journal.records)
        with journal:
            self._decode(journal)
        self._finish(journal, pool)
        return len(self.todo) - done

    def _lasting_head(self) -> dict[str, Any]:
        """The settings that the store was begun with, which those who add to it leave as they are."""
        return dict(self.kept.facts.get("head", self.head))

    def _size(self) -> int:
        """Side of the images in px: the store's, unless these images are of quite another by themselves.

        All images of the table count, not only those to be added: one more may differ from the many.
        """
        stored, asked = self.kept.facts.get("size"), self.head["size"]
        size = int(asked or _own_size(_waiting(self.table, self.supply), self.supply))
        if stored is None:
            return size
        if abs(size - stored) > SIZE_TOLERANCE * stored:
            raise self.kept.other(
                f": those of {stored} px, and these have {size} px by themselves",
                remedy=f"Choose another folder with --pixels, or give --pixel-size {stored} for that size.",
            )
        return int(stored)

    def _decode(self, journal: Journal) -> None:
        limits = None if self.value_range is None else list(asdict(self.value_range).values())
        settings = {
            "do": "prepare", "size": journal.size, "fit": self.head["fit"], "value_range": limits,
            "ct_window": self.head.get("window"),
        }

        done = len(journal.records)
        todo = self.todo[done:]
        with (
            _asking(todo, self.supply, settings) as task,
            bar("Decoding", len(self.todo), start=done) as progress,
        ):
            for answer in answers(range(len(todo)), task):
                if isinstance(answer, ImageError):
                    journal.reject(answer.reason, answer.sentence)
                else:
                    facts, square = answer
                    assert square is not None  # that is what was asked for
                    journal.accept(square, facts)
                progress.advance()

    def _finish(self, journal: Journal, pool: Pool) -> None:
        """Scale the deep images, complete the array's header, and say, last, that the store is finished."""
        folder, size = journal.folder, journal.size
        records = _joined(self.kept, self.todo, journal)
        count = int(records["problem"].isna().sum())
        shape, value_range, pooled = (count, size, size, 3), self.value_range, None
        if deep := journal.deep_images():
            filled = _filled(self.table, Kept(folder, {}, records), _waiting(self.table, self.supply))
            chosen = pool(filled)
            pooled = _pool_hash(filled, chosen)
            inside = [pixels for record, _, pixels in deep if chosen[self.todo[record].place]]
            value_range = ValueRange.of(inside or [pixels for _, _, pixels in deep])
            _write_deep(folder, [(row, pixels) for _, row, pixels in deep], value_range, shape)
        with (folder / "pixels.npy").open("r+b") as file:
            file.write(_header(shape))
            file.flush()
            os.fsync(file.fileno())
        with atomic_write(folder / "images.parquet") as path:
            records.to_parquet(path, index=False)
        limits = None if value_range is None else list(asdict(value_range).values())
        stain = self.kept.facts.get("stain") or _settled(self.head)
        write_json(folder / "pixels.json", {
            "schema_version": VERSION, "count": count, "images": len(records), "size": size,
            "fit": self.head["fit"], "value_range": limits, "window": self.head.get("window"), "pool": pooled,
            "head": self._lasting_head(), **({} if stain is None else {"stain": stain}),
        })
        journal.remove()


def _joined(kept: Kept, todo: list[Waiting], journal: Journal) -> pd.DataFrame:
    """The records of the store with those of the journal behind them."""
    new = pd.DataFrame(journal.records, columns=[*KNOWN])
    new["id"], new["stamp"] = [image.name for image in todo], [image.stamp for image in todo]
    both = pd.concat([kept.records, new], ignore_index=True) if len(kept.records) else new
    texts, sides = dict.fromkeys(("id", "stamp", "sha256", "problem", "note"), "str"), ("width", "height")
    return both.astype({**texts, **dict.fromkeys(sides, "Int32")})


def _own_size(images: list[Waiting], supply: Supply) -> int:
    some = images[:: max(1, len(images) // MEASURED)]
    with _asking(some, supply, {"do": "size_of"}, again=True) as task:
        told = [*answers(range(len(some)), task)]
    sides = [max(found[0].values()) for found in told if not isinstance(found, ImageError)]
    if not sides:
        return LARGEST_OWN_SIZE
    return int(np.clip(np.percentile(sides, 90), SMALLEST_SIZE, LARGEST_OWN_SIZE))


@contextmanager
def _asking(
    images: list[Waiting], supply: Supply, what: dict[str, Any], *, again: bool = False
) -> Iterator[Callable[[int], dict[str, Any]]]:
    """What a decoder is asked about each image, and whether it will be asked once more."""
    def task(place: int) -> dict[str, Any]:
        image = images[place]
        return {**what, "known": image.stamp, "frame": frame_of(image.name, image.path), **ready(place)}

    with supply.ready([image.path for image in images], again=again) as ready:
        yield task


def _waiting(table: ImageTable, supply: Supply) -> list[Waiting]:
    """The images without a problem, with the fingerprints of their files."""
    frame = table.frame
    places = np.flatnonzero(frame["problem"].isna())
    names, paths = frame["id"].iloc[places].astype(str), frame["path"].iloc[places].astype(str)
    return [
        Waiting(int(place), name, path, supply.stamp(path))
        for place, name, path in zip(places, names, paths, strict=True)
    ]


def _filled(table: ImageTable, kept: Kept, images: list[Waiting]) -> ImageTable:
    """The table with what was found out about the images that had no problem before."""
    frame = table.frame.copy()
    waiting = frame["problem"].isna()
    found = kept.of([image.name for image in images]).set_axis(frame.index[waiting])
    before = frame.loc[waiting, "note"].fillna("")
    for name in ("width", "height", "sha256", "problem"):
        frame.loc[waiting, name] = found[name].astype(frame[name].dtype)
    notes = [
        new if problem else "; ".join(dict.fromkeys(filter(None, f"{old}; {new}".split("; "))))
        for old, new, problem in zip(before, found["note"].fillna(""), found["problem"].notna(), strict=True)
    ]
    frame.loc[waiting, "note"] = pd.Series(notes, index=found.index, dtype="str").replace("", None)
    return ImageTable.of(frame)


def _training_side(table: ImageTable) -> NDArray[np.bool_]:
    frame = table.frame
    mask = frame["problem"].isna() & (frame["split"].isna() | (frame["split"] == "train"))
    return mask.to_numpy(dtype=bool)


def _pool_hash(table: ImageTable, chosen: NDArray[np.bool_]) -> str:
    return hashlib.sha256("\n".join(table.ids[chosen]).encode()).hexdigest()


def _write_deep(
    folder: Path, images: Sequence[tuple[int, NDArray[np.float32]]], value_range: ValueRange,
    shape: tuple[int, ...],
) -> None:
    array = np.memmap(folder / "pixels.npy", np.uint8, "r+", HEADER_BYTES, shape)
    for row, pixels in images:
        eight = value_range.to_uint8(pixels)
        array[row] = eight if eight.ndim == 3 else eight[..., None]
    array.flush()


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    assert buffer.tell() == HEADER_BYTES
    return buffer.getvalue()


def _head(
    size: int | None, fit: Fit, value_range: ValueRange | None, window: CtWindow | None,
    stain: Stain | StainMethod | None,
) -> dict[str, Any]:
    """The settings that the pixels depend on: a store with others is of no use."""
    return {
        "version": VERSION, "size": size, "fit": fit,
        "value_range": None if value_range is None else list(asdict(value_range).values()),
        **({} if window is None else {"window": list(window)}),
        **({} if stain is None else {"stain": stain.facts if isinstance(stain, Stain) else stain}),
    }


def _settled(head: dict[str, Any]) -> dict[str, Any] | None:
    """The stain of the settings, if its reference is among them."""
    stain = head.get("stain")
    return stain if isinstance(stain, dict) else None


def _check_space(folder: Path, images: int, size: int) -> None:
    needed, free = images * size * size * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{images:,} images of {size} px need {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free",
            where=folder, remedy="Choose another disk with --pixels, or smaller images with --pixel-size.",
        )
