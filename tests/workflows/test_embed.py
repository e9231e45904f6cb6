"""``embed`` as a user calls it: a folder or a run, any encoder, refused or resumed, real cells."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pydicom.data import get_testdata_file

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.pixels import fill
from hundredfold.data.source import find_images
from hundredfold.data.store import ValueRange
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.neighbours import knn_balanced_accuracy
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import InputError, RunExistsError, RunMissingError, SettingsError
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.embed import embed, embed_run


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def run(images: Path, tmp_path: Path) -> RunDirectory:
    """A run as ``scan`` leaves it."""
    made = RunDirectory.create(tmp_path / "run")
    table, _ = fill(find_images(images), made / "pixels", size=24, fit="pad")
    table.write(made / "images.parquet")
    return made


def encoder(value_range: ValueRange | None = None) -> Encoder:
    torch.manual_seed(0)
    return Encoder(
        create_backbone("resnet10t", weights="none"), size=32, value_range=value_range, fit="pad",
        provenance={"method": "DINO"}, seen=frozenset({"a" * 64}),
    )


def test_a_folder_becomes_vectors_and_no_pixels_are_left(images: Path, tmp_path: Path) -> None:
    (images / "cut.png").write_bytes((images / "0.png").read_bytes()[:200])
    out = embed(images, encoder="thumbnail", out=tmp_path / "out")
    found = Embeddings.read(out / "embeddings" / "thumbnail")
    assert list(found.ids) == [f"{n}.png" for n in range(6)]
    assert out.done("embed")
    rejects = pd.read_csv(out / "rejects.csv")
    assert list(rejects["image"]) == ["cut.png"]
    assert list(rejects["reason"]) == ["truncated"]
    assert not list(tmp_path.glob("out/**/pixels*"))


def test_patients_of_a_folder_of_dicom_files_are_groups(tmp_path: Path) -> None:
    """A curve over these vectors would else draw its test images from patients it learns from."""
    (tmp_path / "images").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), tmp_path / "images")
    shutil.copy(tmp_path / "images" / "CT_small.dcm", tmp_path / "images" / "again.dcm")
    out = embed(tmp_path / "images", encoder="thumbnail", out=tmp_path / "out")
    groups = Embeddings.read(out / "embeddings" / "thumbnail").images.frame["group"]
    assert groups.nunique() == 2
    assert groups.notna().all()


def test_a_run_brings_its_own_pixels_and_its_encoder(run: RunDirectory, tmp_path: Path) -> None:
    made = encoder()
    made.save(run / "encoder")
    embed(run.path, encoder=str(run.path), out=run.path)
    found = Embeddings.read(run / "embeddings" / "pretrained")
    assert (found.encoder["hash"], found.seen) == (made.hash, made.seen)
    embed(run.path, encoder="thumbnail", out=run.path)
    embed(run.path, encoder=f"{run.path}+thumbnail", out=tmp_path / "other")
    assert sorted(path.name for path in (run / "embeddings").iterdir()) == ["pretrained", "thumbnail"]
    joined = next((tmp_path / "other" / "embeddings").iterdir())
    assert joined.name == "pretrained+thumbnail"
    assert Embeddings.read(joined).vectors.shape == (6, 512 + 864)


def test_the_stage_of_a_run_is_one_call(run: RunDirectory) -> None:
    first = embed_run(run, "thumbnail", ThumbnailEncoder(), batch=2, resume=False)
    again = embed_run(run, "thumbnail", ThumbnailEncoder(), batch=4, resume=True)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    with pytest.raises(SettingsError, match="another encoder"):
        embed_run(run, "thumbnail", encoder(), batch=4, resume=True)


def test_nothing_is_overwritten(images: Path, tmp_path: Path) -> None:
    embed(images, encoder="thumbnail", out=tmp_path / "out")
    with pytest.raises(RunExistsError, match="--resume"):
        embed(images, encoder="thumbnail", out=tmp_path / "out")
    embed(images, encoder="thumbnail", out=tmp_path / "out", resume=True)
    with pytest.raises(RunExistsError, match="another --out"):
        embed(images, encoder="thumbnail", out=images)


def test_other_images_are_not_resumed_into_the_old_ones(images: Path, tmp_path: Path) -> None:
    embed(images, encoder="thumbnail", out=tmp_path / "out")
    (images / "0.png").unlink()
    with pytest.raises(SettingsError, match="of other images"):
        embed(images, encoder="thumbnail", out=tmp_path / "out", resume=True)


def test_deep_images_are_scaled_as_the_encoder_expects(tmp_path: Path) -> None:
    """A range per data set would make the darker copy of an image the same as the image."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(1000, 4000, (24, 24), dtype=np.uint16)
    vectors = []
    encoder(ValueRange(0, 4095)).save(tmp_path / "encoder")
    for name, image in (("bright", pixels), ("dark", pixels // 2)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), image)
        out = embed(tmp_path / name, encoder=str(tmp_path / "encoder"), out=tmp_path / f"out-{name}")
        vectors.append(Embeddings.read(out / "embeddings" / "pretrained").vectors[0])
    expected = ValueRange(0, 4095).to_uint8(pixels)[None, ..., None].repeat(3, -1)
    np.testing.assert_allclose(vectors[0], encoder().encode(expected)[0], atol=1e-4)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)


def test_mistakes_say_what_to_do(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="thumbnail, or some joined"):
        embed(images, encoder="thumbnial", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError):
        embed(tmp_path / "imagse", encoder="thumbnail", out=tmp_path / "out")
    bare = RunDirectory.create(tmp_path / "bare")
    with pytest.raises(RunMissingError, match="scan"):
        embed(bare.path, encoder="thumbnail", out=bare.path)


def test_a_folder_of_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 images can be used"):
        embed(tmp_path / "images", encoder="thumbnail", out=tmp_path / "out")
    assert list(pd.read_csv(tmp_path / "out" / "rejects.csv")["reason"]) == ["empty"]


def test_real_cells_lie_near_their_like(shared: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(shared / "data" / "pbc_blood_cells" / "labels.csv").groupby("label").head(20)
    (tmp_path / "cells").mkdir()
    for name in labels["image"]:
        shutil.copy(shared / "data" / "pbc_blood_cells" / "images" / name, tmp_path / "cells")
    out = embed(tmp_path / "cells", encoder="thumbnail", out=tmp_path / "out")
    found = Embeddings.read(out / "embeddings" / "thumbnail")
    truth = labels.set_index("image")["label"].loc[list(found.ids)].to_numpy()
    assert len(found) == len(labels) == 220
    assert knn_balanced_accuracy(found.vectors, truth, k=5) > 3 / labels["label"].nunique()
