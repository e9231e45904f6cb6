"""The whole chain on a few small cells, once; each test looks at another side of what came out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hundredfold
from hundredfold.cli import main
from hundredfold.data.smear import draw_smear
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.opening import load_encoder
from hundredfold.errors import RunExistsError, SettingsError, SplitError
from hundredfold.files import hash_file
from hundredfold.learn.shortcuts import SHORTCUT
from hundredfold.report.words import encoder_label
from hundredfold.workflows.run import ENCODERS

SMALL: dict[str, Any] = {
    "backbone": "test_resnet", "weights": "none", "epochs": 2, "batch_size": 16,
    "image_size": 32, "local_size": 16, "local_crops": 1, "prototypes": 32,
    "head_hidden": 16, "head_bottleneck": 8, "monitor_every": 2,
    "budgets": (1, 4), "classifiers": ("svm", "knn"), "repeats": 2, "bootstrap": 40,
}
STAGES = ["scan", "pretrain", "embed", "curve", "fit", "report"]


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_smear(tmp_path_factory.mktemp("smear"), images=90, size=32, seed=3)
    (folder / "images" / "note.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def given(smear: Path) -> dict[str, Any]:
    return {"images": smear / "images", "labels": smear / "labels.csv", "max_bad": 0.05, **SMALL}


@pytest.fixture(scope="module")
def finished(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> hundredfold.RunDirectory:
    return hundredfold.run(**given, out=tmp_path_factory.mktemp("runs") / "cells")


def test_every_stage_is_done_and_every_file_is_there(finished: hundredfold.RunDirectory) -> None:
    assert {name: stage["status"] for name, stage in finished.state["stages"].items()} == dict.fromkeys(
        STAGES, "done"
    )
    files = [
        "run.json", "config.yaml", "images.parquet", "splits.csv", "rejects.csv", "pixels", "metrics.jsonl",
        "encoder/encoder.safetensors", "encoder/encoder.json", "initial/encoder.safetensors", "curve.csv",
        "curve.parquet", "predictions.parquet", "predictor/predictor.json", "figures", "report.html",
        "methods.md", "model_card.md", "predictor/model_card.md", "facts.json",
    ]
    assert [name for name in files if not (finished / name).exists()] == []
    assert list(finished.path.rglob("*.tmp")) == []


def test_the_card_in_the_predictor_names_files_as_they_are(finished: hundredfold.RunDirectory) -> None:
    card = (finished / "predictor" / "model_card.md").read_text(encoding="utf-8")
    assert card == (finished / "model_card.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", card, re.MULTILINE)
    assert len(named) >= 4
    assert {name: hash_file(finished / name) for name, _ in named} == dict(named)
    hardware = finished.state["pretrain"]["hardware"]
    assert f"on {hardware['device']}" in (finished / "methods.md").read_text(encoding="utf-8")


def test_the_empty_file_is_rejected_and_the_run_goes_on(finished: hundredfold.RunDirectory) -> None:
    rejects = pd.read_csv(finished / "rejects.csv")
    assert rejects[["image", "reason"]].to_numpy().tolist() == [["note.jpg", "empty"]]


def test_all_encoders_saw_the_same_images(finished: hundredfold.RunDirectory) -> None:
    ids = [Embeddings.read(finished / "embeddings" / name).ids.tolist() for name in ENCODERS]
    assert all(one == ids[0] for one in ids)
    assert len(ids[0]) == 90


def test_pre_training_changed_the_encoder(finished: hundredfold.RunDirectory) -> None:
    before, after = (Embeddings.read(finished / "embeddings" / name) for name in ("initial", "pretrained"))
    assert before.encoder["hash"] != after.encoder["hash"]
    length = before.vectors.shape[1]  # behind them are the means of the last stages
    assert after.vectors.shape[1] > length
    assert abs(before.vectors - after.vectors[:, :length]).max() > 0


def test_pre_training_saw_no_test_image(finished: hundredfold.RunDirectory) -> None:
    images = pd.read_parquet(finished / "images.parquet").dropna(subset="sha256")
    for folder in ("encoder", "adapted"):
        seen = load_encoder(finished / folder).seen
        assert seen
        assert seen <= set(images["sha256"])
        assert not seen & set(images.loc[images["split"] == "test", "sha256"])


def test_no_slide_is_on_both_sides(finished: hundredfold.RunDirectory) -> None:
    splits = pd.read_csv(finished / "splits.csv").dropna(subset="group")
    assert splits.groupby("group")["split"].nunique().max() == 1
    assert set(splits["split"]) == {"train", "test"}


def test_the_curve_holds_every_combination(finished: hundredfold.RunDirectory) -> None:
    curve = pd.read_csv(finished / "curve.csv")
    accuracy = curve[curve["metric"] == "balanced_accuracy"]
    assert set(accuracy["encoder"]) == {*ENCODERS, SHORTCUT}
    assert set(accuracy["classifier"]) == {"svm", "knn"}
    assert set(accuracy["n_per_class"]) == {1, 4}
    assert accuracy["value"].between(0, 1).all()


def test_the_report_is_one_file_that_asks_for_nothing(finished: hundredfold.RunDirectory) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""\bsrc=["'](?!data:)|<link\b|@import|url\(["']?http""", page)
    assert all(encoder_label(name) in page for name in ENCODERS)


