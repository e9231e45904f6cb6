"""Deep images: the training side alone tells what is black and white, without copies of test images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve 16-bit textures up to 4,000, and one up to 50,000 with a copy a little brighter."""
    (tmp_path / "images").mkdir()
    for number in range(13):
        rng = np.random.default_rng(number)
        texture = cv2.GaussianBlur(rng.normal(size=(64, 64)), (0, 0), 2)
        texture = (texture - texture.min()) / np.ptp(texture)
        top = 50_000 if number == 12 else 4_000
        cv2.imwrite(str(tmp_path / "images" / f"{number:02d}.png"), (texture * top).astype(np.uint16))
    bright = cv2.imread(str(tmp_path / "images" / "12.png"), cv2.IMREAD_UNCHANGED) * 1.1
    cv2.imwrite(str(tmp_path / "images" / "12_copy.png"), bright.astype(np.uint16))
    return tmp_path


def labelled(folder: Path, held: str) -> Path:
    """Labels with one test image; if it is the bright one, its copy has no side of its own."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    rows = pd.DataFrame({"image": names, "label": [f"class {place % 2}" for place in range(len(names))]})
    rows["split"] = "train"
    rows.loc[rows["image"] == held, "split"] = "test"
    if held == "12.png":
        rows.loc[rows["image"] == "12_copy.png", "split"] = None
    rows.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def test_a_near_copy_that_follows_a_test_image_does_not_tell_the_range(folder: Path) -> None:
    run = hundredfold.scan(folder / "images", labels=labelled(folder, "12.png"), out=folder / "run")
    table = ImageTable.read(run / "images.parquet").frame.set_index("id")
    assert table.loc["12_copy.png", "split"] == "test"
    limits = PixelStore.open(run.pixels).value_range
    assert limits is not None
    assert limits.high <= 4_000
    again = PixelStore.open(run.pixels)
    assert again[again.rows(["12_copy.png"])].max() == 255


def test_of_the_training_side_both_tell_it(folder: Path) -> None:
    run = hundredfold.scan(folder / "images", labels=labelled(folder, "00.png"), out=folder / "run")
    limits = PixelStore.open(run.pixels).value_range
    assert limits is not None
    assert limits.high > 30_000
    assert run.state["decoding"]["decoded"] == 0  # nothing moved, so nothing was decoded again
