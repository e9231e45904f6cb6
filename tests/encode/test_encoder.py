"""Encoders: deterministic, one hash a content, saved and loaded, and refused when edited."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.store import ValueRange
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.opening import load_encoder, open_encoder
from hundredfold.encode.protocol import ConcatenatedEncoder, EncoderLike, resize
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import InputError, ModelFileError, RunMissingError, SettingsError
from hundredfold.rundir import RunDirectory

SEEN = frozenset({"a" * 64, "b" * 64})


def make(name: str = "resnet10t", *, seed: int = 0, **changes) -> Encoder:
    torch.manual_seed(seed)
    settings = {
        "size": 32, "value_range": ValueRange(3.0, 4000.0), "fit": "crop", "provenance": {"method": "DINO"},
        "seen": SEEN,
    }
    return Encoder(create_backbone(name, weights="none"), **{**settings, **changes})


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return make()


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(params=["backbone", "with stages", "thumbnail", "concatenated"])
def any_encoder(request: pytest.FixtureRequest, encoder: Encoder) -> EncoderLike:
    kinds = {
        "backbone": encoder,
        "with stages": encoder.altered(stages=2),
        "thumbnail": ThumbnailEncoder(),
        "concatenated": ConcatenatedEncoder([encoder, ThumbnailEncoder(side=4)]),
    }
    return kinds[request.param]


def test_every_kind_keeps_the_contract(any_encoder: EncoderLike, batch: np.ndarray) -> None:
    assert isinstance(any_encoder, EncoderLike)
    vectors = any_encoder.encode(batch)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, any_encoder.dimension)
    assert any_encoder.encode(batch[:0]).shape == (0, any_encoder.dimension)
    assert len(any_encoder.hash) == 64
    assert json.loads(json.dumps(any_encoder.facts))["hash"] == any_encoder.hash


def test_every_kind_comes_back_from_disk(any_encoder: EncoderLike, batch: np.ndarray, tmp_path: Path) -> None:
    any_encoder.save(tmp_path / "e")
    loaded = open_encoder(str(tmp_path / "e"))
    assert (loaded.hash, loaded.seen, loaded.value_range) == (
        any_encoder.hash, any_encoder.seen, any_encoder.value_range
    )
    np.testing.assert_array_equal(loaded.encode(batch), any_encoder.encode(batch))


def test_the_backbones_normalisation_travels_with_the_encoder(tmp_path: Path, batch: np.ndarray) -> None:
    """A file that states its own mean and deviation, then an encoder folder, then weights of a new run."""
    state = create_backbone("resnet10t", weights="none").model.state_dict()
    stated = {"mean": "[0.1, 0.2, 0.3]", "std": "[0.5, 0.6, 0.7]"}
    save_file(state, tmp_path / "w.safetensors", metadata=stated)
    first = create_backbone("resnet10t", weights=str(tmp_path / "w.safetensors"))
    encoder = Encoder(first, size=32, value_range=None, fit="pad", provenance={}, seen=frozenset())
    encoder.save(tmp_path / "run/encoder")
    loaded = Encoder.load(tmp_path / "run/encoder")
    assert (loaded.backbone.mean, loaded.backbone.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    again = create_backbone("resnet10t", weights=str(tmp_path / "run"))
    assert (again.mean, again.std) == (first.mean, first.std)
    small = torch.from_numpy(resize(batch, 32))
    with torch.no_grad():
        expected = first.eval()((small.permute(0, 3, 1, 2) / 255 - torch.tensor(first.mean).view(3, 1, 1))
                                / torch.tensor(first.std).view(3, 1, 1))
    np.testing.assert_allclose(loaded.encode(batch), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "xcit_nano_12_p16_224", "efficientnet_lite0"])
def test_every_tested_backbone_comes_back_from_disk(name: str, batch: np.ndarray, tmp_path: Path) -> None:
    made = make(name)
    made.save(tmp_path)
    np.testing.assert_array_equal(Encoder.load(tmp_path).encode(batch), made.encode(batch))


def test_encoding_leaves_training_mode_and_statistics_alone(batch: np.ndarray) -> None:
    made = make()
    made.backbone.train()
    frozen = made.backbone.model.bn1.eval()
    before = {key: value.clone() for key, value in made.backbone.state_dict().items()}
    made.encode(batch)
    assert made.backbone.training
    assert made.backbone.model.layer1.training
    assert not frozen.training
    assert all(torch.equal(before[key], value) for key, value in made.backbone.state_dict().items())


def test_a_vector_does_not_depend_on_its_company(encoder: Encoder, batch: np.ndarray) -> None:
    together = encoder.encode(batch)
    alone = np.concatenate([encoder.encode(image[None]) for image in batch])
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"size": 48}, {"fit": "pad"}, {"value_range": None}, {"symmetry": "mirror"},
     {"seen": frozenset({"a" * 64})}],
    ids=str,
)
def test_the_hash_tells_encoders_apart(encoder: Encoder, changes: dict) -> None:
    assert make(**changes).hash != encoder.hash
    assert make().hash == encoder.hash


def test_mirrored_and_turned_images_get_the_same_vector_where_that_is_asked_for(batch: np.ndarray) -> None:
    mirror, dihedral = make(symmetry="mirror"), make(symmetry="dihedral")
    np.testing.assert_allclose(mirror.encode(batch), mirror.encode(batch[:, :, ::-1]), atol=1e-4)
    expected = dihedral.encode(batch)
    for other in (np.rot90(batch, 1, (1, 2)), np.rot90(batch, 2, (1, 2)), batch[:, ::-1]):
        np.testing.assert_allclose(dihedral.encode(other), expected, atol=1e-4)
    assert not np.allclose(mirror.encode(batch), mirror.encode(np.rot90(batch, 1, (1, 2))), atol=1e-4)
    with pytest.raises(SettingsError, match="Known: none, mirror, dihedral"):
        make(symmetry="round")


def test_resizing_averages_and_is_no_nearest_neighbour() -> None:
    """Mistake 12: stripes one pixel wide become grey, not black or white."""
    stripes = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    assert np.all(np.abs(resize(stripes, 16).astype(int) - 127) <= 1)
    assert resize(stripes, 64) is stripes
    assert resize(stripes, 100).shape == (1, 100, 100, 3)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 4, 5, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.float32),
     np.zeros((1, 4, 4, 1), np.uint8)],
    ids=["not square", "one image", "float", "grey"],
)
def test_what_no_pixel_store_gives_is_refused(wrong: np.ndarray, any_encoder: EncoderLike) -> None:
    with pytest.raises(InputError, match=r"expected square images uint8 \[b,h,h,3\]"):
        any_encoder.encode(wrong)


def test_a_thumbnail_is_what_opencv_and_numpy_give(batch: np.ndarray) -> None:
    found = ThumbnailEncoder().encode(batch)
    for image, vector in zip(batch, found, strict=True):
        thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) / 255
        histograms = [np.histogram(image[..., c], bins=32, range=(0, 256))[0] / (48 * 48) for c in range(3)]
        np.testing.assert_allclose(vector, np.concatenate([thumbnail.ravel(), *histograms]), atol=1e-6)


def test_the_thumbnail_needs_no_torch() -> None:
    code = (
        "import sys; from hundredfold.encode.opening import open_encoder; import hundredfold.encode.embed;"
        "open_encoder('thumbnail'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parts_stand_side_by_side(encoder: Encoder, batch: np.ndarray) -> None:
    both = ConcatenatedEncoder([ThumbnailEncoder(), encoder])
    np.testing.assert_array_equal(both.encode(batch)[:, :864], ThumbnailEncoder().encode(batch))
    np.testing.assert_array_equal(both.encode(batch)[:, 864:], encoder.encode(batch))
    assert (both.name, both.seen, both.value_range) == ("thumbnail+resnet10t", SEEN, encoder.value_range)
    with pytest.raises(SettingsError, match="scaled alike"):
        ConcatenatedEncoder([encoder, make(value_range=ValueRange(0, 1))])


def edit_json(folder: Path, **changes) -> None:
    path = folder / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def saved(encoder: Encoder, tmp_path: Path) -> Path:
    encoder.save(tmp_path / "e")
    return tmp_path / "e"


@pytest.mark.parametrize(
    "changes",
    [{"size": 64}, {"mean": [0.5, 0.5, 0.5]}, {"seen": []}, {"value_range": None}, {"fit": "pad"}], ids=str,
)
def test_an_edited_description_is_refused(saved: Path, changes: dict) -> None:
    edit_json(saved, **changes)
    with pytest.raises(ModelFileError, match="edited or damaged"):
        Encoder.load(saved)


def test_edited_weights_are_refused(saved: Path) -> None:
    state = load_file(saved / "encoder.safetensors")
    state["bn1.bias"][3] += 1e-6
    save_file(state, saved / "encoder.safetensors")
    with pytest.raises(ModelFileError, match="edited or damaged"):
        load_encoder(saved)


def test_a_pickle_where_the_weights_belong_is_refused(saved: Path) -> None:
    (saved / "encoder.safetensors").write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_encoder(saved)
    (saved / "encoder.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"no encoder\.safetensors"):
        load_encoder(saved)


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "other"}', '{"kind": "backbone", "hash": ""}'])
def test_a_damaged_description_is_refused(saved: Path, text: str) -> None:
    (saved / "encoder.json").write_text(text)
    with pytest.raises(ModelFileError):
        load_encoder(saved)


def test_an_edited_part_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    ConcatenatedEncoder([encoder, ThumbnailEncoder()]).save(tmp_path)
    edit_json(tmp_path / "part-1", side=8)
    with pytest.raises(ModelFileError, match="edited or damaged"):
        load_encoder(tmp_path)
    shutil.rmtree(tmp_path / "part-1")
    with pytest.raises(ModelFileError, match="part-1"):
        load_encoder(tmp_path)


def test_encoders_are_found_by_what_a_user_writes(encoder: Encoder, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    with pytest.raises(RunMissingError, match="pretrain"):
        open_encoder(str(run.path))
    encoder.save(run / "encoder")
    assert open_encoder(str(run.path)).hash == open_encoder(str(run / "encoder")).hash == encoder.hash
    (run / "predictor").mkdir()
    shutil.move(run / "encoder", run / "predictor" / "encoder")
    with pytest.raises(RunMissingError, match=r"Its predictor has one: give .*predictor/encoder"):
        open_encoder(str(run.path))
    shutil.move(run / "predictor" / "encoder", run / "encoder")
    timm = open_encoder("timm:vit_tiny_patch16_224", weights="none")
    assert (timm.name, timm.dimension, timm.facts["size"]) == ("vit_tiny_patch16_224", 192, 224)
    both = open_encoder(f"{run.path}+thumbnail")
    assert both.dimension == encoder.dimension + 864


def test_weights_out_of_an_encoder_keep_its_pixels_and_the_images_it_saw(tmp_path: Path) -> None:
    """All else is that of the plain timm model."""
    make(symmetry="dihedral", stages=2).save(tmp_path)
    plain = open_encoder("timm:resnet10t", weights=str(tmp_path))
    assert (plain.seen, plain.value_range, plain.fit) == (SEEN, ValueRange(3.0, 4000.0), "crop")
    assert (plain.size, plain.symmetry, plain.stages) == (plain.backbone.native_size, "none", 0)
    shutil.copy(tmp_path / "encoder.safetensors", tmp_path / "alone.safetensors")
    (tmp_path / "encoder.json").unlink()
    assert open_encoder("timm:resnet10t", weights=str(tmp_path / "alone.safetensors")).seen == frozenset()


@pytest.mark.parametrize("spec", ["", "thumbnial", "no/such/folder", "thumbnail+nothing"])
def test_an_unknown_encoder_is_refused_with_what_there_is(spec: str) -> None:
    with pytest.raises(SettingsError, match="timm:NAME"):
        open_encoder(spec)


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no run and holds no encoder\.json"):
        open_encoder(str(tmp_path))
