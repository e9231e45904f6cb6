"""The example of docs/export.md runs as it stands, with numpy and ONNX Runtime alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hundredfold.backbones.backbone import create_backbone
from hundredfold.encode.encoder import Encoder
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.classifiers import make_pipeline
from hundredfold.predict.onnx import save_onnx
from hundredfold.predict.predictor import Predictor

NOTHING_ELSE = """
import sys
heavy = {"torch", "sklearn", "hundredfold", "cv2"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_example_runs_without_torch(repo_root: Path, tmp_path: Path) -> None:
    page = (repo_root / "docs" / "export.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python onnx\n(.*?)```", page, re.DOTALL)
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    encoder = Encoder(
        create_backbone("test_resnet", weights="none"), size=32, value_range=None, fit="pad", provenance={},
        seen=frozenset(),
    )
    classes = np.array(["benign", "malignant"])
    pipeline = make_pipeline("lda", samples=30, features=encoder.dimension, classes=2)
    pipeline.fit(encoder.encode(images), classes[np.arange(30) % 2])
    calibration = Calibration("temperature", False, ((1.0,),), (15, 15))
    predictor = Predictor(encoder, pipeline, {
        "calibration": calibration.facts, "classifier": "lda", "labels": dict.fromkeys(classes.tolist(), 15),
    })
    save_onnx(predictor, tmp_path / "cells.onnx")
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-I", "-c", example + NOTHING_ELSE], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(": ")[0] for line in done.stdout.splitlines()]
    assert said == predictor.predict(images).tolist()


@pytest.mark.parametrize("name", ["images", "label", "scores", "probabilities", "embedding"])
def test_the_table_names_what_the_graph_has(repo_root: Path, name: str) -> None:
    page = (repo_root / "docs" / "export.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{name}`", page, re.MULTILINE)
