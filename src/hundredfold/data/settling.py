"""The reference of the colours: that of the training side, found once and kept in the pixel store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.kept import Kept
from hundredfold.data.stain import Image, Reference, StainMethod
from hundredfold.data.store import PixelStore, stored_facts
from hundredfold.data.table import ImageTable
from hundredfold.files import write_json
from hundredfold.lock import alone

__all__ = ["settle_stain"]

LOOKED_AT = 2_000


def settle_stain(
    store: PixelStore, method: StainMethod, table: ImageTable, *, anew: bool
) -> tuple[PixelStore, Reference]:
    """Take the colours of the training side for the reference, and note them in the store.

    At most 2,000 of its images are looked at, evenly spaced in the order of their ids, so the reference
    depends on nothing but these images.

    Args:
        store: its pixels stay as they are; they are changed when they are read.
        method: how colours are normalised.
        table: the images with their split; those of the test and audit side are not looked at.
        anew: replace a reference that the store has already; else it must be the same.

    Returns:
        The store that gives normalised images, and the reference.

    Raises:
        InputError: the training images have no colours to measure.
        RunExistsError: the store has the reference of another training side.
    """
    ids = np.sort(table.pool.ids)
    chosen = ids[np.unique(np.linspace(0, len(ids) - 1, LOOKED_AT).astype(int))] if len(ids) else ids
    found = Reference.of(method, _plain(store, store.rows(chosen)))
    with alone(store.folder / ".fill.lock", "the pixel store"):  # another run may share it
        facts = stored_facts(store.folder) or {}
        if facts.get("stain") not in (None, found.stain.facts) and not anew:
            raise Kept(store.folder, facts).other(", and its colours by those of another training side")
        write_json(store.folder / "pixels.json", {**facts, "stain": found.stain.facts})
    return replace(store, stain=found.stain), found


def _plain(store: PixelStore, rows: NDArray[np.int64]) -> Iterator[Image]:
    """The images one after the other, as they came."""
    for row in rows:
        yield np.asarray(store.array[row])
