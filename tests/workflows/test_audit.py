"""The audit set from drawing to report: never learned from, suggested or moved, and always named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hundredfold
from hundredfold.data.smear import draw_smear
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.errors import LeakError, SplitError
from hundredfold.report.finding import finding
from hundredfold.report.material import gather, headline_of
from hundredfold.report.tables import counts

SMALL: dict[str, Any] = {"budgets": (1, 4), "classifiers": ("lda", "knn"), "repeats": 2, "bootstrap": 50}
TINY: dict[str, Any] = {
    "backbone": "test_efficientnet.r160_in1k", "weights": "none", "image_size": 32, "local_crops": 1,
    "batch_size": 8, "epochs": 0.5, "prototypes": 16, "head_hidden": 16, "head_bottleneck": 8,
}


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients of four images; ``groups.csv`` names them and no class."""
    folder = draw_smear(tmp_path_factory.mktemp("smear"), images=100, size=32, seed=1)
    labels = pd.read_csv(folder / "labels.csv")
    labels["group"] = [f"p{n // 4}" for n in range(len(labels))]
    labels.to_csv(folder / "labels.csv", index=False)
    labels.assign(label=None).to_csv(folder / "groups.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def project(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scanned without labels, with an audit set, and embedded."""
    out = tmp_path_factory.mktemp("runs") / "run"
    hundredfold.scan(smear / "images", labels=smear / "groups.csv", audit=30, out=out)
    hundredfold.embed(out, encoder="thumbnail", out=out)
    return out


@pytest.fixture
def run(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project, tmp_path / "run"))


def audit_of(run: Path) -> set[str]:
    splits = pd.read_csv(run / "splits.csv")
    return set(splits.loc[splits["split"] == "audit", "image"])


