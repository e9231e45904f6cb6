"""``compare`` as a user calls it: encoders and runs beside each other, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import hundredfold
from hundredfold.cli import main
from hundredfold.config import CompareSettings
from hundredfold.data.smear import draw_smear
from hundredfold.errors import RunExistsError, RunMissingError, SplitError
from hundredfold.learn.curve import COLUMNS
from hundredfold.report.material import settings_of
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.compare import _as_measured

SMALL: dict[str, Any] = {"budgets": (1, 5), "classifiers": ("svm", "logistic"), "repeats": 2, "bootstrap": 40}


NAMES = ["thumbnail", "shortcut", "timm-test_resnet", "timm-test_resnet+thumbnail"]


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells whose slides are not told, so that each image is its own group."""
    folder = draw_smear(tmp_path_factory.mktemp("smear"), images=160, size=24, seed=1)
    labels = pd.read_csv(folder / "labels.csv")[["image", "label"]]
    labels.to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def first(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with thumbnails, measured."""
    out = tmp_path_factory.mktemp("runs") / "first"
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=out)
    hundredfold.embed(out, encoder="thumbnail", out=out)
    hundredfold.curve(out, labels=smear / "labels.csv", out=out, **SMALL)
    return out


@pytest.fixture(scope="module")
def compared(first: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run beside an encoder with random weights, and beside both concatenated, by the command line."""
    out = tmp_path_factory.mktemp("compared") / "out"
    encoders = "timm:test_resnet,timm:test_resnet+thumbnail"
    assert main(["compare", str(first), "--encoders", encoders, "--weights", "none", "--out", str(out)]) == 0
    return RunDirectory.open(out)


def test_further_encoders_are_measured_with_the_views_of_the_first(first: Path, tmp_path: Path) -> None:
    """Its pre-training was told them; the further encoders' folder knows nothing of that."""
    shutil.copytree(first, tmp_path / "run")
    run = RunDirectory.open(tmp_path / "run")
    run.record(curve={**run.state["curve"], "modality": "oct"})
    settings = CompareSettings.of(runs=[run.path], encoders=["timm:test_resnet"], out=tmp_path / "out")
    frozen = _as_measured(settings, run, tmp_path / "out")
    assert (frozen.classifiers, frozen.modality) == (SMALL["classifiers"], None)  # no network, no views
    config = settings_of(run)
    config["curve"]["classifiers"] = ["network"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert _as_measured(settings, run, tmp_path / "out").modality == "oct"


@pytest.mark.slow
def test_every_kind_of_encoder_is_in_one_table_and_report(compared: RunDirectory) -> None:
    frame = pd.read_csv(compared / "curve.csv")
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["encoder"].unique()) == NAMES
    table = pd.read_csv(compared / "comparison.csv")
    assert table["family"].tolist() == [5] * 5
    assert table["paired"].all()
    assert (table["p_holm"] >= table["p"]).all()
    page = (compared / "report.html").read_text(encoding="utf-8")
    assert "The methods compared" in page
    assert "timm-test_resnet+thumbnail" in page
    assert "is not finished" not in page
    for kind in ("png", "svg", "pdf", "csv"):
        assert (compared / "figures" / f"curve_svm.{kind}").stat().st_size > 0
    with pytest.raises(RunExistsError, match="resume"):
        hundredfold.compare([compared.path / "encoders"], out=compared.path)


@pytest.mark.slow
def test_the_same_encoder_from_two_runs_is_taken_once(
    compared: RunDirectory, first: Path, tmp_path: Path
) -> None:
    found = hundredfold.compare([first, compared.path / "encoders", first], out=tmp_path / "out")
    frame = pd.read_csv(found / "curve.csv")
    assert list(frame["encoder"].unique()) == NAMES
    joined, before = (pd.read_parquet(run / "predictions.parquet").astype(str) for run in (found, compared))
    pd.testing.assert_frame_equal(joined, before)


def test_other_draws_are_not_paired_and_the_report_says_so(first: Path, smear: Path, tmp_path: Path) -> None:
    hundredfold.curve(first, labels=smear / "labels.csv", out=tmp_path / "second", seed=3, **SMALL)
    found = hundredfold.compare([first, tmp_path / "second"], out=tmp_path / "out")
    table = pd.read_csv(found / "comparison.csv")
    assert set(table["other_encoder"]) | set(table["encoder"]) == {"first/thumbnail", "second/thumbnail"}
    across = table["encoder"].str[:5] != table["other_encoder"].str[:5]
    assert table["paired"].eq(~across).all()
    page = (found / "report.html").read_text(encoding="utf-8")
    assert "other draws of labels in 2 of 3 comparisons" in page
    assert str(tmp_path) not in page


def test_what_one_run_saw_of_the_test_images_is_told_of_all(
    first: Path, smear: Path, tmp_path: Path
) -> None:
    hundredfold.curve(first, labels=smear / "labels.csv", out=tmp_path / "second", seed=3, **SMALL)
    second = RunDirectory.open(tmp_path / "second")
    told = {"transductive": {"thumbnail": 3}, "leak": "1 group is on both sides"}
    second.record(curve=second.state["curve"] | told)
    found = hundredfold.compare([first, second.path], out=tmp_path / "out")
    assert found.state["curve"]["transductive"] == {"second/thumbnail": 3}
    page = (found / "report.html").read_text(encoding="utf-8")
    assert "Pre-training saw the test images" in page
    assert "A leak was allowed" in page
    assert "1 group is on both sides" in page


def test_other_test_images_are_refused_by_name(first: Path, smear: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(smear / "labels.csv")
    tested = pd.read_parquet(first / "predictions.parquet")["id"].astype(str).unique()
    labels["split"] = ["test" if name in tested[:-2] else "train" for name in labels["image"]]
    labels.to_csv(tmp_path / "other.csv", index=False)
    shutil.copytree(first / "embeddings" / "thumbnail", tmp_path / "vectors")
    hundredfold.curve(
        tmp_path / "vectors", labels=tmp_path / "other.csv", out=tmp_path / "second", allow_leak=True, **SMALL
    )
    with pytest.raises(SplitError, match=r"2 test images of first are none of second") as caught:
        hundredfold.compare([first, tmp_path / "second"], out=tmp_path / "out")
    assert set(tested[-2:]) <= {word.strip("(),;") for word in str(caught.value).split()}
    assert not (tmp_path / "out").exists()


def test_runs_of_other_budgets_are_compared_where_all_were_measured(
    first: Path, smear: Path, tmp_path: Path
) -> None:
    """The first has five labels per class, too, at which the other would silently be missing."""
    for name, budgets in (("second", (1, 2)), ("third", (2,))):
        chosen = {**SMALL, "budgets": budgets, "seed": 3}
        hundredfold.curve(first, labels=smear / "labels.csv", out=tmp_path / name, **chosen)
    found = hundredfold.compare([first, tmp_path / "second"], out=tmp_path / "out")
    table = pd.read_csv(found / "comparison.csv")
    assert set(table["n_per_class"]) == {1}
    assert set(table["other_encoder"]) == {"first/thumbnail", "second/thumbnail"}
    with pytest.raises(SplitError, match=r"found none \(first: 1, 5; third: 2\)"):
        hundredfold.compare([first, tmp_path / "third"], out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_runs_that_know_of_other_groups_are_refused(first: Path, smear: Path, tmp_path: Path) -> None:
    """Else the order of the runs decided whether patients or images are resampled."""
    tested = set(pd.read_parquet(first / "predictions.parquet")["id"].astype(str))
    labels = pd.read_csv(smear / "labels.csv")
    labels["split"] = ["test" if name in tested else "train" for name in labels["image"]]
    labels["group"] = labels["split"] + (labels.groupby("split").cumcount() // 3).astype(str)
    labels.to_csv(tmp_path / "grouped.csv", index=False)
    shutil.copytree(first / "embeddings" / "thumbnail", tmp_path / "vectors")
    hundredfold.curve(
        tmp_path / "vectors", labels=tmp_path / "grouped.csv", out=tmp_path / "second", **SMALL
    )
    count = labels.loc[labels["split"] == "test", "group"].nunique()
    for runs in ([first, tmp_path / "second"], [tmp_path / "second", first]):
        with pytest.raises(SplitError, match=f"second: {count}") as caught:
            hundredfold.compare(runs, out=tmp_path / "out")
        assert "first: 0" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_numbers_of_outer_splits_are_refused(first: Path, tmp_path: Path) -> None:
    for name, splits in (("three", 3), ("five", 5)):
        run = RunDirectory.open(shutil.copytree(first, tmp_path / name))
        run.record(curve={**run.state["curve"], "outer_splits": splits})
    with pytest.raises(SplitError, match=r"found three: 3, five: 5"):
        hundredfold.compare([tmp_path / "three", tmp_path / "five"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_curve_is_refused(first: Path, tmp_path: Path) -> None:
    bare = RunDirectory.create(tmp_path / "bare").path
    with pytest.raises(RunMissingError, match="no finished learning curve"):
        hundredfold.compare([first, bare], out=tmp_path / "out")
