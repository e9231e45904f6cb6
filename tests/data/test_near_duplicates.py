"""Near-copies are found whatever was done to them, other cells are not, and none crosses the split."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hundredfold.data import near_duplicates as module
from hundredfold.data.near_duplicates import clusters_of, near_duplicates
from hundredfold.data.pixels import fill
from hundredfold.data.smear import draw_smear
from hundredfold.data.source import find_images
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.workflows.scan import scan


def saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def brighter(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image, float) * 1.1, 0, 255).astype(np.uint8))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "again": saved_again,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "both": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "cut": lambda image: image.crop((3, 1, 3 + 61, 1 + 61)),
    "brighter": brighter,
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PixelStore]:
    """80 drawn cells, and of the first ones a copy of each kind."""
    drawn = draw_smear(tmp_path_factory.mktemp("smear"), images=80, size=64, seed=3)
    folder = drawn / "images"
    for original, (name, change) in zip(sorted(folder.iterdir())[:6], COPIES.items(), strict=True):
        change(Image.open(original).convert("RGB")).save(original.with_name(f"{original.stem}__{name}.png"))
    return drawn, fill(find_images(folder), drawn / "pixels", size=64, fit="pad")[1]


def test_copies_of_every_kind_are_found_and_no_other_cells(planted: tuple[Path, PixelStore]) -> None:
    pairs = near_duplicates(planted[1])
    cell = r"(cell_\d+)"
    assert pairs["first"].str.extract(cell).equals(pairs["second"].str.extract(cell))
    assert set(pairs["second"].str.extract(r"__(\w+)[.]")[0]) == set(COPIES)
    assert pairs["likeness"].between(0.85, 1).all()


def test_of_very_many_images_the_same_copies_are_found(
    planted: tuple[Path, PixelStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In cells, and block by block."""
    exact = module._pairs(planted[1])
    monkeypatch.setattr(module, "EXACT", 10)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert module._pairs(planted[1]) == exact


def test_the_way_lays_the_first_upon_the_second(planted: tuple[Path, PixelStore]) -> None:
    store = planted[1]
    pairs = near_duplicates(store)
    for pair in pairs[~pairs["second"].str.contains("cut")].itertuples():
        first, second = store[store.rows([str(pair.first), str(pair.second)])].astype(float)
        turned = np.rot90(first, int(str(pair.turns)))
        laid = turned[:, ::-1] if pair.mirrored else turned
        assert np.corrcoef(laid.ravel(), second.ravel())[0, 1] > 0.97


def test_they_are_kept_with_the_pixels_and_looked_for_anew_when_images_are_added(
    planted: tuple[Path, PixelStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = near_duplicates(planted[1])
    monkeypatch.setattr("hundredfold.data.near_duplicates._pairs", lambda store: pytest.fail("again"))
    pd.testing.assert_frame_equal(near_duplicates(planted[1]), before)
    added = PixelStore(planted[1].folder, planted[1].count - 1, 64, "pad", None)
    with pytest.raises(pytest.fail.Exception):
        near_duplicates(added)


def test_a_frame_that_all_images_have_makes_no_copies(tmp_path: Path) -> None:
    """Endoscopes and ultrasound machines put the same dark mask and writing on every image."""
    rng = np.random.default_rng(0)
    for number in range(12):
        inside = cv2.GaussianBlur(rng.normal(size=(64, 64, 3)), (0, 0), 2)
        pixels = np.clip(128 + 200 * inside, 40, 255).astype(np.uint8)
        pixels[cv2.circle(np.zeros((64, 64)), (32, 32), 28, 1, -1) == 0] = 0
        cv2.putText(pixels, "LT BREAST", (2, 62), cv2.FONT_HERSHEY_PLAIN, 0.6, (255, 255, 255))
        (tmp_path / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
    store = fill(find_images(tmp_path / "images"), tmp_path / "pixels", size=64, fit="pad")[1]
    assert near_duplicates(store).empty


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_have_few_copies(tmp_path: Path, count: int) -> None:
    for number in range(count):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 20, 3), 90 + number, np.uint8))
    table = find_images(tmp_path) if count else ImageTable.of({"id": []})
    assert near_duplicates(fill(table, tmp_path / "pixels", size=16, fit="pad")[1]).empty


def test_clusters_join_through_each_other_and_strangers_do_not_count() -> None:
    pairs = pd.DataFrame({"first": ["b", "a", "x"], "second": ["c", "b", "d"]})
    assert clusters_of(pairs, ["a", "b", "c", "d"]).fillna("-").tolist() == ["a", "a", "a", "-"]
    assert clusters_of(None, ["a"]).isna().all()


def test_pieces_are_numbered_as_they_come() -> None:
    columns = {"id": list("abcd"), "group": [None, "p", None, "p"], "cluster": [None, "b", "b", None]}
    assert pieces_of(ImageTable.of(columns)).tolist() == [0, 1, 1, 1]


def test_a_scan_keeps_near_copies_together_and_tells(
    planted: tuple[Path, PixelStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, labels = planted[0], pd.read_csv(planted[0] / "labels.csv")[["image", "label"]]
    copies = [str(path.relative_to(drawn / "images")) for path in (drawn / "images").glob("*__*.png")]
    own = labels.set_index("image")["label"]
    given = [(name, own[name.split("__")[0] + ".jpg"]) for name in copies]
    given[0] = (given[0][0], "basophil" if given[0][1] != "basophil" else "monocyte")
    pd.concat([labels, pd.DataFrame(given, columns=["image", "label"])]).to_csv(
        tmp_path / "labels.csv", index=False
    )
    given_to = {"labels": tmp_path / "labels.csv", "pixels": drawn / "pixels", "pixel_size": 64}
    run = scan(drawn / "images", out=tmp_path / "run", **given_to)
    table = ImageTable.read(run / "images.parquet")
    assert table.frame.groupby("cluster")["split"].nunique().max() == 1
    assert table.frame["cluster"].notna().sum() == 12
    found = pd.read_csv(run / "near_copies.csv")
    assert len(found) == 6
    assert found["second"].iloc[0] == given[0][0]  # two labels: a person should look
    assert found["first_label"].iloc[0] != found["second_label"].iloc[0]
    assert "Near-copies: 12 images" in capsys.readouterr().err
    off = scan(drawn / "images", out=tmp_path / "off", near_copies=False, **given_to)
    assert ImageTable.read(off / "images.parquet").frame["cluster"].isna().all()
    assert "Near-copies: not looked for" in capsys.readouterr().err
