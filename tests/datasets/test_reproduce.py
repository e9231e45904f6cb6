"""The verb: from a published layout to a report with the published figures, on tiny networks."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import hundredfold
from hundredfold import cli
from hundredfold.cli import main
from hundredfold.config import ReproduceSettings, Verb
from hundredfold.data.datasets.bone_marrow import COUNTS
from hundredfold.data.datasets.catalogue import DATASETS
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.errors import LeakError, RunExistsError, SettingsError, TooManyRejectsError

QUICK: dict[str, Any] = {
    "encoder": "thumbnail", "classifiers": ("svm", "knn"), "budgets": (1, 4), "repeats": 2, "bootstrap": 40,
    "max_bad": 1.0, "pixel_size": 32,
}
SMALL: dict[str, Any] = {
    **QUICK, "encoder": None, "preset": "default", "backbone": "test_resnet", "weights": "none", "epochs": 1,
    "batch_size": 16, "image_size": 32, "local_size": 16, "local_crops": 1, "prototypes": 32,
    "head_hidden": 16, "head_bottleneck": 8, "monitor_every": 2,
}


def facts(run: hundredfold.RunDirectory) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text())["dataset"])


@pytest.fixture(scope="module")
def marrow_run(bone_marrow: Path, tmp_path_factory: pytest.TempPathFactory) -> hundredfold.RunDirectory:
    """The classes with 5 labels stand for those with 250."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hundredfold.workflows.reproduce.LARGE", 7)
        out = tmp_path_factory.mktemp("runs") / "marrow"
        return hundredfold.reproduce("bone_marrow", images=bone_marrow, out=out, **QUICK)


def test_the_papers_settings_are_the_defaults(tmp_path: Path) -> None:
    settings = ReproduceSettings.of(dataset="isic", images=tmp_path, out=tmp_path)
    assert settings.backbone.startswith("xcit_small_12_p8")
    assert (settings.image_size, settings.modality, settings.test_size) == (256, "paper", 0.3)
    assert set(settings.classifiers) == {"svm", "knn", "logistic", "last_layer", "network"}


def test_cells_are_split_by_class_and_every_stage_is_done(marrow_run: hundredfold.RunDirectory) -> None:
    stages = {name: stage["status"] for name, stage in marrow_run.state["stages"].items()}
    assert stages == dict.fromkeys(["dataset", "scan", "embed", "curve", "fit", "report"], "done")
    table = ImageTable.read(marrow_run / "images.parquet")
    sizes = table.frame.groupby("label")["split"].value_counts().unstack()
    assert sizes["test"].to_dict() == {"ABE": 2, "BAS": 4, "LYT": 4, "NGS": 4}, "30 % of each class"
    assert "BAS/BAS_00001.jpg" in set(table.ids)


def test_what_is_missing_is_counted_named_and_told(marrow_run: hundredfold.RunDirectory) -> None:
    noted = facts(marrow_run)
    assert (noted["published"], noted["missing"]) == (171_374, 171_374 - 44)
    missing = pd.read_csv(marrow_run / "missing.csv")["image"]
    assert len(missing) == 171_374 - 44
    assert {"BAS/BAS_00013.jpg", "LYT/16001-17000/LYT_16826.jpg"} <= set(missing)
    page = (marrow_run / "report.html").read_text(encoding="utf-8")
    assert "The data set is not whole." in page
    assert "171,330 of 171,374 published images are missing" in page


def test_published_figures_stand_beside_ours(marrow_run: hundredfold.RunDirectory) -> None:
    """Each difference is ours less the published one, which is that of the paper's table."""
    both = pd.read_csv(marrow_run / "figures" / "published_all.csv").set_index(["classifier", "n_per_class"])
    assert both.loc[("svm", 100), "published"] == 0.724
    assert both.loc[("network", 1000), "published"] == 0.645
    curve = pd.read_csv(marrow_run / "curve.csv").query("metric == 'balanced_accuracy' and `class`.isna()")
    ours = curve.query("encoder == 'thumbnail' and classifier == 'svm' and n_per_class == 1")["value"].mean()
    row = both.loc[("svm", 1)]
    assert row["value"] == pytest.approx(ours, abs=1e-5)
    assert row["difference"] == pytest.approx(ours - 0.27, abs=1e-5)
    page = (marrow_run / "report.html").read_text(encoding="utf-8")
    assert "Beside the published figures" in page
    assert "literature, all labels: .689" in page
    assert (marrow_run / "figures" / "published_all.png").exists()


def test_large_classes_have_a_curve_of_their_own(marrow_run: hundredfold.RunDirectory) -> None:
    curve = pd.read_csv(marrow_run / "large_classes" / "curve.csv")
    assert set(curve["class"].dropna()) == {"BAS", "LYT", "NGS"}, "ABE has six training images"
    both = pd.read_csv(marrow_run / "figures" / "published_250.csv")
    assert both.query("classifier == 'svm' and n_per_class == 250")["published"].item() == 0.743


def test_a_finished_run_is_refused_and_kept_by_resume(
    marrow_run: hundredfold.RunDirectory, bone_marrow: Path
) -> None:
    given = {"images": bone_marrow, "out": marrow_run.path, **QUICK}
    with pytest.raises(RunExistsError, match="dataset is already in this run"):
        hundredfold.reproduce("bone_marrow", **given)
    times = {path: path.stat().st_mtime_ns for path in marrow_run.path.rglob("*") if path.is_file()}
    hundredfold.reproduce("bone_marrow", **given, resume=True)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    with pytest.raises(SettingsError, match="dataset was done with leave_out_val = False, found True"):
        hundredfold.reproduce("bone_marrow", **given, resume=True, leave_out_val=True)