def test_whole_patients_are_set_aside_and_the_scan_says_how_many(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hundredfold.scan(smear / "images", labels=smear / "groups.csv", audit=30, out=tmp_path / "run")
    splits = pd.read_csv(run / "splits.csv")
    assert set(splits["split"]) == {"train", "audit"}
    assert splits.groupby("group")["split"].nunique().max() == 1
    assert 28 <= len(audit_of(run.path)) <= 32
    assert f"audit {len(audit_of(run.path))} images (0 labelled)" in capsys.readouterr().err


def test_a_scan_with_labels_draws_no_test_set_beside_it(smear: Path, tmp_path: Path) -> None:
    run = hundredfold.scan(smear / "images", labels=smear / "labels.csv", audit=30, out=tmp_path / "run")
    table = ImageTable.read(run / "images.parquet")
    assert set(table.frame["split"]) == {"train", "audit"}
    assert set(table.test.ids) == audit_of(run.path)
    assert len(table.train) == len(table) - len(table.test)


def test_no_strategy_suggests_an_audit_image(run: Path, tmp_path: Path) -> None:
    for strategy in ("mixture", "random"):
        out = hundredfold.suggest(run, budget=999, strategy=strategy, out=tmp_path / f"{strategy}.csv")
        assert len(pd.read_csv(out)) >= 60
        assert not set(pd.read_csv(out)["image"]) & audit_of(run)


def test_pretraining_never_sees_it_even_if_it_may_see_test_images(run: Path) -> None:
    hundredfold.pretrain(run, out=run, transductive=True, **TINY)
    table = ImageTable.read(run / "images.parquet").frame
    audit = table["id"].isin(audit_of(run))
    assert Encoder.load(run / "encoder").seen == set(table.loc[~audit, "sha256"])


def test_the_curve_is_judged_on_it_and_says_so(
    run: Path, smear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = hundredfold.curve(run, labels=smear / "labels.csv", out=run, **SMALL)
    said = pd.read_parquet(run / "predictions.parquet")
    assert set(said["id"].astype(str)) == audit_of(run)
    assert made.state["curve"]["test_set"] == "audit"
    assert made.state["curve"]["transductive"] == {}
    assert "test images (the audit set)" in capsys.readouterr().err
    material = gather(made)
    told = finding(material, headline_of(material))[0]
    assert "test images (the audit set, set aside at random before anything was learned)" in told
    assert material.images is not None
    found = counts(material.images, None).set_index("item")["count"]
    assert found["labelled audit images"] == len(audit_of(run))


def test_beside_a_test_set_it_takes_no_part_and_that_is_said(
    run: Path, smear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = pd.read_csv(run / "splits.csv")[["image", "split"]]
    labels = pd.read_csv(smear / "labels.csv").merge(splits, on="image")
    patients = labels.loc[labels["split"] == "train", "group"].unique()[:8]
    labels.loc[labels["group"].isin(patients), "split"] = "test"
    labels.to_csv(run / "labels.csv", index=False)
    made = hundredfold.curve(run, labels=run / "labels.csv", out=run, **SMALL)
    said = pd.read_parquet(run / "predictions.parquet")
    assert set(said["id"].astype(str)) == set(labels.loc[labels["split"] == "test", "image"])
    facts = made.state["curve"]
    assert (facts["test_set"], facts["audit_images_spared"]) == ("test", len(audit_of(run)))
    assert f"the {len(audit_of(run))} labelled audit images take no part" in capsys.readouterr().err
    material = gather(made)
    assert "labelled audit images took no part" in finding(material, headline_of(material))[0]


def test_a_predictor_learns_from_none_of_it(run: Path, smear: Path) -> None:
    predictor = hundredfold.fit(run, labels=smear / "labels.csv", classifier="lda", out=run)
    assert predictor.facts["held_out"] == len(audit_of(run))
    assert sum(predictor.facts["labels"].values()) == 100 - len(audit_of(run))
    labels = pd.read_csv(smear / "labels.csv").set_index("image")["label"]
    counts = labels[list(audit_of(run))].value_counts()
    assert predictor.audit is not None
    assert {name: count for name, count in predictor.audit.counts.items() if count} == counts.to_dict()


def test_unlabelled_it_gives_no_curve_and_the_message_says_what_to_label(run: Path, smear: Path) -> None:
    labels = pd.read_csv(smear / "labels.csv")
    labels[~labels["image"].isin(audit_of(run))].to_csv(run / "labels.csv", index=False)
    with pytest.raises(SplitError, match="If there is an audit set, label images of it"):
        hundredfold.curve(run, labels=run / "labels.csv", out=run, **SMALL)


@pytest.mark.parametrize("verb", ["curve", "fit", "suggest"])
def test_labels_that_move_an_image_out_of_it_are_refused(run: Path, smear: Path, verb: str) -> None:
    pd.read_csv(smear / "labels.csv").assign(split="train").to_csv(run / "labels.csv", index=False)
    given: dict[str, Any] = {"out": run / "next", **({"budget": 3} if verb == "suggest" else {})}
    with pytest.raises(LeakError, match="images of the audit set are called train by the labels"):
        getattr(hundredfold, verb)(run, labels=run / "labels.csv", **given)


def test_a_later_scan_of_more_images_keeps_it(run: Path, smear: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(smear / "images", tmp_path / "images"))
    other = draw_smear(tmp_path / "other", images=30, size=32, seed=7)
    shutil.copytree(other / "images", more / "later")
    for splits in (run, run / "splits.csv"):
        out = tmp_path / f"again of {splits.name}"
        again = hundredfold.scan(more, labels=smear / "labels.csv", keep_splits=splits, out=out)
        assert audit_of(again.path) == audit_of(run)
        frame = ImageTable.read(again / "images.parquet").frame
        assert set(frame.loc[frame["id"].str.startswith("later/"), "split"]) == {"train"}
        assert frame["group"].notna().sum() == 100
    with pytest.raises(SplitError, match="it is drawn once only"):
        hundredfold.scan(more, keep_splits=run, audit=10, out=tmp_path / "twice")
