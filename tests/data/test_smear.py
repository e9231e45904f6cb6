"""The synthetic smear: the same for everyone, quick, easy to see and hard for single pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hundredfold.data.labels import LabelSet
from hundredfold.data.pixels import fill
from hundredfold.data.profile import profile
from hundredfold.data.smear import CELLS, draw_smear
from hundredfold.data.source import find_images
from hundredfold.data.splits import draw_splits, split_sizes
from hundredfold.data.table import ImageTable
from hundredfold.files import hash_folder


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred cells."""
    return draw_smear(tmp_path_factory.mktemp("smear"), images=300, size=32, seed=0)


def labelled(smear: Path) -> ImageTable:
    """The smear's images with their labels."""
    images = find_images(smear / "images")
    return LabelSet.read(smear / "labels.csv", images).apply(images)


def test_every_image_has_a_class_and_a_slide(smear: Path) -> None:
    labels = pd.read_csv(smear / "labels.csv")
    assert list(labels) == ["image", "label", "group"]
    assert sorted(path.name for path in (smear / "images").iterdir()) == sorted(labels["image"])
    assert set(labels["label"]) == set(CELLS)
    assert labels["label"].value_counts().min() >= 20
    assert labels["group"].nunique() == 15
    assert labels.groupby("group")["label"].nunique().min() > 1


def test_the_smear_is_a_function_of_its_seed(tmp_path: Path) -> None:
    folders = {(name, seed): draw_smear(tmp_path / f"{name}{seed}", images=12, size=24, seed=seed)
               for name, seed in (("a", 0), ("b", 0), ("c", 1))}
    hashes = [hash_folder(folder) for folder in folders.values()]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_first_images_do_not_depend_on_how_many_follow(tmp_path: Path) -> None:
    few, more = (draw_smear(tmp_path / f"{n}", images=n, size=24) for n in (8, 16))
    assert (few / "images/cell_00003.jpg").exists()
    labels = [pd.read_csv(folder / "labels.csv")["label"][:6].tolist() for folder in (few, more)]
    assert labels[0] == labels[1] == list(CELLS)


@pytest.mark.parametrize("size", [24, 64, 96])
def test_images_have_the_size_asked_for(tmp_path: Path, size: int) -> None:
    draw_smear(tmp_path, images=6, size=size)
    for path in (tmp_path / "images").iterdir():
        image = cv2.imread(str(path))
        assert image.shape == (size, size, 3)
        assert image.std() > 5


def test_a_grouped_split_of_the_smear_has_every_class_on_both_sides(smear: Path) -> None:
    sizes = split_sizes(draw_splits(labelled(smear), test_size=1 / 3, seed=0))
    assert (sizes[["train", "test"]] >= 5).all(axis=None)


def test_thumbnails_do_poorly_but_not_at_random(smear: Path) -> None:
    """Nearest neighbours on 8 px thumbnails, the slide's own left out: between chance (.17) and .7."""
    labels = pd.read_csv(smear / "labels.csv")
    thumbnails = np.stack([
        cv2.resize(cv2.imread(str(smear / "images" / name)), (8, 8), interpolation=cv2.INTER_AREA).ravel()
        for name in labels["image"]
    ]).astype(np.float32)
    distance = ((thumbnails[:, None] - thumbnails[None]) ** 2).sum(-1)
    groups = labels["group"].to_numpy()
    distance[groups[:, None] == groups] = np.inf
    nearest = labels["label"].to_numpy()[distance.argmin(axis=1)]
    right = pd.Series(nearest == labels["label"]).groupby(labels["label"]).mean()
    assert 0.2 < right.mean() < 0.7


def test_the_profile_tells_slides_apart_by_colour(smear: Path, tmp_path: Path) -> None:
    table, store = fill(labelled(smear), tmp_path, size=None, fit="pad")
    facts = profile(table, store)
    assert facts["id"].tolist() == list(store.ids)
    pixels = store[[7]][0].astype(float)
    row = facts.iloc[7]
    colours = pixels.mean(axis=(0, 1)).tolist()
    assert row[["red", "green", "blue"]].tolist() == pytest.approx(colours, abs=0.01)
    luma = pixels @ [0.299, 0.587, 0.114]
    assert (row["brightness"], row["contrast"]) == pytest.approx((luma.mean(), luma.std()), abs=0.5)
    assert (row["width"], row["height"], row["aspect"]) == (32, 32, 1)
    spread = facts.groupby(table.frame["group"])["brightness"].mean().std()
    assert spread > 5


def test_the_profile_of_no_images_has_its_columns(tmp_path: Path) -> None:
    table, store = fill(ImageTable.of({"id": []}), tmp_path, size=16, fit="pad")
    assert {"id", "label", "brightness", "aspect"} <= set(profile(table, store))