def test_a_second_figure_that_was_not_drawn_any_more_is_drawn_by_resume(
    marrow_run: hundredfold.RunDirectory, bone_marrow: Path
) -> None:
    """The run was stopped between the curve of the large classes and the report that shows it."""
    drawn = marrow_run / "figures" / "published_250.csv"
    held = drawn.read_bytes()
    drawn.unlink()
    hundredfold.reproduce("bone_marrow", images=bone_marrow, out=marrow_run.path, **QUICK, resume=True)
    assert drawn.read_bytes() == held


def test_config_yaml_repeats_the_run(marrow_run: hundredfold.RunDirectory, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["scan", "--config", str(marrow_run / "config.yaml"), "--out", str(again)]) == 0
    assert (again / "splits.csv").read_bytes() == (marrow_run / "splits.csv").read_bytes()


def test_a_partial_download_writes_nothing(bone_marrow: Path, tmp_path: Path) -> None:
    given = {**QUICK, "max_bad": 0.01}
    with pytest.raises(TooManyRejectsError, match="171,330 of 171,374 published images are missing"):
        hundredfold.reproduce("bone_marrow", images=bone_marrow, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_wrong_name_is_found_before_anything_is_written(
    bone_marrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--images", str(bone_marrow), "--out", str(tmp_path / "run"), "--max-bad", "1"]
    assert main(["reproduce", "bonemarrow", *place]) == 2
    assert "Did you mean 'bone_marrow'?" in capsys.readouterr().err
    assert main(["reproduce", "bone_marrow", *place, "--encoder", "tim:x"]) == 2
    assert main(["reproduce", "bone_marrow", *place, "--encoder", "thumbnail", "--classifiers", "svn"]) == 2
    assert not (tmp_path / "run").exists()


def test_the_leaking_split_of_endoscopy_can_only_be_run_by_name(endoscopy: Path, tmp_path: Path) -> None:
    places = [str(path) for path in sorted(endoscopy.rglob("labeled-images/*/*/*/*.jpg"))]
    frame = pd.DataFrame({"image": places})
    frame["label"] = frame["image"].map(lambda name: Path(name).parent.name)
    (tmp_path / "endo").mkdir()
    frame.groupby("label").head(8).to_csv(tmp_path / "endo" / "labeled_train.csv")
    frame.groupby("label").tail(6).to_csv(tmp_path / "endo" / "test.csv")
    given = {**QUICK, "images": endoscopy, "out": tmp_path / "run", "splits": tmp_path}
    given["published_split"] = True
    with pytest.raises(LeakError, match="6 of 18 test images"):
        hundredfold.reproduce("endoscopy", **given)
    assert not (tmp_path / "run").exists()
    run = hundredfold.reproduce("endoscopy", **given, allow_leak=True)
    table = ImageTable.read(run / "images.parquet")
    assert (len(table.train), len(table.test)) == (24, 18)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "A leak was allowed." in page
    assert "cannot be trusted" in page


def test_medmnist_runs_from_its_file_and_says_that_no_patient_is_known(
    bloodmnist: Path, tmp_path: Path
) -> None:
    run = hundredfold.reproduce("medmnist", images=bloodmnist, out=tmp_path / "run", **QUICK)
    table = ImageTable.read(run / "images.parquet")
    assert (len(table.train), len(table.test)) == (128, 32)
    assert len(table.classes) == 8
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Patients are not in the file" in page
    assert not (run / "figures" / "published_all.csv").exists()


def test_every_command_of_the_page_is_accepted_as_it_stands(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repo_root / "docs" / "reproduce.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if line.startswith("hundredfold ")]
    received: list[ReproduceSettings] = []
    monkeypatch.setattr(cli, "load_verb", lambda _: Verb(ReproduceSettings, received.append))
    assert [main(shlex.split(command)[1:]) for command in commands] == [0] * len(commands)
    assert {settings.dataset for settings in received} == set(DATASETS)
    assert f"{sum(COUNTS.values()):,}" in page


@pytest.mark.slow
def test_isic_end_to_end_with_pre_training_on_its_dicoms(isic: Path, tmp_path: Path) -> None:
    run = hundredfold.reproduce("isic", images=isic, out=tmp_path / "run", **SMALL)
    table = ImageTable.read(run / "images.parquet")
    frame = table.usable.frame
    assert len(frame) == 44
    assert frame.dropna(subset=["group", "split"]).groupby("group")["split"].nunique().max() == 1
    dicoms = frame[frame["path"].str.endswith(".dcm")]
    assert len(dicoms) == 8
    seen = Encoder.load(run / "encoder").seen
    assert set(dicoms["sha256"]) <= seen, "the unlabelled images were learned from"
    assert not seen & set(table.test.frame["sha256"])
    noted = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert noted["pretrain"]["modality"] == "dermoscopy", "that of the data set, since the preset is ours"
    both = pd.read_csv(run / "figures" / "published_all.csv")
    assert set(both.dropna(subset="difference")["classifier"]) == {"svm", "knn"}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert re.search(r"whole lesions at a\s+time", page)
