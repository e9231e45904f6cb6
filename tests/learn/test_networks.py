"""Networks trained end to end inside a learning curve: the labels, draws and test images of the others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import CurveChoices
from hundredfold.data.smear import draw_smear
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder
from hundredfold.errors import RunMissingError, SettingsError
from hundredfold.learn import networks as room
from hundredfold.learn import study as study_room
from hundredfold.learn.curve import LearningCurve, learning_curve
from hundredfold.learn.draws import Outcome
from hundredfold.learn.networks import Networks, StoredImages
from hundredfold.learn.study import Study
from hundredfold.learn.training import Recipe
from hundredfold.learn.trial import Trial
from hundredfold.workflows.curve import _at_the_end
from hundredfold.workflows.labelled import networks_of

QUICK = Recipe(learning_rate=1e-3, epochs=3, patience=3, blind_epochs=2, least_steps=3, batch_size=16)
SMALL: dict[str, Any] = {"budgets": (1, 6), "classifiers": ("svm", "network"), "repeats": 2, "bootstrap": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scanned cells, with the vectors of a small random backbone and thumbnails."""
    place = tmp_path_factory.mktemp("networks")
    smear = draw_smear(place / "smear", images=90, size=32, seed=1)
    out = place / "run"
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=out)
    torch.manual_seed(0)
    Encoder(
        create_backbone("resnet10t", weights="none"), size=32, value_range=None, fit="pad",
        provenance={"method": "none"}, seen=frozenset(), symmetry="mirror",
    ).save(out / "initial")
    hundredfold.embed(out, encoder=str(out / "initial"), out=out)
    hundredfold.embed(out, encoder="thumbnail", out=out / "elsewhere")
    return out


@pytest.fixture(scope="module")
def parts(run: Path) -> tuple[dict[str, Embeddings], ImageTable, Networks]:
    embeddings = {
        "initial": Embeddings.read(next((run / "embeddings").iterdir())),
        "thumbnail": Embeddings.read(next((run / "elsewhere" / "embeddings").iterdir())),
    }
    encoders = {"initial": Encoder.load(run / "initial")}
    networks = Networks(PixelStore.open(run / "pixels"), encoders, "microscopy", "initial", QUICK, (1e-3,))
    return embeddings, ImageTable.read(run / "images.parquet"), networks


@pytest.fixture(scope="module")
def found(parts: tuple[dict[str, Embeddings], ImageTable, Networks]) -> LearningCurve:
    embeddings, table, networks = parts
    return learning_curve(embeddings, table, CurveChoices.of(**SMALL), networks=networks)


@pytest.mark.parametrize(("own", "supervised"), [(False, "initial"), (True, None)])
def test_supervised_is_an_encoder_that_saw_none_of_these_images(
    run: Path, parts: tuple[dict[str, Embeddings], ImageTable, Networks], *, own: bool, supervised: str | None
) -> None:
    """Start weights may be those of an earlier run: of others' images, or of these."""
    embeddings, table, _ = parts
    kept = Encoder.load(run / "initial")
    seen = frozenset({table.frame["sha256"].iloc[0]} if own else {"a" * 64})
    other = kept.altered(seen=seen)
    made = replace(embeddings["initial"], encoder=other.facts, seen=seen)
    other.save(run / "initial")
    try:
        assert networks_of(run, {"initial": made}, (1e-3,)).supervised == supervised
    finally:
        kept.save(run / "initial")


def test_the_views_are_those_asked_for_else_those_of_the_pre_training_else_of_microscopy(
    run: Path, parts: tuple[dict[str, Embeddings], ImageTable, Networks], tmp_path: Path
) -> None:
    """A radiograph that is turned upside down and stained makes a weak baseline, and nobody would see why."""
    given = {"initial": parts[0]["initial"]}
    assert networks_of(run, given, (1e-3,)).modality == "microscopy"
    assert networks_of(run, given, (1e-3,), modality="xray").modality == "xray"
    trained = tmp_path / "trained"
    shutil.copytree(run, trained)
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (trained / "config.yaml").write_text(yaml.safe_dump({**config, "pretrain": {"modality": "ultrasound"}}))
    assert networks_of(trained, given, (1e-3,)).modality == "ultrasound"
    assert networks_of(trained, given, (1e-3,), modality="xray").modality == "xray"
    with pytest.raises(SettingsError, match=r"no modality named 'x-ray'"):
        networks_of(run, given, (1e-3,), modality="x-ray")
    elsewhere = Encoder.load(run / "initial").altered(provenance={"settings": {"modality": "oct"}})
    shutil.copytree(run, tmp_path / "embedded")
    elsewhere.save(tmp_path / "embedded" / "initial")  # pre-trained in another run
    made = {"initial": replace(given["initial"], encoder=elsewhere.facts)}
    assert networks_of(tmp_path / "embedded", made, (1e-3,)).modality == "oct"


