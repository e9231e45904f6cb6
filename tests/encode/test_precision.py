"""An encoder's precision belongs to it: it changes the hash, is kept, and found again by what it made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.smear import draw_smear
from hundredfold.data.store import PixelStore
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder, at_precision
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import ConcatenatedEncoder
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.predict.predictor import Predictor


def make(name: str) -> Encoder:
    backbone = create_backbone(name, weights="none")
    return Encoder(backbone, size=32, value_range=None, fit="pad", provenance={}, seen=frozenset())


def test_vectors_are_float32_and_differ_by_little(tmp_path: Path) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for name in ("resnet10t", "vit_tiny_patch16_224"):
        encoder = make(name)
        half = at_precision(encoder, "bfloat16")
        whole, rough = encoder.encode(batch), half.encode(batch)
        assert rough.dtype == np.float32
        difference = np.linalg.norm(whole - rough) / np.linalg.norm(whole)
        assert 0 < difference < 0.03
        assert half.hash != encoder.hash
        assert at_precision(half, "float32").hash == encoder.hash
        half.save(tmp_path / name)
        again = load_encoder(tmp_path / name)
        assert again.hash == half.hash
        np.testing.assert_array_equal(again.encode(batch), rough)
        both = at_precision(ConcatenatedEncoder([encoder, ThumbnailEncoder()]), "bfloat16")
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
