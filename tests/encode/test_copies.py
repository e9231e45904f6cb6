"""Overlapping photographs on both sides of a split: an encoder finds them, and they are not learned from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.data.near_duplicates import near_duplicates
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.copies import copies_across
from hundredfold.encode.embed import Embeddings, embed
from hundredfold.encode.thumbnail import ThumbnailEncoder

SIDE, SHIFT = 80, 9


def field(seed: int) -> np.ndarray:
    """A coloured field of large, middle and fine texture, larger than a photograph of it."""
    rng = np.random.default_rng(seed)

    def texture(scale: float) -> np.ndarray:
        noise = cv2.GaussianBlur(rng.normal(size=(110, 110)), (0, 0), scale)[..., None]
        return noise / noise.std()

    shades = rng.uniform(90, 160, 3) + 25 * texture(8) + 15 * texture(4) + 8 * texture(1.2)
    return np.clip(shades, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve fields, and of the first two a second photograph some way off."""
    folder = tmp_path_factory.mktemp("fields")
    for number in range(12):
        whole = field(number)
        cv2.imwrite(str(folder / f"{'ab'[number % 2]}{number:02d}.png"), whole[:SIDE, :SIDE])
        if number < 2:
            twin = whole[SHIFT : SHIFT + SIDE, SHIFT : SHIFT + SIDE]
            cv2.imwrite(str(folder / f"{'ab'[number % 2]}{number:02d}_twin.png"), twin)
    return folder


@pytest.fixture(scope="module")
def embedded(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PixelStore, Embeddings]:
    work = tmp_path_factory.mktemp("work")
    table, store = fill(find_images(photographs), work / "pixels", size=SIDE, fit="pad")
    return store, embed(ThumbnailEncoder(), store, table, work / "out", batch=8, resume=False)


def test_what_thumbnails_miss_is_found_across_the_split_alone(
    embedded: tuple[PixelStore, Embeddings]
) -> None:
    store, found = embedded
    assert near_duplicates(store).empty
    sides = ["test" if name.endswith("_twin.png") else "train" for name in found.ids]
    pairs = copies_across(found, found.images.assign(split=sides), store)
    assert pairs[["first", "second"]].to_numpy().tolist() == [
        ["a00.png", "a00_twin.png"], ["b01.png", "b01_twin.png"]
    ]
    assert (pairs["likeness"] > 0.92).all()
    known = found.images.assign(split=sides, cluster=[name[:3] for name in found.ids])
    assert copies_across(found, known, store).empty
    assert copies_across(found, found.images.assign(split="train"), store).empty


def test_they_are_not_learned_from(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in photographs.iterdir())
    held = [name for name in names if name.endswith("_twin.png") or name in ("a02.png", "b03.png")]
    pd.DataFrame({
        "image": names, "label": [name[0] for name in names],
        "split": ["test" if name in held else "train" for name in names],
    }).to_csv(tmp_path / "labels.csv", index=False)
    run = tmp_path / "run"
    hundredfold.scan(photographs, labels=tmp_path / "labels.csv", out=run, pixel_size=SIDE)
    hundredfold.embed(run, encoder="thumbnail", out=run)
    hundredfold.fit(run, labels=tmp_path / "labels.csv", out=run, classifier="knn")
    assert "2 labelled training images show what an image held out shows" in capsys.readouterr().err
    memory = ImageTable.read(run / "images.parquet").train.ids
    assert "a00.png" in memory  # the split stays as it was drawn
    labels = pd.read_csv(run / "predictor" / "memory.csv").set_index("id")["label"]
    assert labels.reindex(["a00.png", "b01.png"]).isna().all()
    assert labels.notna().sum() == 8
    assert pd.read_csv(run / "copies_across.csv")["first"].tolist() == ["a00.png", "b01.png"]
