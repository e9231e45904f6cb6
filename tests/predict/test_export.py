"""What is exported says the same as the predictor it was made of, wherever it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.cli import main
from hundredfold.encode.encoder import ConcatenatedEncoder, Encoder, EncoderLike, ThumbnailEncoder
from hundredfold.encode.layers import EncoderLayers
from hundredfold.encode.timm_folder import save_timm_folder
from hundredfold.errors import RunExistsError, SettingsError
from hundredfold.learn.calibrate import METHODS, Calibration, Method
from hundredfold.learn.classifiers import CLASSIFIERS, judge, make_pipeline
from hundredfold.learn.layers import as_layers
from hundredfold.predict.layers import CalibrationLayer
from hundredfold.predict.onnx import save_onnx
from hundredfold.predict.predictor import Predictor

CLASSES = ("basophil", "eosinophil", "lymphocyte", "neutrophil")
SIZE = 40
#: The issue asks for scores and probabilities within this of torch's.
CLOSE = 1e-4


def images(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@lru_cache
def encoder(name: str = "test_resnet", symmetry: str = "mirror", seed: int = 0, stages: int = 2) -> Encoder:
    """A tiny network of random weights, its BatchNorm with statistics of its own."""
    torch.manual_seed(seed)
    backbone = create_backbone(name, weights="none")
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return Encoder(
        backbone, size=SIZE, value_range=None, fit="pad", provenance={}, seen=frozenset(), symmetry=symmetry,
        stages=stages,
    )


def blobs(count: int, dimension: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Skewed features of overlapping classes."""
    random = np.random.default_rng(0)
    codes = np.arange(count) % classes
    centres = random.normal(0, 0.5, (classes, dimension))
    return np.expm1(random.normal(centres[codes], 0.6)).astype(np.float32), codes


def fitted(classifier: str, *, model: EncoderLike, method: Method | None = "temperature") -> Predictor:
    """A predictor whose classes are spread over the vectors that its encoder makes."""
    vectors = model.encode(images(60, seed=1))
    direction = np.random.default_rng(2).normal(size=vectors.shape[1])
    codes = np.argsort(np.argsort(vectors @ direction)) * len(CLASSES) // len(vectors)
    labels = np.array(CLASSES)[codes]
    pipeline = make_pipeline(classifier, samples=60, features=vectors.shape[1], classes=len(CLASSES))
    pipeline.fit(vectors, labels)
    found = method and Calibration.fit(judge(pipeline, vectors)[1], codes, method)
    facts = {
        "classifier": classifier, "labels": dict.fromkeys(CLASSES, 15), "pixel_size": SIZE,
        "fit": "pad", "value_range": None, "window": None, "stain": None, "embeddings": "pretrained",
        "calibration": found and found.facts, "cross_validation": {}, "classes": list(CLASSES),
    }
    return Predictor(model, pipeline, facts)


def run(path: Path, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": batch}), strict=True))


def metadata(path: Path) -> dict[str, str]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(session.get_modelmeta().custom_metadata_map)


def check_the_same(predictor: Predictor, path: Path, batch: NDArray[np.uint8]) -> None:
    found = run(path, batch)
    expected = predictor.answer(batch)
    assert np.array(predictor.classes)[found["label"]].tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found["embedding"], expected.vectors, atol=CLOSE, rtol=CLOSE)
    scale = max(1, np.abs(expected.scores).max())  # discriminants of dozens are no more exact than their size
    np.testing.assert_allclose(found["scores"], expected.scores, atol=CLOSE * scale)
    assert ("probabilities" in found) == (predictor.calibration is not None)
    if expected.probabilities is not None:
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=CLOSE)
    assert len(batch) == 1 or len(set(expected.labels.tolist())) > 1


@lru_cache
def exported(name: str, folder: Path) -> tuple[Predictor, Path]:
    """A predictor of each kind, saved and exported once; that of ``lda`` has no probabilities."""
    method: Method | None = None if name == "lda" else "temperature"
    saved = fitted(name, model=encoder(), method=method).save(folder / name)
    (path,) = hundredfold.export(folder / name, onnx=folder / "out" / f"{name}.onnx")
    return saved, path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_every_classifier_says_the_same_under_onnx_runtime(name: str, folder: Path) -> None:
    predictor, path = exported(name, folder)
    for count in (1, 9):
        check_the_same(predictor, path, images(count, seed=7))
    assert (predictor.calibration is None) == (name == "lda")


def joined() -> ConcatenatedEncoder:
    return ConcatenatedEncoder([encoder(), encoder(seed=1)])


@pytest.mark.parametrize(
    "make", [encoder, lambda: encoder("test_vit", "dihedral"), joined],
    ids=["a network", "a transformer, turned", "two joined"],
)
def test_every_encoder_gives_the_same_vectors_alone(make: Callable[[], EncoderLike], tmp_path: Path) -> None:
    model = make()
    model.save(tmp_path / "encoder")
    hundredfold.export(tmp_path / "encoder", onnx=tmp_path / "encoder.onnx")
    batch = images(3, seed=5)
    found = run(tmp_path / "encoder.onnx", batch)
    np.testing.assert_allclose(found.pop("embedding"), model.encode(batch), atol=CLOSE, rtol=CLOSE)
    assert not found
    told = metadata(tmp_path / "encoder.onnx")
    assert (told["kind"], told["hash"], json.loads(told["pixels"])["size"]) == ("encoder", model.hash, SIZE)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_the_layers_are_the_pipeline(name: str, preset: str, classes: int) -> None:
    x, codes = blobs(90, 12, classes)
    pipeline = make_pipeline(name, samples=60, features=12, classes=classes, preset=preset)
    pipeline.fit(x[:60], codes[:60])
    decided, scores = as_layers(pipeline)(torch.from_numpy(x).double())
    labels, expected = judge(pipeline, x)
    assert decided.tolist() == labels.tolist()
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


