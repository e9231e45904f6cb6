"""The shortcut baseline sees the frame, the light and the source of images, and nothing of what they show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hundredfold.config import CurveChoices
from hundredfold.data.pixels import fill
from hundredfold.data.profile import profile
from hundredfold.data.source import find_images
from hundredfold.data.table import ImageTable
from hundredfold.learn.curve import learning_curve
from hundredfold.learn.shortcuts import SHORTCUT, shortcut_embeddings

NUMBER, SIDE = 60, 32
STRIPES = np.indices((SIDE, SIDE)) // 4 % 2 * 160 + 40  # [2,h,w]: the same grey values, turned by a quarter


def images_of(folder: Path, *, tint: bool, places: tuple[str, str] = ("all", "all"),
              kinds: tuple[str, str] = ("png", "png")) -> ImageTable:
    """Stripes that lie or stand, a class each; with ``tint`` the frame of one class is pink."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(2 * NUMBER):
        code = number % 2
        pixels = np.repeat(np.roll(STRIPES[code], number, axis=code)[..., None], 3, axis=2)
        pixels = np.clip(pixels + rng.normal(scale=10, size=pixels.shape), 0, 255).astype(np.uint8)
        if tint and code:
            pixels[:2] = pixels[-2:] = pixels[:, :2] = pixels[:, -2:] = (250, 180, 200)
        name = f"{places[code]}/{number:03d}.{kinds[code]}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), pixels[..., ::-1])
        rows.append((name, ("lying", "standing")[code], "test" if number % 3 == 0 else "train"))
    table = find_images(folder).by_id([name for name, _, _ in rows])
    return table.assign(label=[label for _, label, _ in rows], split=[split for _, _, split in rows])


def reached(table: ImageTable, folder: Path) -> tuple[float, list[str]]:
    table, store = fill(table, folder / "pixels", size=None, fit="pad")
    embeddings = shortcut_embeddings(table, profile(table, store))
    choices = CurveChoices.of(budgets=(30,), classifiers=("lda",), repeats=2, bootstrap=0)
    curve = learning_curve({SHORTCUT: embeddings}, table, choices)
    return float(curve.table().iloc[0, 0]), embeddings.encoder["features"]


def test_a_tinted_frame_is_found_and_what_the_image_shows_is_not(tmp_path: Path) -> None:
    alike, features = reached(images_of(tmp_path / "alike" / "images", tint=False), tmp_path / "alike")
    assert alike < 0.7  # guessing is .5
    assert not [name for name in features if name.startswith(("kind", "folder"))]
    tinted, _ = reached(images_of(tmp_path / "tinted" / "images", tint=True), tmp_path / "tinted")
    assert tinted > 0.98


@pytest.mark.parametrize(("given", "expected"), [
    ({"places": ("clinic_a", "clinic_b")}, 1.0),
    ({"kinds": ("png", "bmp")}, 1.0),
    ({"places": ("Lying", "standing")}, 0.5),  # sorted by label: that says nothing of the source
])
def test_source_and_kind_of_file_are_told_unless_folders_are_the_labels(
    tmp_path: Path, given: dict[str, tuple[str, str]], expected: float
) -> None:
    found, _ = reached(images_of(tmp_path / "images", tint=False, **given), tmp_path)
    assert found == pytest.approx(expected, abs=0.2)


def test_the_border_of_the_profile_is_the_mean_of_its_pixels(tmp_path: Path) -> None:
    table, store = fill(images_of(tmp_path / "images", tint=True), tmp_path / "pixels", size=None, fit="pad")
    facts = profile(table, store)
    for place in (0, 1):
        pixels = store[store.rows(table.ids[place : place + 1])][0].astype(float)
        pixels[2:-2, 2:-2] = np.nan
        expected = np.nanmean(pixels, axis=(0, 1))
        assert facts[["border_red", "border_green", "border_blue"]].iloc[place].tolist() == pytest.approx(
            expected.tolist(), abs=0.01
        )
