"""The pixel store: decoded once, continued where it was cut, one range for deep images."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from hundredfold.data import pixels as pixels_module
from hundredfold.data.image import Pixels
from hundredfold.data.journal import HEADER_BYTES
from hundredfold.data.pixels import PixelStore, ValueRange, fill
from hundredfold.data.resize import Fit, resize, scaled_size, to_square
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, RunExistsError, RunMissingError, TableError


def table_of(folder: Path, **columns: Any) -> ImageTable:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    ids = [path.relative_to(folder).as_posix() for path in paths]
    return ImageTable.of({"id": ids, "path": [str(path) for path in paths], **columns})


def write(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack")
    else:
        Image.fromarray(image).save(path)


def noise(seed: int, height: int = 24, width: int = 24) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve usable images of 24 px and three that are not."""
    folder = tmp_path / "images"
    for number in range(12):
        write(folder / f"{number:02d}.png", noise(number))
    (folder / "03b.jpg").write_bytes(b"<html>")
    (folder / "05b.png").write_bytes((folder / "05.png").read_bytes()[:-30])
    (folder / "11b.dcm").write_bytes(b"")
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Counts the images that are decoded; ``stop`` interrupts at that many."""
    calls = SimpleNamespace(count=0, stop=-1)
    answers = pixels_module.answers

    def counting(items: Any, task: Any) -> Any:
        if items and task(items[0])["do"] != "prepare":
            yield from answers(items, task)
            return
        for answer in answers(items, task):
            if calls.count == calls.stop:
                raise KeyboardInterrupt
            calls.count += 1
            yield answer

    monkeypatch.setattr(pixels_module, "answers", counting)
    return calls


def test_usable_images_get_a_row_and_rejected_ones_a_reason(images: Path, tmp_path: Path) -> None:
    table = table_of(images, label="cell")
    filled, store = fill(table, tmp_path / "pixels", size=24, fit="pad")
    assert list(filled.ids) == list(table.ids)
    assert filled.rejects[["image", "reason"]].to_numpy().tolist() == [
        ["03b.jpg", "not_image"], ["05b.png", "truncated"], ["11b.dcm", "empty"],
    ]
    assert filled.rejects["sentence"].str.len().min() > 10
    assert list(store.ids) == list(filled.usable.ids)
    assert store.array.shape == (12, 24, 24, 3)
    assert np.array_equal(store.array, [noise(number) for number in range(12)])
    usable = filled.usable.frame
    assert usable["sha256"].nunique() == 12
    assert (usable["width"] == 24).all()
    assert usable["note"].isna().all()
    assert (filled.frame["label"] == "cell").all()
    assert filled.frame.dtypes.equals(table.frame.dtypes)


def test_rows_are_found_by_id_and_read_as_a_copy(images: Path, tmp_path: Path) -> None:
    _, store = fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    rows = store.rows(["07.png", "02.png"])
    assert rows.dtype == np.int64
    assert np.array_equal(store[rows], [noise(7), noise(2)])
    store[rows][:] = 0
    assert np.array_equal(store[rows], [noise(7), noise(2)])
    assert len(store.rows([])) == 0
    assert store[np.array([], np.int64)].shape == (0, 24, 24, 3)
    with pytest.raises(ValueError, match="read-only"):
        store.array[0] = 0
    with pytest.raises(TableError, match=r"1 of 2 .*03b\.jpg"):
        store.rows(["07.png", "03b.jpg"])


def test_a_store_opened_again_or_in_another_process_is_the_same(images: Path, tmp_path: Path) -> None:
    _, store = fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    assert store.array.size
    pickled = pickle.dumps(store)
    assert len(pickled) < 2_000
    for other in (pickle.loads(pickled), PixelStore.open(tmp_path / "pixels")):
        assert np.array_equal(other.array, store.array)
        assert (other.size, other.fit, other.value_range) == (24, "pad", None)
    assert np.array_equal(np.load(tmp_path / "pixels" / "pixels.npy"), store.array)


def test_grey_images_get_three_equal_channels(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png", noise(0)[..., 0])
    _, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=24, fit="pad")
    assert np.array_equal(store.array[0], np.repeat(noise(0)[..., :1], 3, axis=-1))


def test_a_finished_store_is_reused_at_once(
    images: Path, tmp_path: Path, counted: SimpleNamespace
) -> None:
    first, store = fill(table_of(images), tmp_path / "pixels", size=None, fit="pad")
    assert counted.count == 15
    again, same = fill(table_of(images, label="later"), tmp_path / "pixels", size=None, fit="pad")
    assert counted.count == 15
    assert again.frame.drop(columns="label").equals(first.frame.drop(columns="label"))
    assert (again.frame["label"] == "later").all()
    assert np.array_equal(same.array, store.array)


def test_a_store_of_other_images_or_settings_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pixels"
    fill(table_of(images), folder, size=24, fit="pad")
    before = (folder / "pixels.npy").read_bytes()
    others: list[dict[str, Any]] = [
        {"size": 32, "fit": "pad"}, {"size": 24, "fit": "crop"},
        {"size": 24, "fit": "pad", "value_range": ValueRange(0, 1)},
    ]
    for changed in others:
        with pytest.raises(RunExistsError, match="--pixels"):
            fill(table_of(images), folder, **changed)
    write(images / "00.png", noise(99))
    with pytest.raises(RunExistsError):
        fill(table_of(images), folder, size=24, fit="pad")
    assert (folder / "pixels.npy").read_bytes() == before


@pytest.mark.parametrize("stop", [0, 1, 7, 14])
def test_an_interrupted_filling_goes_on_where_it_was(
    images: Path, tmp_path: Path, counted: SimpleNamespace, stop: int
) -> None:
    expected, whole = fill(table_of(images), tmp_path / "whole", size=24, fit="pad")
    counted.count, counted.stop = 0, stop
    with pytest.raises(KeyboardInterrupt):
        fill(table_of(images), tmp_path / "cut", size=24, fit="pad")
    with pytest.raises(RunMissingError, match="--resume"):
        PixelStore.open(tmp_path / "cut")
    counted.stop = -1
    filled, store = fill(table_of(images), tmp_path / "cut", size=24, fit="pad")
    assert counted.count == 15
    assert filled.frame.equals(expected.frame)
    assert (store.folder / "pixels.npy").read_bytes() == (whole.folder / "pixels.npy").read_bytes()
    names = {path.name for path in store.folder.iterdir()}
    assert names == {"pixels.npy", "pixels.json", "images.parquet"}


def deep_and_plain(folder: Path) -> ImageTable:
    for number in range(10):
        ramp = np.arange(24 * 24, dtype=np.uint16).reshape(24, 24)
        write(folder / f"{number}.png" if number % 3 == 0 else folder / f"{number}.tif", ramp + number * 100)
    write(folder / "plain.png", noise(1))
    write(folder / "rgb.tif", noise(2).astype(np.uint16) * 4)
    return table_of(folder)


@pytest.mark.parametrize("stop", [3, 11])
def test_an_interrupted_filling_of_deep_images_goes_on_too(
    tmp_path: Path, counted: SimpleNamespace, stop: int
) -> None:
    table = deep_and_plain(tmp_path / "in")
    _, whole = fill(table, tmp_path / "whole", size=16, fit="pad")
    counted.count, counted.stop = 0, stop
    with pytest.raises(KeyboardInterrupt):
        fill(table, tmp_path / "cut", size=16, fit="pad")
    counted.stop = -1
    _, store = fill(table, tmp_path / "cut", size=16, fit="pad")
    assert counted.count == 12
    assert np.array_equal(store.array, whole.array)
    assert store.value_range == whole.value_range


def test_a_failure_behind_the_last_image_costs_no_decoding(
    tmp_path: Path, counted: SimpleNamespace
) -> None:
    table = deep_and_plain(tmp_path / "in")

    def failing(_: ImageTable) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(table, tmp_path / "pixels", size=16, fit="pad", pool=failing)
    _, store = fill(table, tmp_path / "pixels", size=16, fit="pad")
    assert counted.count == len(store) == 12


@pytest.mark.parametrize("damage", ["torn line", "pixels gone", "other size", "no journal"])
def test_what_a_kill_left_half_written_does_no_harm(
    images: Path, tmp_path: Path, counted: SimpleNamespace, damage: str
) -> None:
    folder = tmp_path / "cut"
    counted.stop = 9
    with pytest.raises(KeyboardInterrupt):
        fill(table_of(images), folder, size=24, fit="pad")
    counted.stop = -1
    journal = folder / "journal.jsonl"
    if damage == "torn line":
        journal.write_bytes(journal.read_bytes()[:-7])
        with (folder / "pixels.npy").open("ab") as file:
            file.write(bytes(1_000))  # pixels that no line speaks of
    elif damage == "pixels gone":
        (folder / "pixels.npy").write_bytes(bytes(HEADER_BYTES))
    elif damage == "no journal":
        journal.write_bytes(b"")
    fit: Fit = "squash" if damage == "other size" else "pad"
    _, store = fill(table_of(images), folder, size=24, fit=fit)
    assert np.array_equal(store.array, [noise(number) for number in range(12)])


def test_after_kill_9_the_store_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(400):
        write(folder / f"{number:03d}.png", noise(number, 64, 64))
    table = table_of(folder)
    table.write(tmp_path / "table.parquet")
    _, whole = fill(table, tmp_path / "whole", size=64, fit="pad")
    script = (
        "import sys, time; from pathlib import Path\n"
        "from hundredfold.data import pixels, journal; from hundredfold.data.table import ImageTable\n"
        "journal.COMMIT_SECONDS = 0.02; answers = pixels.answers\n"
        "def slowly(*args): yield from (time.sleep(0.004) or answer for answer in answers(*args))\n"
        "pixels.answers = slowly; root = Path(sys.argv[1])\n"
        "pixels.fill(ImageTable.read(root / 'table.parquet'), root / 'cut', size=64, fit='pad')\n"
    )
    lines = tmp_path / "cut" / "journal.jsonl"
    kills = 0
    for least in (1, 150):  # lines in the journal at which it is killed
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
        while process.poll() is None and not (lines.is_file() and lines.read_bytes().count(b"\n") > least):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert not (tmp_path / "cut" / "pixels.json").exists()
    assert kills == 2
    _, store = fill(table, tmp_path / "cut", size=64, fit="pad")
    assert (store.folder / "pixels.npy").read_bytes() == (whole.folder / "pixels.npy").read_bytes()


def test_deep_images_share_one_range_and_keep_their_order(tmp_path: Path) -> None:
    for number in range(8):
        ramp = np.linspace(0, 1000, 64 * 64).reshape(64, 64) + 2000 * number
        write(tmp_path / "in" / f"{number}.tif", ramp.astype(np.uint16))
    _, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=64, fit="pad")
    assert store.value_range is not None
    assert store.value_range.low == pytest.approx(8, abs=4)
    assert store.value_range.high == pytest.approx(15_000 - 8, abs=4)
    means = store.array.mean(axis=(1, 2, 3))
    assert np.abs(means - (500 + 2000 * np.arange(8)) / 15_000 * 255).max() < 1
    assert PixelStore.open(store.folder).value_range == store.value_range


@pytest.mark.parametrize("count", [1_000, 1_953])
def test_the_range_is_of_all_channels_however_many_images_there_are(count: int) -> None:
    """Of 1,953 images every 96th value was looked at: always red."""
    image = np.empty((256, 256, 3), np.float32)
    image[:] = 100, 1_000, 50
    assert ValueRange.of([image] * count) == ValueRange(50, 1_000)


def test_at_least_a_thousand_grey_levels_reach_the_scaling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[int] = []
    scale = ValueRange.to_uint8

    def counting(self: ValueRange, values: Pixels) -> Pixels:
        levels.append(len(np.unique(values)))
        return scale(self, values)

    monkeypatch.setattr(ValueRange, "to_uint8", counting)
    ramp = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    write(tmp_path / "in" / "a.png", ramp)
    write(tmp_path / "in" / "b.tif", np.stack([ramp] * 3, axis=-1))
    _, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=64, fit="pad")
    assert levels == [4096, 4096]
    share = ((store.array == 0) | (store.array == 255)).mean()
    assert share < 0.02  # no saturation: black and white are two of 256 levels and .2 % of the pixels


def test_the_range_is_that_of_the_training_side(tmp_path: Path) -> None:
    for number, top in enumerate((1_000, 1_000, 60_000)):
        ramp = np.linspace(0, top, 24 * 24).reshape(24, 24).astype(np.uint16)
        write(tmp_path / "in" / f"{number}.tif", ramp)
    table = table_of(tmp_path / "in")
    split = table.assign(split=["train", None, "test"])
    _, store = fill(split, tmp_path / "split", size=24, fit="pad")
    assert store.value_range is not None
    assert store.value_range.high == pytest.approx(1_000, rel=0.02)

    asked: list[ImageTable] = []

    def pool(known: ImageTable) -> Any:
        asked.append(known)
        return (known.frame["width"] > 0).to_numpy() & (known.ids != "2.tif")

    _, pooled = fill(table, tmp_path / "pool", size=24, fit="pad", pool=pool)
    assert len(asked) == 1
    assert asked[0].frame["sha256"].notna().all()
    assert pooled.value_range == store.value_range
    _, everything = fill(table, tmp_path / "all", size=24, fit="pad")
    assert everything.value_range is not None
    assert everything.value_range.high > 30_000
    with pytest.raises(RunExistsError):  # the same images, but another training side
        fill(table, tmp_path / "pool", size=24, fit="pad", pool=lambda known: known.ids == "2.tif")


def test_a_given_range_makes_new_images_as_the_old_ones(tmp_path: Path) -> None:
    table = deep_and_plain(tmp_path / "in")
    _, store = fill(table, tmp_path / "old", size=16, fit="pad")
    few = table.select(np.isin(table.ids, ["3.png", "4.tif", "plain.png", "rgb.tif"]))
    _, new = fill(few, tmp_path / "new", size=16, fit="pad", value_range=store.value_range)
    assert new.value_range == store.value_range
    assert np.array_equal(new.array, store[store.rows(few.ids)])


def test_eight_bit_images_are_not_touched_by_the_range_of_deep_ones(tmp_path: Path) -> None:
    _, store = fill(deep_and_plain(tmp_path / "in"), tmp_path / "pixels", size=24, fit="pad")
    assert np.array_equal(store[store.rows(["plain.png"])][0], noise(1))


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=50), st.floats(-1e3, 1e3), st.floats(1, 1e4)
)
def test_scaling_keeps_the_order_and_cuts_outside(values: list[float], low: float, width: float) -> None:
    scaled = ValueRange(low, low + width).to_uint8(np.sort(np.float32(values))).astype(int)
    assert (np.diff(scaled) >= 0).all()
    ends = ValueRange(low, low + width).to_uint8(np.float32([low - 10, low + width + 10]))
    assert ends.tolist() == [0, 255]


def test_the_range_of_constant_deep_images_is_not_empty() -> None:
    limits = ValueRange.of([np.full((8, 8), 7, np.float32)])
    assert limits.high > limits.low


def test_without_a_size_the_images_own_is_kept_up_to_256(tmp_path: Path) -> None:
    def own(*sides: tuple[int, int]) -> int:
        folder = tmp_path / str(sides)
        for number, (height, width) in enumerate(sides):
            write(folder / "in" / f"{number}.png", noise(number, height, width))
        (folder / "in" / "bad.png").write_bytes(b"no image")
        return fill(table_of(folder / "in"), folder / "pixels", size=None, fit="pad")[1].size

    assert own((20, 30), (30, 30)) == 30
    assert own(*[(20, 20)] * 19, (100, 100)) == 20
    assert own((300, 20), (20, 300)) == 256
    assert own((10, 9)) == 16


def test_real_images_keep_their_size_and_their_pixels(shared: Path, tmp_path: Path) -> None:
    paths = sorted((shared / "data" / "chula_rbc" / "images").iterdir())[:40]
    table = ImageTable.of({"id": [path.name for path in paths], "path": [str(path) for path in paths]})
    filled, store = fill(table, tmp_path / "pixels", size=None, fit="pad")
    assert len(filled.rejects) == 0
    assert np.array_equal(store.array[7], np.asarray(Image.open(paths[7]).convert("RGB")))


def test_a_large_jpeg_is_the_same_within_two_grey_levels_as_decoded_whole(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(noise(0, 600, 800), (0, 0), 9)
    (tmp_path / "in").mkdir()
    Image.fromarray(smooth).save(tmp_path / "in" / "a.jpg", quality=95)
    filled, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=64, fit="squash")
    assert (filled.frame.loc[0, "width"], filled.frame.loc[0, "height"]) == (800, 600)
    expected = cv2.resize(smooth, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(store.array[0].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("fit", ["pad", "crop", "squash"])
@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (64, 64), (9, 200), (33, 32)])
def test_every_fit_gives_a_square(fit: Fit, shape: tuple[int, int]) -> None:
    for dtype in (np.uint8, np.float32):
        for channels in ((), (3,)):
            pixels = np.full((*shape, *channels), 90, dtype)
            square = to_square(pixels, 32, fit)
            assert square.shape == (32, 32, *channels)
            assert square.dtype == dtype
            assert np.abs(square.astype(float) - 90).max() < 1e-3


def test_pad_keeps_all_and_reflects_crop_keeps_the_middle_squash_keeps_the_corners() -> None:
    image = np.zeros((20, 60), np.uint8)
    image[:, 20:40] = 100
    image[0, 0] = 255
    padded = to_square(image, 60, "pad")
    assert np.array_equal(padded[20:40], image)
    assert np.array_equal(padded[10:20], image[10:0:-1])
    assert (to_square(image, 20, "crop") == 100).all()
    assert to_square(image, 60, "squash")[0, 0] > 200


def test_shrinking_is_antialiased() -> None:
    checkers = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for width, height in ((32, 32), (30, 30), (50, 128), (20, 200)):  # also where one side grows
        shrunk = resize(checkers, width, height).astype(float)
        assert abs(shrunk.mean() - 127.5) < 1.5
        assert shrunk.std() < 45, (width, height)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(8, 90), width=st.integers(8, 90), size=st.integers(8, 40), seed=st.integers(0, 99)
)
def test_shrinking_keeps_the_mean_and_never_leaves_the_values(
    height: int, width: int, size: int, seed: int
) -> None:
    image = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    small = resize(image, min(size, width), min(size, height))
    assert abs(small.mean() - image.mean()) < 1e-3
    assert image.min() - 1e-5 <= small.min() <= small.max() <= image.max() + 1e-5


@given(st.integers(1, 5_000), st.integers(1, 5_000), st.integers(8, 512))
def test_the_scaled_size_touches_the_square(width: int, height: int, size: int) -> None:
    assert max(scaled_size(width, height, size=size, fit="pad")) == size
    assert min(scaled_size(width, height, size=size, fit="crop")) == size


def test_dicom_frames_are_rows_of_their_own(tmp_path: Path) -> None:
    path = get_testdata_file("SC_rgb_rle_2frame.dcm")
    table = ImageTable.of({"id": ["a.dcm#0", "a.dcm#1", "a.dcm"], "path": [str(path)] * 3})
    filled, store = fill(table, tmp_path / "pixels", size=100, fit="pad")
    assert list(filled.rejects["reason"]) == ["multi_page"]
    assert np.array_equal(store.array[0], 255 - store.array[1])  # pydicom made the second frame so


def test_names_may_hold_anything(tmp_path: Path) -> None:
    names = ["a b.png", "plate#3", "é\u4e2d.png", "two\nlines.png", "#1"]
    for number, name in enumerate(names):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(noise(number)).save(tmp_path / "in" / name, "PNG")
    filled, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=24, fit="pad")
    assert len(filled.usable) == 5
    for number, name in enumerate(names):
        assert np.array_equal(store[store.rows([name])][0], noise(number))


def test_images_with_a_problem_are_passed_over_and_remarks_are_kept(
    images: Path, tmp_path: Path, counted: SimpleNamespace
) -> None:
    table = table_of(images)
    problem = [("bad_name" if name == "01.png" else None) for name in table.ids]
    note = ["rename it" if name == "01.png" else "from the list" for name in table.ids]
    write(images / "02.png", np.full((24, 24, 3), 7, np.uint8))
    filled, store = fill(table.assign(problem=problem, note=note), tmp_path / "pixels", size=24, fit="pad")
    assert counted.count == 14
    assert "01.png" not in store.ids
    rows = filled.frame.set_index("id")
    assert (rows.loc["01.png", "problem"], rows.loc["01.png", "note"]) == ("bad_name", "rename it")
    assert rows.loc["02.png", "note"] == "from the list; constant"
    assert rows.loc["00.png", "note"] == "from the list"


def test_a_file_that_vanished_is_rejected_by_name(images: Path, tmp_path: Path) -> None:
    table = table_of(images)
    (images / "04.png").unlink()
    filled, _ = fill(table, tmp_path / "pixels", size=24, fit="pad")
    assert filled.rejects.set_index("image").loc["04.png", "reason"] == "no_file"


def test_a_folder_without_a_usable_image_gives_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    filled, store = fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=None, fit="pad")
    assert len(filled.rejects) == 1
    assert len(store) == 0
    assert store.array.shape[0] == 0
    assert np.load(tmp_path / "pixels" / "pixels.npy").shape == store.array.shape


def test_a_disk_that_is_too_small_is_told_before_anything_is_decoded(
    images: Path, tmp_path: Path, counted: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(InputError, match=r"15 images of 24 px need .* --pixel-size"):
        fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    assert counted.count == 0


def test_a_damaged_store_is_told(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pixels"
    with pytest.raises(RunMissingError):
        PixelStore.open(folder)
    fill(table_of(images), folder, size=24, fit="pad")
    with (folder / "pixels.npy").open("r+b") as file:
        file.truncate(5_000)
    with pytest.raises(InputError, match="12 images of 24 px"):
        PixelStore.open(folder)
    write(images / "99.png", noise(99))
    with pytest.raises(InputError, match="12 images of 24 px"):  # the lost ones would have become black
        fill(table_of(images), folder, size=24, fit="pad")
    (folder / "pixels.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"pixels\.json"):
        PixelStore.open(folder)


def test_nothing_of_a_patient_comes_into_the_store(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from pydicom import dcmread, dcmwrite

    (tmp_path / "in").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_truncated.dcm", "badVR.dcm"):
        dataset = dcmread(get_testdata_file(name))
        dataset.PatientName, dataset.PatientID = "Planted^Name", "PLANTED1"
        dataset.PatientComments = "planted"
        dataset.preamble = b"planted".ljust(128, b"\0")
        dcmwrite(tmp_path / "in" / name, dataset)
    fill(table_of(tmp_path / "in"), tmp_path / "pixels", size=64, fit="pad")
    files = [path for path in (tmp_path / "pixels").iterdir() if path.is_file()]
    assert len(files) == 3
    said = "".join(capfd.readouterr())
    assert all(b"planted" not in path.read_bytes().lower() for path in files)
    assert "planted" not in said.lower()


def test_what_the_store_depends_on_is_written_beside_it(images: Path, tmp_path: Path) -> None:
    fill(table_of(images), tmp_path / "pixels", size=None, fit="crop")
    facts = json.loads((tmp_path / "pixels" / "pixels.json").read_text(encoding="utf-8"))
    assert (facts["count"], facts["size"], facts["fit"], facts["value_range"]) == (12, 24, "crop", None)
    assert facts["head"]["size"] is None


def told(folder: Path, table: ImageTable, **options: Any) -> tuple[ImageTable, PixelStore, tuple[int, int]]:
    """What a filling gives, and how many images it says it decoded and found there."""
    counts: list[tuple[int, int]] = []
    filled, store = fill(table, folder, fit="pad", tell=lambda *pair: counts.append(pair), **options)
    (pair,) = counts
    return filled, store, pair


def test_only_what_is_new_is_decoded_and_old_rows_stay_where_they_are(
    images: Path, tmp_path: Path, counted: SimpleNamespace
) -> None:
    before, old, pair = told(tmp_path / "pixels", table_of(images), size=None)
    assert pair == (15, 0)
    kept = old.array.copy()
    write(images / "05a.png", noise(77, 30, 30))
    (images / "99.png").write_bytes(b"")
    (images / "00.png").unlink()
    write(images / "05b.png", noise(55))  # was cut short, and came whole
    counted.count = 0
    filled, store, pair = told(tmp_path / "pixels", table_of(images), size=None)
    assert pair == (3, 13)
    assert counted.count == 3
    assert store.size == old.size == 24
    assert np.array_equal(store.array[:12], kept)
    assert np.array_equal(store[store.rows(["05b.png"])][0], noise(55))
    assert "05a.png" in filled.usable.ids
    assert list(filled.rejects["reason"]) == ["not_image", "empty", "empty"]
    _, fresh, _ = told(tmp_path / "fresh", table_of(images), size=24)
    assert np.array_equal(store[store.rows(filled.usable.ids)], fresh[fresh.rows(filled.usable.ids)])
    assert filled.frame.equals(fill(table_of(images), tmp_path / "fresh", size=24, fit="pad")[0].frame)
    # the store as the first run opened it, and as it opens it again
    for seen in (old, PixelStore.open(tmp_path / "pixels")):
        assert np.array_equal(seen[seen.rows(before.usable.ids)], kept)
    assert np.array_equal(np.load(store.folder / "pixels.npy"), store.array)
    assert told(tmp_path / "pixels", table_of(images), size=None)[2] == (0, 16)


def test_a_second_set_of_another_size_is_refused_unless_it_asks_for_that_of_the_store(tmp_path: Path) -> None:
    for name, sides in {"small": [24] * 9, "large": [24, 60, 60, 60], "near": [26] * 4}.items():
        for number, side in enumerate(sides):
            write(tmp_path / name / f"{name}{number}.png", noise(number, side, side))
    folder, small, large = tmp_path / "pixels", table_of(tmp_path / "small"), table_of(tmp_path / "large")
    told(folder, small, size=None)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refusal = r": those of 24 px, and these have 60 px by themselves .* or give --pixel-size 24 for"
    with pytest.raises(RunExistsError, match=refusal):
        told(folder, large, size=None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    _, store, pair = told(folder, large, size=24)
    assert (store.size, pair) == (24, (4, 0))
    assert told(folder, table_of(tmp_path / "near"), size=None)[1].size == 24
    for size in (None, 24):  # the first set's own size, and the same by name
        assert told(folder, small, size=size)[2] == (0, 9)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_an_addition_that_was_interrupted_harms_no_one_and_goes_on(
    images: Path, tmp_path: Path, counted: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    first, old, _ = told(tmp_path / "pixels", table_of(images), size=24)
    kept = old.array.copy()
    for number in range(20, 24):
        write(images / f"{number}.png", noise(number))
    counted.count, counted.stop = 0, stop
    with monkeypatch.context() as patch:
        if stop == 3:  # all are decoded; the last file, which makes it count, is not written
            counted.stop = -1
            patch.setattr(pixels_module, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    counted.stop = -1
    between = PixelStore.open(tmp_path / "pixels")
    assert list(between.ids) == list(first.usable.ids)
    assert np.array_equal(between.array, kept)
    _, store, pair = told(tmp_path / "pixels", table_of(images), size=24)
    assert sum(pair) == 19
    assert counted.count == 4
    assert np.array_equal(store[store.rows(["22.png"])][0], noise(22))
    assert {path.name for path in store.folder.iterdir()} == {"pixels.npy", "pixels.json", "images.parquet"}


def test_deep_images_may_come_to_plain_ones_but_not_to_deep_ones(images: Path, tmp_path: Path) -> None:
    fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    ramp = np.arange(24 * 24, dtype=np.uint16).reshape(24, 24)
    write(images / "20.tif", ramp * 100)
    _, store = fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")
    _, fresh = fill(table_of(images), tmp_path / "fresh", size=24, fit="pad")
    assert store.value_range == fresh.value_range
    assert np.array_equal(store[store.rows(["20.tif"])], fresh[fresh.rows(["20.tif"])])
    assert np.array_equal(store.array[:12], [noise(number) for number in range(12)])
    write(images / "21.tif", ramp)
    with pytest.raises(RunExistsError, match="share one range"):
        fill(table_of(images), tmp_path / "pixels", size=24, fit="pad")


def test_files_that_change_or_vanish_while_others_are_decoded_are_rejected_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(60):
        write(folder / f"{number:02d}.png", noise(number, 400, 400))

    def harm() -> None:
        while not (tmp_path / "pixels" / "journal.jsonl").exists():
            time.sleep(0.001)
        (folder / "59.png").unlink()
        write(folder / "58.png", noise(99, 300, 300))

    thread = threading.Thread(target=harm)
    thread.start()
    filled, store = fill(table_of(folder), tmp_path / "pixels", size=24, fit="pad")
    thread.join()
    assert filled.rejects.set_index("image")["reason"].to_dict() == {"58.png": "changed", "59.png": "no_file"}
    assert len(store) == 58
