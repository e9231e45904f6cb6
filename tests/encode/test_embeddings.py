"""Embeddings: sharded, resumable to the same bytes, and never of two encoders."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.data.pixels import fill
from hundredfold.data.store import PixelStore, ValueRange
from hundredfold.data.table import ImageTable
from hundredfold.encode import shards
from hundredfold.encode.embed import Embeddings, embed
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import (
    HundredfoldError,
    ModelFileError,
    RunExistsError,
    RunMissingError,
    SettingsError,
)

IMAGES = 23


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageTable, PixelStore]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        cv2.imwrite(str(folder / f"ä {number:02d}.png"), rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    (folder / "broken.png").write_bytes(b"no image")
    paths = sorted(folder.iterdir())
    table = ImageTable.of({"id": [path.name for path in paths], "path": [str(path) for path in paths]})
    return fill(table, folder / "store", size=16, fit="pad")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 5)


class Interrupted(ThumbnailEncoder):
    """Is interrupted after some images."""

    def __init__(self, after: int) -> None:
        super().__init__(side=4)
        self.left = after

    def encode(self, batch: np.ndarray) -> np.ndarray:
        self.left -= len(batch)
        if self.left < 0:
            raise KeyboardInterrupt
        return super().encode(batch)


def test_every_usable_image_gets_its_own_vector(data, tmp_path: Path) -> None:
    table, store = data
    found = embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    assert len(found) == IMAGES
    assert "broken.png" not in found.ids
    expected = ThumbnailEncoder().encode(store[store.rows(found.ids)])
    np.testing.assert_array_equal(found.vectors, expected)
    assert found.vectors.dtype == np.float32
    assert list(found.images.ids) == list(found.ids)
    assert found.encoder["hash"] == ThumbnailEncoder().hash


def test_the_files_are_what_they_are_said_to_be(data, tmp_path: Path) -> None:
    table, store = data
    found = embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    parts = [pd.read_parquet(path) for path in sorted(tmp_path.glob("part-*.parquet"))]
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    assert list(pd.concat(parts)["id"]) == list(found.ids)
    np.testing.assert_array_equal(np.stack(pd.concat(parts)["vector"]), found.vectors)
    facts = json.loads((tmp_path / "embeddings.json").read_text())
    assert (facts["images"], facts["dimension"], facts["encoder"]["name"]) == (IMAGES, 864, "thumbnail")


def test_reading_and_writing_is_a_round_trip(data, tmp_path: Path) -> None:
    table, store = data
    made = embed(ThumbnailEncoder(), store, table, tmp_path / "a", batch=4, resume=False)
    seen = frozenset({"1" * 64, "2" * 64})
    Embeddings(made.ids, made.vectors, made.encoder, made.images, seen).write(tmp_path / "b")
    again = Embeddings.read(tmp_path / "b")
    np.testing.assert_array_equal(again.vectors, made.vectors)
    pd.testing.assert_frame_equal(again.images.frame, made.images.frame)
    assert (again.encoder, again.seen) == (made.encoder, seen)


@given(after=st.integers(0, IMAGES - 1), batch=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_an_interrupted_embedding_continues_to_the_same(data, after: int, batch: int) -> None:
    table, store = data
    folder = Path(tempfile.mkdtemp())
    with pytest.raises(KeyboardInterrupt):
        embed(Interrupted(after), store, table, folder, batch=batch, resume=False)
    with pytest.raises(RunMissingError, match=r"not complete.*--resume"):
        Embeddings.read(folder)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    assert len(kept) <= after // 5
    found = embed(ThumbnailEncoder(side=4), store, table, folder, batch=batch, resume=True)
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}.items()
    np.testing.assert_array_equal(found.vectors, ThumbnailEncoder(side=4).encode(store.array[:]))


def test_resuming_a_finished_embedding_encodes_nothing(data, tmp_path: Path) -> None:
    table, store = data
    first = embed(ThumbnailEncoder(side=4), store, table, tmp_path, batch=4, resume=False)
    second = embed(Interrupted(0), store, table, tmp_path, batch=4, resume=True)
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_resuming_where_nothing_was_begun_starts_at_the_beginning(data, tmp_path: Path) -> None:
    table, store = data
    assert len(embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=True)) == IMAGES


def test_a_finished_embedding_is_not_overwritten(data, tmp_path: Path) -> None:
    table, store = data
    made = embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    with pytest.raises(RunExistsError, match=r"--resume, or choose another --out"):
        embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    with pytest.raises(RunExistsError):
        made.write(tmp_path)


def test_two_encoders_are_never_mixed(data, tmp_path: Path) -> None:
    table, store = data
    with pytest.raises(KeyboardInterrupt):
        embed(Interrupted(12), store, table, tmp_path, batch=1, resume=False)
    with pytest.raises(SettingsError, match="of another encoder"):
        embed(ThumbnailEncoder(), store, table, tmp_path, batch=1, resume=True)


def test_two_sets_of_images_are_never_mixed(data, tmp_path: Path) -> None:
    table, store = data
    with pytest.raises(KeyboardInterrupt):
        embed(Interrupted(12), store, table, tmp_path, batch=1, resume=False)
    fewer = table.select(np.arange(len(table)) > 3)
    changed = table.assign(sha256=table.frame["sha256"].str.replace("a", "b"))
    for other in (fewer, changed):
        with pytest.raises(SettingsError, match="of other images"):
            embed(ThumbnailEncoder(side=4), store, other, tmp_path, batch=1, resume=True)


def test_labels_may_change_between_interruption_and_resume(data, tmp_path: Path) -> None:
    table, store = data
    with pytest.raises(KeyboardInterrupt):
        embed(Interrupted(12), store, table, tmp_path, batch=1, resume=False)
    labelled = table.assign(label="cell")
    found = embed(ThumbnailEncoder(side=4), store, labelled, tmp_path, batch=1, resume=True)
    assert set(found.images.frame["label"]) == {"cell"}


def test_a_shard_of_another_encoder_is_refused_or_made_again(data, tmp_path: Path) -> None:
    table, store = data
    good = embed(ThumbnailEncoder(side=4), store, table, tmp_path / "a", batch=4, resume=False)
    other = ThumbnailEncoder(side=2, bins=44)
    assert other.dimension == good.vectors.shape[1] == 144
    embed(other, store, table, tmp_path / "b", batch=4, resume=False)
    (tmp_path / "b" / "part-00001.parquet").replace(tmp_path / "a" / "part-00001.parquet")
    with pytest.raises(ModelFileError, match="another encoder"):
        Embeddings.read(tmp_path / "a")
    again = embed(ThumbnailEncoder(side=4), store, table, tmp_path / "a", batch=4, resume=True)
    np.testing.assert_array_equal(again.vectors, good.vectors)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_damaged_shard_is_named_and_made_again(data, tmp_path: Path, damage: str) -> None:
    table, store = data
    good = embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    path = tmp_path / "part-00002.parquet"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 500 if damage == "cut" else 0])
    with pytest.raises(ModelFileError, match="part-00002"):
        Embeddings.read(tmp_path)
    again = embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=True)
    np.testing.assert_array_equal(again.vectors, good.vectors)


def test_an_exchanged_table_is_refused(data, tmp_path: Path) -> None:
    table, store = data
    embed(ThumbnailEncoder(), store, table, tmp_path, batch=4, resume=False)
    table.usable.select(np.arange(IMAGES) > 0).write(tmp_path / "images.parquet")
    with pytest.raises(ModelFileError, match="other images"):
        Embeddings.read(tmp_path)


def test_nothing_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(RunMissingError, match="hundredfold embed`"):
        Embeddings.read(tmp_path)


def test_values_that_are_not_finite_stop_it(data, tmp_path: Path) -> None:
    class Broken(ThumbnailEncoder):
        def encode(self, batch: np.ndarray) -> np.ndarray:
            return super().encode(batch) * np.float32(np.nan)

    table, store = data
    with pytest.raises(HundredfoldError, match="not finite for 5 images"):
        embed(Broken(), store, table, tmp_path, batch=4, resume=False)


def test_pixels_of_another_range_are_refused(data, tmp_path: Path) -> None:
    table, store = data
    deep = replace(store, value_range=ValueRange(0, 4095))
    encoder = ThumbnailEncoder()
    encoder.value_range = ValueRange(0, 65535)
    with pytest.raises(SettingsError, match="Embed the folder of images"):
        embed(encoder, deep, table, tmp_path, batch=4, resume=False)
    assert not list(tmp_path.iterdir())


def test_parts_that_do_not_belong_together_are_refused(data) -> None:
    images = data[0].usable
    with pytest.raises(ModelFileError, match="do not belong together"):
        Embeddings(images.ids[::-1], np.zeros((IMAGES, 2), np.float32), {}, images)
