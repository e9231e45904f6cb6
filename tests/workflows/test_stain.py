"""``--stain`` from the scan to the prediction: one setting, one reference, everywhere the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hundredfold.config import PretrainSettings, RunSettings
from hundredfold.data.settling import settle_stain
from hundredfold.data.smear import draw_smear
from hundredfold.data.stain import Reference, Stain
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import ConcatenatedEncoder, Encoder
from hundredfold.encode.opening import load_encoder, open_encoder
from hundredfold.errors import InputError, RunExistsError, RunMissingError, SettingsError
from hundredfold.predict.predictor import Predictor
from hundredfold.report.chapters.data import data_chapter
from hundredfold.report.material import gather
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.embed import embed
from hundredfold.workflows.fit import fit
from hundredfold.workflows.predict import predict
from hundredfold.workflows.pretrain import pretrain
from hundredfold.workflows.run import check_choices
from hundredfold.workflows.scan import scan

SMALL: dict[str, Any] = {
    "backbone": "resnet10t", "weights": "none", "epochs": 1, "batch_size": 16, "image_size": 32,
    "local_size": 16, "local_crops": 1, "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8,
}
#: The lamp of the other laboratory.
CAST = np.array([0.8, 0.95, 0.7])


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells whose glass is nowhere saturated; those of the test side were seen under another lamp."""
    folder = draw_smear(tmp_path_factory.mktemp("smear"), images=60, size=32, seed=1)
    labels = pd.read_csv(folder / "labels.csv")
    labels["split"] = np.where(labels["group"].rank(method="dense") % 3 == 0, "test", "train")
    for name, side in zip(labels["image"], labels["split"], strict=True):
        pixels = np.asarray(Image.open(folder / "images" / name)) * (0.9 * CAST if side == "test" else 0.9)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name, quality=95)
    labels.to_csv(folder / "labels.csv", index=False)
    return folder


def scanned(smear: Path, out: Path, **choices: Any) -> RunDirectory:
    return scan(smear / "images", labels=smear / "labels.csv", out=out, **choices)