def test_a_neighbour_without_distance_decides_alone() -> None:
    x, codes = blobs(30, 3, 3)
    machine = KNeighborsClassifier(5, weights="distance").fit(x, codes)
    _, shares = as_layers(machine)(torch.from_numpy(x[:5]).double())
    np.testing.assert_allclose(shares.numpy(), machine.predict_proba(x[:5]), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shares", [True, False], ids=["probabilities", "margins"])
def test_the_layer_of_a_calibration_is_the_calibration(method: Method, shares: bool) -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet([1, 1, 1], 200) if shares else random.normal(size=(200, 3))
    found = Calibration.fit(scores[:100], scores[:100].argmax(axis=1), method)
    assert found is not None
    assert found.logarithms == shares
    beyond = np.concatenate([scores, scores * 5 - 2 * (not shares)])
    layer = CalibrationLayer(found)(torch.from_numpy(beyond))
    np.testing.assert_allclose(layer.numpy(), found.probabilities(beyond), atol=1e-9)


def test_the_file_says_what_it_is(folder: Path) -> None:
    saved, path = exported("svm", folder)
    told = metadata(path)
    assert (told["kind"], told["hash"], told["encoder"]) == ("predictor", saved.hash, saved.encoder.hash)
    assert json.loads(told["classes"]) == list(saved.classes)
    assert json.loads(told["labels"]) == saved.facts["labels"]
    assert json.loads(told["pixels"]) == {
        "size": SIZE, "channels": "RGB", "pixel_size": SIZE, "fit": "pad", "value_range": None,
        "window": None, "stain": None,
    }
    assert json.loads(told["software"])["torch"] == torch.__version__.split("+")[0]


class Foreign(ClassifierMixin, BaseEstimator):
    """A classifier of a plug-in."""

    def fit(self, x: object, y: list[str]) -> Foreign:
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.zeros((len(x), 3))


def test_what_has_no_such_form_is_named_with_what_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    foreign = fitted("svm", model=encoder())
    foreign = Predictor(foreign.encoder, Pipeline([("classifier", Foreign())]), foreign.facts)
    with pytest.raises(SettingsError, match=r"no form.*Foreign.*encoder alone \(give PREDICTOR/encoder\)"):
        save_onnx(foreign, tmp_path / "a.onnx")
    with pytest.raises(SettingsError, match=r"expected an encoder that is a network.*thumbnail"):
        save_onnx(fitted("svm", model=ThumbnailEncoder()), tmp_path / "a.onnx")
    torch.manual_seed(0)
    other = Encoder(
        create_backbone("test_resnet", weights="none"), size=48, value_range=None, fit="pad", provenance={},
        seen=frozenset(),
    )
    with pytest.raises(SettingsError, match=r"one size, found \[40, 48\] px.*part-0"):
        EncoderLayers(ConcatenatedEncoder([encoder(), other]))
    with pytest.raises(SettingsError, match=r"one network.*part-0"):
        save_timm_folder(joined(), tmp_path / "timm")
    assert not list(tmp_path.iterdir())
    assert main(["export", str(tmp_path)]) == 2
    assert "give --onnx FILE, --timm DIR, or both" in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there.onnx").touch()
    with pytest.raises(RunExistsError, match="nothing was changed"):
        hundredfold.export("timm:test_resnet", onnx=tmp_path / "there.onnx", timm=tmp_path / "timm")
    assert not (tmp_path / "timm").exists()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timm_loads_the_folder_and_gives_the_same_features(name: str, tmp_path: Path) -> None:
    model = encoder(name, "mirror")
    model.save(tmp_path / "encoder")
    hundredfold.export(tmp_path / "encoder", timm=tmp_path / "folder")
    written = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert written == ["config.json", "model.safetensors"]
    network = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(network)
    assert (*config["mean"], *config["std"]) == (*model.backbone.mean, *model.backbone.std)
    assert config["input_size"] == (3, SIZE, SIZE)
    batch = images(3, seed=6)
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor(config["mean"]).view(3, 1, 1)) / torch.tensor(config["std"]).view(3, 1, 1)
    with torch.no_grad():
        found = (network(pixels) + network(pixels.flip(3))) / 2
    features = model.altered(stages=0).encode(batch)
    np.testing.assert_allclose(found.numpy(), features, atol=1e-4)
    np.testing.assert_array_equal(model.encode(batch)[:, : features.shape[1]], features)
    ours = json.loads((tmp_path / "folder" / "config.json").read_text(encoding="utf-8"))["hundredfold"]
    assert (ours["hash"], ours["symmetry"], ours["stages"]) == (model.hash, "mirror", 2)
    assert network.pretrained_cfg["tag"] == "hundredfold"
    assert len({path.stat().st_mode for path in (tmp_path / "folder").iterdir()}) == 1


def test_another_suffix_than_that_of_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ends in \.onnx, found a\.txt"):
        hundredfold.export(tmp_path, onnx=tmp_path / "a.txt")


def test_an_encoder_in_bfloat16_is_told_to_be_another_in_float32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ConcatenatedEncoder([encoder(), encoder(seed=1).altered(precision="bfloat16")]).save(tmp_path / "rough")
    hundredfold.export(tmp_path / "rough", onnx=tmp_path / "rough.onnx")
    told = capsys.readouterr().err
    assert "What was exported computes in float32, the encoder in bfloat16" in " ".join(told.split())
    assert f"uint8 [b, {SIZE}, {SIZE}, 3], RGB" in told