def test_a_finished_run_is_refused_without_resume_and_stays_as_it_is(
    finished: hundredfold.RunDirectory, given: dict[str, Any]
) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(RunExistsError, match=r"scan is already in this run.*--resume"):
        hundredfold.run(**given, out=finished.path)
    assert (finished / "run.json").read_bytes() == before


def test_a_finished_run_is_kept_by_resume(finished: hundredfold.RunDirectory, given: dict[str, Any]) -> None:
    times = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*") if path.is_file()}
    hundredfold.run(**given, out=finished.path, resume=True)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_resume_with_other_settings_is_refused(
    finished: hundredfold.RunDirectory, given: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"curve was done with repeats = 2, found 3"):
        hundredfold.run(**{**given, "repeats": 3}, out=finished.path, resume=True)


def test_a_run_with_a_further_encoder_is_still_resumed_and_fitted(
    given: dict[str, Any], tmp_path: Path
) -> None:
    """The settings of what stands beside a run's own encoders were asked for by its ``--resume``."""
    run = hundredfold.run(**given, out=tmp_path / "run").path
    hundredfold.embed(run, encoder=str(run), embed_size=40, out=run)
    hundredfold.embed(run, encoder=str(run), embed_size=40, out=run, resume=True)
    hundredfold.run(**given, out=run, resume=True)
    larger = run / "embeddings" / "pretrained-40px"
    fitted = hundredfold.fit(larger, labels=given["labels"], out=tmp_path / "predictor")
    assert fitted.encoder.facts["size"] == 40


def test_an_interrupted_run_is_continued_and_comes_out_the_same(
    finished: hundredfold.RunDirectory, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hundredfold.workflows.curve.curve", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hundredfold.run(**given, out=tmp_path / "run")
    assert not (tmp_path / "run" / "curve.csv").exists()
    run = hundredfold.run(**given, out=tmp_path / "run", resume=True)
    assert (run / "curve.csv").read_bytes() == (finished / "curve.csv").read_bytes(), "bit-equal on a CPU"


def test_config_yaml_repeats_the_settings(finished: hundredfold.RunDirectory, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["scan", "--config", str(finished / "config.yaml"), "--out", str(again)]) == 0
    assert (again / "splits.csv").read_bytes() == (finished / "splits.csv").read_bytes()


def test_the_predictor_labels_new_images_and_says_what_it_could_not(
    finished: hundredfold.RunDirectory, smear: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.csv"
    assert main(["predict", str(smear / "images"), "--predictor", str(finished.path), "--out", str(out)]) == 0
    found = pd.read_csv(out)
    classes = set(pd.read_csv(smear / "labels.csv")["label"])
    assert len(found) == 91
    bad = found[found["label"].isna()]
    assert bad["image"].tolist() == ["note.jpg"]
    assert bad["problem"].str.contains("empty").all()
    assert set(found["label"].dropna()) <= classes
    assert {f"p:{name}" for name in classes} <= set(found.columns)


def test_run_json_says_what_pre_training_did(finished: hundredfold.RunDirectory) -> None:
    facts = finished.state["pretrain"]
    assert (facts["backbone"], facts["batch_size"], facts["image_size"]) == ("test_resnet", 16, 32)
    assert facts["transductive"] is False
    steps = [json.loads(line)["step"] for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (["--classifiers", "svm,knm"], "no classifier named 'knm'. Did you mean 'knn'?"),
        (["--modality", "micorscopy"], "no modality named 'micorscopy'. Did you mean 'microscopy'?"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--backbone", "resnet10x"], "resnet10x"),
    ],
)
def test_a_wrong_name_is_found_before_anything_is_written(
    setting: list[str], sentence: str, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [str(smear / "images"), "--labels", str(smear / "labels.csv"), "--out", str(tmp_path / "run")]
    weights = [] if "--weights" in setting else ["--weights", "none"]
    assert main(["run", *places, *weights, *setting]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_test_side_without_labels_is_found_before_training(
    given: dict[str, Any], smear: Path, tmp_path: Path
) -> None:
    rows = pd.read_csv(smear / "labels.csv").assign(split="train")
    rows.loc[rows["image"].isin(rows["image"].tail(9)), "split"] = "audit"
    rows.loc[rows["split"] == "audit", "label"] = None
    rows.drop(columns="group").to_csv(tmp_path / "labels.csv", index=False)
    for resume in (False, True):
        with pytest.raises(SplitError, match="test"):
            hundredfold.run(
                **given | {"labels": tmp_path / "labels.csv"}, near_copies=False, out=tmp_path / "run",
                resume=resume,
            )
        assert "pretrain" not in hundredfold.RunDirectory.open(tmp_path / "run").state["stages"]


def test_an_encoder_that_is_there_takes_the_place_of_pre_training(
    finished: hundredfold.RunDirectory, given: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(finished / "encoder", tmp_path / "mine")
    quick = {**given, "encoder": str(tmp_path / "mine"), "classifiers": ("knn",), "classifier": "knn"}
    run = hundredfold.run(**quick, out=tmp_path / "run")
    assert list(run.state["stages"]) == ["scan", "embed", "curve", "fit", "report"]
    assert {path.name for path in (run / "embeddings").iterdir()} == {"mine", "thumbnail"}
    assert (run / "predictor" / "predictor.json").is_file()


def test_an_encoder_with_random_weights_is_refused(given: dict[str, Any], tmp_path: Path) -> None:
    """Its weights would be others when the predictor asks for them."""
    with pytest.raises(SettingsError, match="random weights"):
        hundredfold.run(**{**given, "encoder": "timm:test_resnet"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