@pytest.fixture(scope="module")
def trained(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was scanned with ``--stain white`` and pre-trained; it is only read."""
    out = tmp_path_factory.mktemp("trained") / "run"
    scanned(smear, out, stain="white")
    return pretrain(images=out, out=out, **SMALL)


def images_of(run: RunDirectory) -> tuple[ImageTable, PixelStore]:
    return ImageTable.read(run / "images.parquet"), PixelStore.open(run.pixels)


def unnormalised(run: RunDirectory) -> Encoder:
    """The encoder of a run as if it had been trained on the colours as they came."""
    encoder = load_encoder(run / "encoder")
    assert isinstance(encoder, Encoder)
    return Encoder(
        encoder.backbone, size=encoder.size, value_range=None, fit=encoder.fit, provenance={},
        seen=encoder.seen, symmetry=encoder.symmetry,
    )


@pytest.mark.parametrize("method", ["white", "reinhard"])
def test_the_reference_is_that_of_the_training_side_alone(method: Any, smear: Path, tmp_path: Path) -> None:
    run = scanned(smear, tmp_path / "run", stain=method)
    table, store = images_of(run)
    train, test = (store.array[store.rows(side.ids)] for side in (table.pool, table.test))
    assert len(test) > 10
    assert store.stain == Reference.of(method, train).stain
    assert store.stain != Reference.of(method, [*train, *test]).stain
    assert run.state["scan"]["stain"] == store.stain.facts


def test_images_are_normalised_when_they_are_read_and_kept_as_they_came(smear: Path, tmp_path: Path) -> None:
    plain, run = scanned(smear, tmp_path / "plain"), scanned(smear, tmp_path / "run", stain="white")
    before, (table, store) = PixelStore.open(plain.pixels), images_of(run)
    assert store.stain is not None
    np.testing.assert_array_equal(store.array, before.array)
    np.testing.assert_array_equal(store[[0, 5]], store.stain.apply(before[[0, 5]]))
    assert store.fingerprint(np.arange(3)) != before.fingerprint(np.arange(3))
    sides = [store[store.rows(side.ids)].mean(axis=(0, 1, 2)) for side in (table.train, table.test)]
    assert np.abs(sides[0] - sides[1]).max() < 6  # 10 to 50 levels before, by CAST


def test_a_scan_with_another_setting_does_not_take_the_store(smear: Path, tmp_path: Path) -> None:
    shared = tmp_path / "pixels"
    first = scanned(smear, tmp_path / "a", stain="white", pixels=shared)
    for number, other in enumerate(("none", "reinhard")):
        with pytest.raises(RunExistsError, match="other settings"):
            scanned(smear, tmp_path / f"b{number}", stain=other, pixels=shared)
    same = scanned(smear, tmp_path / "c", stain="white", pixels=shared)
    assert same.state["decoding"] == {"decoded": 0, "reused": 60}
    labels = pd.read_csv(smear / "labels.csv").assign(split=None)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(RunExistsError, match="colours by those of another training side"):
        scan(smear / "images", labels=tmp_path / "labels.csv", out=tmp_path / "d", stain="white",
             pixels=shared, test_size=0.5, seed=4)
    assert PixelStore.open(shared).stain == Stain.read(first.state["scan"]["stain"])


def test_a_finished_scan_is_not_resumed_with_another_setting(trained: RunDirectory, smear: Path) -> None:
    assert scanned(smear, trained.path, stain="white", resume=True).path == trained.path
    with pytest.raises(SettingsError, match=r"stain = white, found none"):
        scanned(smear, trained.path, resume=True)


def test_a_store_without_its_reference_is_not_read_as_if_it_were_plain(smear: Path, tmp_path: Path) -> None:
    """A kill may come between the pixels and the reference."""
    run = scanned(smear, tmp_path / "run", stain="white")
    table, store = images_of(run)
    facts = json.loads((run.pixels / "pixels.json").read_text(encoding="utf-8"))
    del facts["stain"]
    (run.pixels / "pixels.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(RunMissingError, match="waits for the colours"):
        PixelStore.open(run.pixels)
    again = PixelStore.open(run.pixels, unsettled=True)
    assert settle_stain(again, "white", table, anew=False)[0].stain == store.stain
    assert PixelStore.open(run.pixels).stain == store.stain


def test_every_encoder_of_a_run_keeps_the_setting(trained: RunDirectory) -> None:
    store = PixelStore.open(trained.pixels)
    assert store.stain is not None
    for name in ("encoder", "initial", "adapted"):
        assert load_encoder(trained / name).stain == store.stain
    facts = json.loads((trained / "encoder" / "encoder.json").read_text(encoding="utf-8"))
    assert facts["stain"] == store.stain.facts


def test_another_reference_is_another_encoder(trained: RunDirectory, tmp_path: Path) -> None:
    encoder, other = load_encoder(trained / "encoder"), unnormalised(trained)
    assert other.hash != encoder.hash
    with pytest.raises(SettingsError, match="joined only"):
        ConcatenatedEncoder([encoder, other])
    both = ConcatenatedEncoder([encoder, open_encoder("thumbnail")])
    both.save(tmp_path / "both")
    assert load_encoder(tmp_path / "both").stain == encoder.stain is not None


def test_a_folder_is_embedded_as_the_run_was(trained: RunDirectory, smear: Path, tmp_path: Path) -> None:
    """The vectors of the same files are the same, whether their pixels came from the run or the files."""
    embed(trained.path, encoder=str(trained.path), out=tmp_path / "own")
    embed(smear / "images", encoder=str(trained.path), out=tmp_path / "files")
    own, files = (Embeddings.read(tmp_path / name / "embeddings" / "pretrained") for name in ("own", "files"))
    assert own.pixels["stain"] == files.pixels["stain"] == PixelStore.open(trained.pixels).stain.facts
    order = [list(files.ids).index(name) for name in own.ids]
    np.testing.assert_allclose(own.vectors, files.vectors[order], atol=1e-5)


def test_an_encoder_refuses_colours_that_it_was_not_trained_on(
    trained: RunDirectory, smear: Path, tmp_path: Path
) -> None:
    plain = scanned(smear, tmp_path / "plain")
    with pytest.raises(SettingsError, match=r"expects colours normalised by white.*found none"):
        embed(plain.path, encoder=str(trained.path), out=tmp_path / "a")
    unnormalised(trained).save(tmp_path / "encoder")
    with pytest.raises(SettingsError, match=r"expects colours normalised by none; found white"):
        embed(trained.path, encoder=str(tmp_path / "encoder"), out=tmp_path / "b")


def test_the_setting_travels_to_the_predictor(trained: RunDirectory, smear: Path, tmp_path: Path) -> None:
    """On thumbnails, an encoder that learned nothing, too: it knows the images under another lamp."""
    shutil.copytree(trained.path, tmp_path / "run")
    embed(tmp_path / "run", encoder="thumbnail", out=tmp_path / "run")
    made = fit(tmp_path / "run", labels=smear / "labels.csv", out=tmp_path / "run", classifier="knn")
    stain = PixelStore.open(trained.pixels).stain
    assert stain is not None
    assert Predictor.load(tmp_path / "run").facts["stain"] == made.facts["stain"] == stain.facts
    train = ImageTable.read(trained / "images.parquet").train
    (tmp_path / "new").mkdir()
    for name, path in zip(train.ids, train.frame["path"], strict=True):
        pixels = (np.asarray(Image.open(path)) * CAST).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "new" / f"{Path(name).stem}.png")
    predict(tmp_path / "new", predictor=tmp_path / "run", out=tmp_path / "told.csv")
    told = pd.read_csv(tmp_path / "told.csv").sort_values("image")
    expected = train.frame.sort_values("id")["label"]
    assert (told["label"].to_numpy() == expected.to_numpy()).mean() > 0.9


def test_the_report_says_so(trained: RunDirectory) -> None:
    chapter = data_chapter(gather(trained))
    assert chapter is not None
    assert any("(--stain white)" in sentence for sentence in chapter.sentences)


def test_a_set_without_colour_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = cv2.resize(rng.integers(40, 255, (4, 4), np.uint8), (32, 32))
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    with pytest.raises(InputError, match=r"4 of 4 training images .*no colour"):
        scan(tmp_path / "in", out=tmp_path / "run", stain="white")


def test_images_without_colour_are_counted(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(smear, tmp_path / "smear")
    Image.new("RGB", (32, 32), (255, 255, 255)).save(tmp_path / "smear" / "images" / "glass.png")
    run = scanned(tmp_path / "smear", tmp_path / "run", stain="white")
    said = " ".join(capsys.readouterr().err.split())
    assert "Stain: colours are brought to those of the training side (white, the median of" in said
    assert "Warning: 1 of the" in said
    store = PixelStore.open(run.pixels)
    assert (store[store.rows(["glass.png"])] == 255).all()


def test_only_what_is_stained_may_be_normalised(trained: RunDirectory, smear: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"images": smear / "images", "labels": smear / "labels.csv"}
    given["out"] = tmp_path / "run"
    for modality in ("xray", "dermoscopy", "fundus", "natural"):
        with pytest.raises(SettingsError, match=r"stained slides \(microscopy, histology, paper\)"):
            check_choices(RunSettings.of(**given, stain="white", modality=modality))
        with pytest.raises(SettingsError, match="stained slides"):
            pretrain(PretrainSettings.of(**given, stain="white", modality=modality, **SMALL))
    with pytest.raises(SettingsError, match="exclude each other"):
        RunSettings.of(**given, stain="white", window="lung")
    assert not (tmp_path / "run").exists()
    shutil.copytree(trained.path, tmp_path / "run", ignore=shutil.ignore_patterns("encoder", "checkpoints"))
    state = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    del state["stages"]["pretrain"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(state), encoding="utf-8")
    for choices, words in (({"modality": "xray"}, "stained slides"), ({"stain": "reinhard"}, "scanned with")):
        with pytest.raises(SettingsError, match=words):
            pretrain(images=tmp_path / "run", out=tmp_path / "run", resume=True, **choices, **SMALL)
