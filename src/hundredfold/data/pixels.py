"""Every image decoded and resized once, kept as ``uint8`` in a memory-mapped file: the pixel store."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.decode import decode, measure, quiet_decoders
from hundredfold.data.image import MAX_BYTES, Pixels
from hundredfold.data.journal import HEADER_BYTES, Journal
from hundredfold.data.resize import Fit, scaled_size, to_square
from hundredfold.data.store import PixelStore, ValueRange, stored_facts
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError, InputError, RunExistsError
from hundredfold.progress import bar
from hundredfold.rundir import atomic_write, write_json

__all__ = ["PixelStore", "Pool", "ValueRange", "fill"]

VERSION = 1  # of what the pixels depend on: raise it when decoding or resizing changes
LARGEST_OWN_SIZE = 256
SMALLEST_SIZE = 16
MEASURED = 2_000
AHEAD = 8
CHECKED = ("id", "width", "height", "sha256", "problem", "note")

#: table → which of its rows [n] may define the range of deep images.
Pool: TypeAlias = Callable[[ImageTable], NDArray[np.bool_]]


def fill(
    table: ImageTable, folder: Path, *, size: int | None, fit: Fit, value_range: ValueRange | None = None,
    pool: Pool | None = None,
) -> tuple[ImageTable, PixelStore]:
    """Decode every image of ``table`` once, check it, and keep it as a square of ``size`` px.

    Images are decoded on all cores. An interrupted filling is continued by the next call; a finished
    one is reused if the ids, the files (size and time), ``size`` and ``fit`` are the same. Images
    that already have a problem are passed over; those that turn out unusable get one and no row.

    Args:
        table: the images.
        folder: where the store is, or comes to be.
        size: side of the stored images in px; ``None``: the 90th percentile of the images' longer
            sides, at most 256.
        fit: ``pad``, ``crop`` or ``squash``.
        value_range: that of an earlier data set (``predict``); else deep images get the .1–99.9
            percentile of those that ``pool`` names.
        pool: called once with the filled table; by default the images that are not on the test side.

    Returns:
        the table with ``width``, ``height``, ``sha256``, ``problem`` and ``note``, and the store.

    Raises:
        RunExistsError: ``folder`` holds a finished store of other images or settings.
        InputError: the disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head = _head(table, size, fit, value_range)
    if (facts := stored_facts(folder)) is not None:
        return _reused(table, folder, facts, head, pool or _training_side)
    with quiet_decoders(), _one_thread_a_core():
        journal = Journal.found(folder, head)
        if journal is None:
            side = size or _own_size(table)
            _check_space(folder, len(table), side)
            journal = Journal(folder, head, side, [])
        with journal:
            _decode(table, journal, fit, value_range)
    return _finish(table, journal, head, value_range, pool or _training_side)


def _decode(table: ImageTable, journal: Journal, fit: Fit, value_range: ValueRange | None) -> None:
    todo = _waiting(table)
    done = len(journal.records)
    prepare = partial(_prepare, size=journal.size, fit=fit, value_range=value_range)
    with bar("Decoding", len(todo), start=done) as progress:
        for result in _in_order(prepare, todo[done:]):
            if isinstance(result, ImageError):
                journal.reject(result.reason, result.sentence)
            else:
                journal.accept(*result)
            progress.advance()


def _finish(
    table: ImageTable, journal: Journal, head: dict[str, Any], value_range: ValueRange | None, pool: Pool
) -> tuple[ImageTable, PixelStore]:
    """Scale the deep images, complete the array's header, and say that the store is finished."""
    filled = _filled(table, journal.records)
    folder, size = journal.folder, journal.size
    pooled = None
    if deep := journal.deep_images():
        chosen = pool(filled)
        pooled = _pool_hash(filled, chosen)
        positions = np.flatnonzero(table.frame["problem"].isna())
        inside = [pixels for record, _, pixels in deep if chosen[positions[record]]]
        value_range = ValueRange.of(inside or [pixels for _, _, pixels in deep])
        _write_deep(journal, [(row, pixels) for _, row, pixels in deep], value_range)
    count = sum(record["problem"] is None for record in journal.records)
    with (folder / "pixels.npy").open("r+b") as file:
        file.write(_header((count, size, size, 3)))
        file.flush()
        os.fsync(file.fileno())
    with atomic_write(folder / "images.parquet") as path:
        filled.frame[list(CHECKED)].to_parquet(path, index=False)
    limits = None if value_range is None else list(asdict(value_range).values())
    write_json(folder / "pixels.json", {
        "schema_version": VERSION, "count": count, "size": size, "fit": head["fit"], "value_range": limits,
        "pool": pooled, "head": head,
    })
    journal.remove()
    return filled, PixelStore.open(folder)


