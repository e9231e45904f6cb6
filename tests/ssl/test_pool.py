"""A pool keeps a few bytes an image, and finds the same pixels, draws and labels as the whole table does."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from hundredfold.data import table as table_module
from hundredfold.data.pixels import fill
from hundredfold.data.smear import draw_smear
from hundredfold.data.source import find_images
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable, TableFile
from hundredfold.errors import TableError
from hundredfold.ssl.batches import BatchOrder, ViewBatches
from hundredfold.ssl.pool import Pool
from hundredfold.views.multicrop import MultiCrop, image_key


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageTable, PixelStore]:
    """Forty images: one cannot be used, every third is on the test side, every second has a label."""
    folder = tmp_path_factory.mktemp("pool")
    draw_smear(folder, images=40, size=32, seed=0)
    sorted((folder / "images").iterdir())[7].write_bytes(b"")
    table, store = fill(find_images(folder / "images"), folder / "pixels", size=32, fit="pad")
    number = np.arange(40)
    table = table.assign(
        split=np.where(number % 3 == 0, "test", "train"), label=np.where(number % 2 == 0, "cell", None)
    )
    table.write(folder / "images.parquet")
    return folder / "images.parquet", table, store


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "PART", 7)


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.usefixtures("small_parts")
def test_a_pool_of_the_file_is_that_of_the_table(
    scanned: tuple[Path, ImageTable, PixelStore], transductive: bool
) -> None:
    path, table, store = scanned
    images = table.usable if transductive else table.pool
    for pool in (Pool(TableFile(path, transductive), store), Pool(images, store)):
        assert len(pool) == len(images) == (39 if transductive else 25)
        assert np.array_equal(pool.rows, store.rows(images.ids))
        assert pool.keys.tolist() == [image_key(name) for name in images.ids]
        assert pool.seen() == frozenset(images.frame["sha256"])
        marked = images.frame["label"].notna() & (images.frame["split"] == "train")
        assert np.array_equal(pool.labelled(), np.flatnonzero(marked))
        places = np.array([20, 3, 11])
        assert list(pool.take(places, "id", "label")["id"]) == list(images.ids[places])


def test_an_image_that_is_not_in_the_store_is_named(scanned: tuple[Path, ImageTable, PixelStore]) -> None:
    _, table, store = scanned
    with pytest.raises(TableError, match=r"1 of 40 images are not in the pixel store \(cell_"):
        Pool(table, store)


def test_a_file_that_is_no_image_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "images.parquet").write_bytes(b"nothing")
    with pytest.raises(TableError, match="cannot read the image table"):
        TableFile(tmp_path / "images.parquet")


def test_a_worker_gets_sixteen_bytes_an_image(scanned: tuple[Path, ImageTable, PixelStore]) -> None:
    path, _, store = scanned
    views = MultiCrop("microscopy", image_size=16, local_size=16, local_crops=0)
    few, many = Pool(TableFile(path), store), Pool(TableFile(path), store)
    many.rows, many.keys = np.tile(few.rows, 100), np.tile(few.keys, 100)
    sizes = [len(pickle.dumps(ViewBatches(p, BatchOrder(len(p), 8, 0), views))) for p in (few, many)]
    assert (sizes[1] - sizes[0]) / (99 * 25) == pytest.approx(16, abs=0.5)
