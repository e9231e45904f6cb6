"""Overlapping photographs on both sides of a split: an encoder finds them, and they are not learned from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.config import CurveChoices
from hundredfold.data.near_duplicates import near_duplicates
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.copies import copies_across, copies_among, join
from hundredfold.encode.embed import Embeddings, embed
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.learn.outer import sides_of
from hundredfold.workflows.labelled import label, read_embeddings, with_split

SIDE, SHIFT = 80, 9
TWINS = [("a00.png", "a00_twin.png"), ("b01.png", "b01_twin.png")]


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
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == TWINS
    assert (pairs["likeness"] > 0.92).all()
    known = found.images.assign(split=sides, cluster=[name[:3] for name in found.ids])
    assert copies_across(found, known, store).empty
    assert copies_across(found, found.images.assign(split="train"), store).empty
    among = copies_among(found, found.images.assign(split="train"), store)
    assert list(zip(among["first"], among["second"], strict=True)) == TWINS
    assert copies_among(found, known, store).empty


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


def test_outer_splits_part_none_of_them(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in photographs.iterdir())
    labels = tmp_path / "labels.csv"
    pd.DataFrame({"image": names, "label": [name[0] for name in names]}).to_csv(labels, index=False)
    run = tmp_path / "run"
    hundredfold.scan(photographs, labels=labels, out=run, pixel_size=SIDE)
    hundredfold.embed(run, encoder="thumbnail", out=run)
    table = label(run, read_embeddings(run), labels, outer=True)
    assert "2 pairs of labelled images show the same" in capsys.readouterr().err
    for seed in range(5):
        for trial in sides_of(table, CurveChoices.of(outer_splits=3), seed=seed).trials:
            held = set(trial.test.ids)
            assert all((one in held) == (other in held) for one, other in TWINS)
            assert len(held) + len(trial.train) == len(names)
    assert pd.read_csv(run / "copies_among.csv")["first"].tolist() == [one for one, _ in TWINS]


def test_a_split_that_is_drawn_after_the_scan_parts_none_of_them(photographs: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in photographs.iterdir())
    labels, run = tmp_path / "labels.csv", tmp_path / "run"
    pd.DataFrame({"image": names, "label": [name[0] for name in names]}).to_csv(labels, index=False)
    hundredfold.scan(photographs, out=run, pixel_size=SIDE)
    hundredfold.embed(run, encoder="thumbnail", out=run)
    table = label(run, read_embeddings(run), labels)
    for seed in range(5):
        sides = with_split(table, seed=seed).frame.set_index("id")["split"]
        assert set(sides) == {"train", "test"}
        assert all(sides[one] == sides[other] for one, other in TWINS)


def test_clusters_that_a_pair_links_become_one() -> None:
    table = ImageTable.of({"id": list("abcdefg"), "cluster": ["a", "a", "c", "c", None, None, "g"]})
    pairs = pd.DataFrame({"first": ["b", "d"], "second": ["c", "e"]})
    assert pieces_of(join(table, pairs)).tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert pieces_of(join(table, pairs[:0])).tolist() == [0, 0, 1, 1, 2, 3, 4]
