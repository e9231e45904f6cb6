"""A small labelled world: vectors of two encoders for images with classes, groups and a split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings

SIZES = {"basophil": 40, "eosinophil": 26, "platelet": 12}
World = tuple[ImageTable, dict[str, Embeddings]]


def make_world(*, seed: int = 0, grouped: bool = True, spread: float = 1.0) -> World:
    """Every third image of a class is a test image; groups of two lie on one side."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(SIZES), 20))
    rows = [(name, number) for name, size in SIZES.items() for number in range(size)]
    split = ["test" if number // 2 % 3 == 0 else "train" for _, number in rows]
    ids = [f"{name[0]}{number:03d}.png" for name, number in rows]
    table = ImageTable.of({
        "id": ids, "label": [name for name, _ in rows], "split": split,
        "group": [f"{name}-{number // 2}" for name, number in rows] if grouped else None,
        "sha256": [f"{place:064x}" for place in range(len(rows))],
    })
    codes = np.repeat(np.arange(len(SIZES)), list(SIZES.values()))
    vectors = centres[codes] + spread * random.normal(size=(len(codes), 20))
    made = {
        name: Embeddings(
            table.ids, (vectors * factor + factor).astype(np.float32), {"name": name, "hash": name * 8}, table
        )
        for name, factor in (("sharp", 1.0), ("blunt", 0.01))
    }
    return table, made


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def world_of() -> Callable[..., World]:
    return make_world