def _reused(
    table: ImageTable, folder: Path, facts: dict[str, Any], head: dict[str, Any], pool: Pool
) -> tuple[ImageTable, PixelStore]:
    checked = pd.read_parquet(folder / "images.parquet")
    same = facts["head"] == head
    filled = table.assign(**{name: checked[name] for name in CHECKED[1:]}) if same else table
    if not same or facts["pool"] not in (None, _pool_hash(filled, pool(filled))):
        raise RunExistsError(
            "the folder holds the pixels of other images, or made with other settings", where=folder,
            remedy="Choose another folder with --pixels, or delete this one.",
        )
    return filled, PixelStore.open(folder)


def _prepare(
    image: tuple[str, str], *, size: int, fit: Fit, value_range: ValueRange | None
) -> tuple[Pixels, dict[str, Any]] | ImageError:
    """Read, decode and resize one image (id, path): its square and what the table keeps of it."""
    name, path = image
    try:
        decoded = decode(
            _read(path), path, frame=_frame(name, path), target=partial(scaled_size, size=size, fit=fit)
        )
    except ImageError as error:
        return error
    pixels = decoded.pixels.astype(np.float32) if decoded.deep else decoded.pixels
    square = to_square(pixels, size, fit)
    if decoded.deep and value_range is not None:
        square = value_range.to_uint8(square)
    if square.dtype == np.uint8 and square.ndim == 2:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    facts = ("width", "height", "sha256", "note")
    return square, {fact: getattr(decoded, fact) for fact in facts}


def _read(path: str) -> bytes:
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ImageError("too_large", f"the file has over {MAX_BYTES:,} bytes")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError("no_file", "there is no such file") from None
    except OSError as error:
        raise ImageError("unreadable", f"the file cannot be read: {error.strerror}") from None


def _frame(name: str, path: str) -> int | None:
    """The number behind ``#`` in the id of a DICOM frame; a ``#`` of the file's own name is none."""
    _, mark, number = name.rpartition("#")
    return int(number) if mark and number.isdecimal() and not path.endswith(f"#{number}") else None


def _in_order(
    function: Callable[[tuple[str, str]], Any], items: Sequence[tuple[str, str]]
) -> Iterator[Any]:
    """Apply ``function`` on all cores; results come in order, and few wait in memory."""
    workers = _cores()
    pending: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= workers * AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _one_thread_a_core() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own below ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _own_size(table: ImageTable) -> int:
    images = _waiting(table)

    def longer(image: tuple[str, str]) -> int | None:
        name, path = image
        try:
            return max(measure(_read(path), path, frame=_frame(name, path)))
        except ImageError:
            return None

    every = max(1, len(images) // MEASURED)
    sides = [side for side in _in_order(longer, images[::every]) if side is not None]
    if not sides:
        return LARGEST_OWN_SIZE
    return int(np.clip(np.percentile(sides, 90), SMALLEST_SIZE, LARGEST_OWN_SIZE))


def _waiting(table: ImageTable) -> list[tuple[str, str]]:
    frame = table.frame[table.frame["problem"].isna()]
    return list(zip(frame["id"].astype(str), frame["path"].astype(str), strict=True))


def _filled(table: ImageTable, records: list[dict[str, Any]]) -> ImageTable:
    """The table with what was found out about the images that had no problem before."""
    frame = table.frame.copy()
    waiting = frame["problem"].isna()
    found = pd.DataFrame(records, index=frame.index[waiting], columns=[*CHECKED[1:]])
    before = frame.loc[waiting, "note"].fillna("")
    for name in CHECKED[1:-1]:
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
    journal: Journal, images: Sequence[tuple[int, NDArray[np.float32]]], value_range: ValueRange
) -> None:
    shape = (sum(record["problem"] is None for record in journal.records), journal.size, journal.size, 3)
    array = np.memmap(journal.folder / "pixels.npy", np.uint8, "r+", HEADER_BYTES, shape)
    for row, pixels in images:
        eight = value_range.to_uint8(pixels)
        array[row] = eight if eight.ndim == 3 else eight[..., None]
    array.flush()


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    assert buffer.tell() == HEADER_BYTES
    return buffer.getvalue()


def _head(table: ImageTable, size: int | None, fit: Fit, value_range: ValueRange | None) -> dict[str, Any]:
    """What the store depends on: a store or a journal with another head is of no use."""
    digest = hashlib.sha256()
    frame = table.frame
    for name, path, problem in zip(frame["id"], frame["path"], frame["problem"].fillna(""), strict=True):
        try:
            state = Path(path).stat()
            stamp = f"{state.st_size} {state.st_mtime_ns}"
        except (OSError, TypeError):  # absent, or a row without a path
            stamp = "absent"
        digest.update(json.dumps([name, stamp, problem]).encode())
    return {
        "version": VERSION, "images": digest.hexdigest(), "size": size, "fit": fit,
        "value_range": None if value_range is None else list(asdict(value_range).values()),
    }


def _check_space(folder: Path, images: int, size: int) -> None:
    needed, free = images * size * size * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{images:,} images of {size} px need {needed / 1e6:,.0f} MB, but {free / 1e6:,.0f} MB are free",
            where=folder, remedy="Choose another disk with --pixels, or smaller images with --pixel-size.",
        )
