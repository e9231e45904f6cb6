"""An encoder's precision and size belong to it: they change its hash, and what it made finds them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.smear import draw_smear
from hundredfold.data.store import PixelStore
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder, alter
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import ConcatenatedEncoder
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import SettingsError
from hundredfold.predict.predictor import Predictor


def make(name: str) -> Encoder:
    backbone = create_backbone(name, weights="none")
    return Encoder(backbone, size=32, value_range=None, fit="pad", provenance={}, seen=frozenset())


def test_vectors_are_float32_and_differ_by_little(tmp_path: Path) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for name in ("resnet10t", "vit_tiny_patch16_224"):
        encoder = make(name)
        half = alter(encoder, precision="bfloat16")
        whole, rough = encoder.encode(batch), half.encode(batch)
        assert rough.dtype == np.float32
        difference = np.linalg.norm(whole - rough) / np.linalg.norm(whole)
        assert 0 < difference < 0.03
        assert half.hash != encoder.hash
        assert alter(half, precision="float32").hash == encoder.hash
        half.save(tmp_path / name)
        again = load_encoder(tmp_path / name)
        assert again.hash == half.hash
        np.testing.assert_array_equal(again.encode(batch), rough)
        both = alter(ConcatenatedEncoder([encoder, ThumbnailEncoder()]), precision="bfloat16")
        np.testing.assert_array_equal(both.encode(batch)[:, : encoder.dimension], rough)


def test_a_predictor_computes_as_its_vectors_were_made(tmp_path: Path) -> None:
    draw_smear(tmp_path / "smear", images=60, size=32, seed=1)
    images, labels = tmp_path / "smear" / "images", tmp_path / "smear" / "labels.csv"
    make("resnet10t").save(tmp_path / "encoder")
    run = hundredfold.scan(images, labels=labels, out=tmp_path / "run")
    spec = {"encoder": str(tmp_path / "encoder"), "embed_precision": "bfloat16"}
    hundredfold.embed(run.path, out=run.path, **spec)
    predictor = hundredfold.fit(run.path, labels=labels, out=tmp_path / "predictor", classifier="knn")
    assert predictor.encoder.facts["precision"] == "bfloat16"
    made = Embeddings.read(run / "embeddings" / "pretrained")
    pixels = PixelStore.open(run.pixels)[[0, 1]]
    again = Predictor.load(tmp_path / "predictor").encoder.encode(pixels)
    np.testing.assert_allclose(again, made.vectors[:2], rtol=0.02, atol=1e-3)
    assert np.abs(again - make("resnet10t").encode(pixels)).max() > 0


def test_a_run_has_an_encoder_at_several_sizes_and_a_predictor_that_of_its_vectors(tmp_path: Path) -> None:
    draw_smear(tmp_path / "smear", images=60, size=48, seed=1)
    images, labels = tmp_path / "smear" / "images", tmp_path / "smear" / "labels.csv"
    own = make("resnet10t")
    own.save(tmp_path / "encoder")
    run = hundredfold.scan(images, labels=labels, out=tmp_path / "run")
    spec = f"{tmp_path / 'encoder'}+thumbnail"
    for size in (None, 48):
        for encoder in (str(tmp_path / "encoder"), spec):
            hundredfold.embed(run.path, out=run.path, encoder=encoder, embed_size=size)
    made = {path.name: Embeddings.read(path) for path in (run / "embeddings").iterdir()}
    assert made.keys() == {
        "pretrained", "pretrained-48px", "pretrained+thumbnail", "pretrained+thumbnail-48px"
    }
    pixels = PixelStore.open(run.pixels)[[0, 1]]
    larger = alter(own, size=48).encode(pixels)
    assert np.abs(larger - own.encode(pixels)).max() > 0.01
    for name in ("pretrained-48px", "pretrained+thumbnail-48px"):
        np.testing.assert_allclose(made[name].vectors[:2, :512], larger, rtol=1e-4, atol=1e-5)
        predictor = hundredfold.fit(
            run / "embeddings" / name, labels=labels, out=tmp_path / name, classifier="knn"
        )
        np.testing.assert_allclose(predictor.encoder.encode(pixels)[:, :512], larger, rtol=1e-4, atol=1e-5)
        assert predictor.encoder.hash == made[name].encoder["hash"]


def test_a_size_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    draw_smear(tmp_path / "smear", images=8, size=32, seed=1)
    make("resnet10t").save(tmp_path / "encoder")
    for encoder in (str(tmp_path / "encoder"), "thumbnail"):
        with pytest.raises(SettingsError, match="looks at images in this size already, or in none"):
            hundredfold.embed(
                tmp_path / "smear" / "images", encoder=encoder, out=tmp_path / "out", embed_size=32
            )