def test_every_encoder_with_a_backbone_has_a_network_and_the_supervised_one_all_labels(
    found: LearningCurve, parts: tuple[dict[str, Embeddings], ImageTable, Networks]
) -> None:
    rows = found.frame[found.frame["metric"] == "balanced_accuracy"]
    trained = rows[rows["classifier"] == "network"]
    every = int(parts[1].train.frame["label"].value_counts().max())
    assert set(trained["encoder"]) == {"initial"}
    assert sorted(trained["n_per_class"].unique()) == [1, 6, every]
    assert set(trained.loc[trained["n_per_class"] == every, "n_labels"]) == {len(parts[1].train)}
    assert sorted(rows.loc[rows["classifier"] == "svm", "n_per_class"].unique()) == [1, 6]
    assert (found.facts["supervised"], found.facts["modality"]) == ("initial", "microscopy")


def test_a_network_gets_the_labels_of_the_draw_and_no_others(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHOD, mistake 10: the reference gave the networks 70 % of what the SVM got."""
    embeddings, table, networks = parts
    given: list[tuple[int, int]] = []
    plain = room.fine_tune

    def watched(backbone: Any, images: StoredImages, labels: np.ndarray, **more: Any) -> Any:
        given.append((len(images), len(set(labels))))
        return plain(backbone, images, labels, **more)

    monkeypatch.setattr(room, "fine_tune", watched)
    choices = CurveChoices.of(**{**SMALL, "budgets": (2,), "repeats": 1})
    curve = learning_curve({"initial": embeddings["initial"]}, table, choices, networks=networks)
    classes = len(table.train.classes)
    assert given == [(2 * classes, classes), (len(table.train), classes)]
    labels = curve.frame.groupby(["n_per_class", "repeat"])["n_labels"].nunique()
    assert (labels == 1).all()


def test_near_copies_are_on_one_side_of_the_labels_that_choose_the_epoch(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, table, networks = parts
    side = table.train
    train = side.by_id(np.concatenate([
        side.ids[np.flatnonzero(side.frame["label"] == name)[:6]] for name in side.classes[:2]
    ]))
    train = train.assign(group=None, cluster=[f"{row % 3}-{row // 6}" for row in range(12)])  # two of each
    tuned, plain = [], room.fine_tune

    def watched(*given: Any, **more: Any) -> Any:
        tuned.append(plain(*given, **more))
        return tuned[-1]

    monkeypatch.setattr(room, "fine_tune", watched)
    networks.solve("initial", train, np.repeat([0, 1], 6), table.test, 2)
    held = train.frame["cluster"].where(tuned[0].validation).dropna()
    assert sorted(held.value_counts()) == [2, 2]


def test_it_is_the_same_again_and_goes_on_where_it_was(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, table, networks = parts
    one = {"initial": embeddings["initial"]}
    choices = CurveChoices.of(**{**SMALL, "budgets": (3,)})
    whole = learning_curve(one, table, choices, networks=networks)
    plain, solved = Networks.solve, []

    def interrupted(self: Networks, *given: Any) -> Any:
        solved.append(len(given[1]))
        if len(solved) == 3:
            raise KeyboardInterrupt
        return plain(self, *given)

    monkeypatch.setattr(Networks, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learning_curve(one, table, choices, networks=networks, parts=tmp_path / "parts")
    again = learning_curve(one, table, choices, networks=networks, parts=tmp_path / "parts")
    assert len(solved) == 4  # two, the one that was interrupted, and that one again
    pd.testing.assert_frame_equal(whole.frame, again.frame)
    other = replace(networks, recipe=replace(QUICK, seed=1))
    assert other.identity != networks.identity


def test_other_scores_of_an_svm_leave_what_a_network_took_hours_for(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, table, networks = parts
    given = CurveChoices.of(**{**SMALL, "classifiers": ("svm", "network"), "budgets": (3,), "repeats": 1})

    def keys() -> dict[tuple[str, ...], str]:
        study = Study.of(Trial.of(table), given, 0, {"initial": "hash"}, networks)
        found = [study.task(cell, 0) for cell in study.cells if cell.budget == 3]
        return {one.classifiers: one.key for one in found}

    before = keys()
    monkeypatch.setattr(study_room, "SCORES", "others")
    assert {names for names, key in keys().items() if key != before[names]} == {("svm",)}


def test_enough_labels_teach_a_network_more_than_guessing(found: LearningCurve) -> None:
    rows = found.frame[(found.frame["metric"] == "auroc") & (found.frame["classifier"] == "network")]
    assert rows.loc[rows["n_per_class"] == rows["n_per_class"].max(), "value"].mean() > 0.6


def test_stored_images_are_those_of_the_store(run: Path) -> None:
    store = PixelStore.open(run / "pixels")
    images = StoredImages(store, store.ids[[4, 1]], store.size)
    np.testing.assert_array_equal(images[np.array([1, 0])], store[[1, 4]])
    np.testing.assert_array_equal(np.stack([*images]), store[[4, 1]])
    assert (images.shape, len(images), images.dtype) == ((2, 32, 32, 3), 2, np.uint8)


def test_what_has_no_backbone_or_no_pixels_is_refused(run: Path, tmp_path: Path) -> None:
    labels = run.parent / "smear" / "labels.csv"
    asked: dict[str, Any] = {"labels": labels, "classifiers": ("network",), "budgets": (1,)}
    with pytest.raises(SettingsError, match="thumbnail has none"):
        hundredfold.curve(run / "elsewhere", out=tmp_path / "a", **asked)
    vectors = next((run / "embeddings").iterdir())
    vectors = Path(vectors).rename(tmp_path / "vectors")
    try:
        with pytest.raises(RunMissingError, match="lie in no run"):
            hundredfold.curve(vectors, out=tmp_path / "b", **asked)
    finally:
        vectors.rename(run / "embeddings" / "initial")
    assert not list(tmp_path.iterdir())


def test_of_several_rates_each_fit_keeps_that_of_the_lowest_validation_loss(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, table, networks = parts
    tried: list[tuple[float, float]] = []
    plain = room.fine_tune

    def watched(*given: Any, **more: Any) -> Any:
        tuned = plain(*given, **more)
        tried.append((more["recipe"].learning_rate, min(tuned.history)))
        return tuned

    monkeypatch.setattr(room, "fine_tune", watched)
    train = table.train.by_id(sorted(table.train.ids)[:40])
    codes = train.frame["label"].astype("category").cat.codes.to_numpy(np.int64)
    several = replace(networks, rates=(1e-9, 1e-3))
    rate, best = several._best(networks.encoders["initial"], train, codes)
    assert [rate for rate, _ in tried] == [1e-9, 1e-3]
    assert min(best.history) == min(loss for _, loss in tried) == tried[1][1]
    assert rate == 1e-3


def test_the_rates_that_were_kept_are_told_and_an_end_of_those_tried_is_warned_of(
    parts: tuple[dict[str, Embeddings], ImageTable, Networks], tmp_path: Path
) -> None:
    embeddings, table, networks = parts
    given = CurveChoices.of(**{**SMALL, "budgets": (1, 3), "repeats": 1, "classifiers": ("network",)})
    one, several = {"initial": embeddings["initial"]}, replace(networks, rates=(1e-9, 1e-3))
    kept = learning_curve(one, table, given, networks=several).facts["network_rates"]
    assert [row[0] for row in kept] == ["initial", "initial"]
    three = 3 * len(table.train.classes)
    assert [row[1] for row in kept] == [three, len(table.train)]  # of one label a class none chooses
    assert {row[2] for row in kept} <= {1e-9, 1e-3}
    told = [["initial", 30, 1e-3, 4], ["initial", 90, 1e-3, 1], ["initial", 90, 1e-4, 1]]
    first = "Warning: 5 of 6 networks did best with the largest learning rate that was tried, 0.001;"
    assert [line[: len(first)] for line in _at_the_end(told, (1e-4, 1e-3))] == [first]
    assert list(_at_the_end(told, (1e-3,))) == list(_at_the_end(told, (1e-4, 1e-3, 1))) == []
    outcome = Outcome(np.zeros((1, 2), np.int32), np.zeros((1, 2, 3), np.float32), np.array([False]), 1e-3)
    outcome.write(tmp_path / "one.npz")
    assert Outcome.read(tmp_path / "one.npz").rate == 1e-3
