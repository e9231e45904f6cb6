"""``curve``, ``fit`` and ``predict`` as a user calls them, on a small smear and on real cells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

import hundredfold
from hundredfold.data.smear import draw_smear
from hundredfold.errors import (
    LeakError,
    ModelFileError,
    RunExistsError,
    RunMissingError,
    SettingsError,
    SplitError,
    TableError,
)
from hundredfold.learn.choose import CANDIDATES
from hundredfold.learn.curve import COLUMNS
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.curve import curve
from hundredfold.workflows.fit import fit
from hundredfold.workflows.predict import predict

SMALL: dict[str, Any] = {"budgets": (1, 4), "classifiers": ("svm", "knn"), "repeats": 2, "bootstrap": 50}


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_smear(tmp_path_factory.mktemp("smear"), images=120, size=32, seed=1)


@pytest.fixture(scope="module")
def scanned(smear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with thumbnails, scanned and embedded."""
    out = tmp_path_factory.mktemp("runs") / "run"
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=out)
    hundredfold.embed(out, encoder="thumbnail", out=out)
    return out


@pytest.fixture
def run(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "run"))


def labels_of(smear: Path) -> Path:
    return smear / "labels.csv"


def test_curve_writes_its_tables_and_says_what_they_mean(
    run: Path, smear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = curve(run, labels=labels_of(smear), out=run, **SMALL)
    frame = pd.read_csv(made / "curve.csv")
    assert tuple(frame.columns) == COLUMNS
    assert frame["metric"].iloc[0] == "balanced_accuracy"
    splits = pd.read_csv(made / "splits.csv")
    predictions = pd.read_parquet(made / "predictions.parquet")
    assert set(predictions["id"]) == set(splits.loc[splits["split"] == "test", "image"])
    facts = made.state["curve"]
    assert sum(facts["test_images"].values()) == len(predictions["id"].unique())
    assert facts["intervals"].split(":")[0] in {"none", f"{facts['test_groups']} test groups and the draws"}
    assert made.done("curve")
    assert not (made / "curve.parts").exists()
    assert set(frame["encoder"]) == {"thumbnail", "shortcut"}
    assert set(predictions["encoder"]) == {"thumbnail"}  # the shortcuts are no candidate for anything
    assert not [method for method in facts["choice"]["accuracy"] if method.startswith("shortcut")]
    page = (hundredfold.report(made.path) / "report.html").read_text(encoding="utf-8")
    assert "The classes differ most in" in page
    assert "kind of file and folder alone the same classifier reaches" in page
    told = capsys.readouterr().err
    assert "Intervals:" in told
    assert "Balanced accuracy, mean over the draws" in told


def test_a_second_curve_is_refused_and_a_resumed_one_kept(run: Path, smear: Path) -> None:
    curve(run, labels=labels_of(smear), out=run, **SMALL)
    written = (run / "curve.csv").stat().st_mtime_ns
    with pytest.raises(RunExistsError, match="--resume"):
        curve(run, labels=labels_of(smear), out=run, **SMALL)
    curve(run, labels=labels_of(smear), out=run, resume=True, **SMALL)
    with pytest.raises(SettingsError, match=r"curve was done with sensitivity = None, found 0\.9"):
        curve(run, labels=labels_of(smear), out=run, resume=True, sensitivity=0.9, **SMALL)
    assert (run / "curve.csv").stat().st_mtime_ns == written


def test_embeddings_without_split_get_a_test_set(smear: Path, tmp_path: Path) -> None:
    hundredfold.embed(smear / "images", encoder="thumbnail", out=tmp_path / "vectors")
    vectors = tmp_path / "vectors" / "embeddings" / "thumbnail"
    made = curve(vectors, labels=labels_of(smear), out=tmp_path / "out", **SMALL)
    facts = made.state["curve"]
    held = sum(facts["test_images"].values())
    assert 0.2 < held / (held + facts["train_images"]) < 0.45
    groups = pd.read_csv(labels_of(smear)).set_index("image")["group"]
    tested = set(groups[pd.read_parquet(made / "predictions.parquet")["id"].astype(str).unique()])
    again = curve(tmp_path / "vectors", labels=labels_of(smear), out=tmp_path / "again", **SMALL)
    assert tested == set(groups[pd.read_parquet(again / "predictions.parquet")["id"].astype(str).unique()])


@pytest.mark.parametrize("scanned_before", [True, False])
def test_labels_that_call_every_image_train_have_no_test_set_drawn(
    smear: Path, tmp_path: Path, scanned_before: bool
) -> None:
    """Whether they were known to the scan or not: what is called train is not tested on."""
    rows = pd.read_csv(labels_of(smear)).assign(split="train")
    rows.to_csv(tmp_path / "train.csv", index=False)
    known = {"labels": tmp_path / "train.csv"} if scanned_before else {}
    made = hundredfold.scan(smear / "images", out=tmp_path / "run", **known)
    hundredfold.embed(made.path, encoder="thumbnail", out=made.path)
    with pytest.raises(SplitError, match="leave the column 'split' out to have a test set drawn"):
        curve(made.path, labels=tmp_path / "train.csv", out=tmp_path / "all", **SMALL)
    # of those that are called nothing it is drawn, by group
    patients = sorted(rows["group"].unique())
    some = rows.assign(split=rows["split"].where(rows["group"].isin(patients[::2])))
    some.to_csv(tmp_path / "some.csv", index=False)
    drawn = curve(made.path, labels=tmp_path / "some.csv", out=tmp_path / "some", **SMALL)
    tested = set(pd.read_parquet(drawn / "predictions.parquet")["id"].astype(str))
    assert tested
    assert tested <= set(some.loc[some["split"].isna(), "image"])


@pytest.mark.parametrize(
    ("given", "error"),
    [({"budgets": (0,)}, SettingsError), ({"classifiers": ("forest",)}, SettingsError),
     ({"min_class_size": 1000}, SplitError), ({"embeddings": Path("nowhere")}, RunMissingError)],
)
def test_a_setting_that_cannot_work_leaves_nothing_behind(
    run: Path, smear: Path, tmp_path: Path, given: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        curve(**{"embeddings": run, "labels": labels_of(smear), "out": tmp_path / "new", **SMALL, **given})
    assert not (tmp_path / "new").exists()


def test_labels_without_their_column_say_which_there_are(run: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,diagnosis\na.png,x\n", encoding="utf-8")
    with pytest.raises(TableError, match="diagnosis"):
        curve(run, labels=tmp_path / "labels.csv", out=tmp_path / "new", **SMALL)


def test_a_modality_that_no_network_is_told_is_said_to_have_no_effect(
    run: Path, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "modality has no effect, as network is not among the classifiers"
    given: dict[str, Any] = {**SMALL, "budgets": (1,), "repeats": 1, "labels": labels_of(smear)}
    made = curve(run, out=tmp_path / "xray", modality="xray", **given)
    assert told in capsys.readouterr().err
    assert told in (made / "log.txt").read_text(encoding="utf-8")
    curve(run, out=tmp_path / "none", **given)
    assert told not in capsys.readouterr().err
    # `run` passes on what pre-training was told
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "pretrain": {"modality": "xray"}}))
    curve(run, out=tmp_path / "passed", modality="xray", **given)
    assert told not in capsys.readouterr().err


def test_a_split_that_leaks_is_refused(
    run: Path, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(labels_of(smear))
    rows["split"] = np.where(np.arange(len(rows)) % 2, "train", "test")
    rows.to_csv(tmp_path / "leaky.csv", index=False)
    with pytest.raises(LeakError):
        curve(run, labels=tmp_path / "leaky.csv", out=tmp_path / "new", **SMALL)
    insisted = curve(run, labels=tmp_path / "leaky.csv", out=tmp_path / "new", allow_leak=True, **SMALL)
    assert insisted.state["curve"]["leak"]
    hundredfold.fit(run, labels=tmp_path / "leaky.csv", out=tmp_path / "leaky", classifier="knn")
    assert "What is measured on images held out will be too good." in capsys.readouterr().err


def test_fit_into_a_run_and_predict_from_it(run: Path, smear: Path, tmp_path: Path) -> None:
    predictor = fit(run, labels=labels_of(smear), out=run)
    assert RunDirectory.open(run).done("fit")
    assert predictor.facts["pixel_size"] == 32
    new = Path(shutil.copytree(smear / "images", tmp_path / "new"))
    (new / "empty.png").write_bytes(b"")
    some = next(new.glob("*.jpg")).read_bytes()
    (new / "cut.jpg").write_bytes(some[: len(some) // 2])  # METHOD, mistake 14: never half an image
    out = predict(new, predictor=run, out=tmp_path / "predictions.csv", embed_batch=50)
    rows = pd.read_csv(out).set_index("image")
    names = [f"p:{name}" for name in predictor.classes]
    said = ["conformal_set", "novelty", "unusual", "problem"]
    assert list(rows.columns) == ["label", *names, *said]
    bad = rows.loc[["empty.png", "cut.jpg"]]
    assert bad["problem"].tolist() == ["empty", "truncated"]
    assert bad[["label", *names]].isna().all(axis=None)
    good = rows.drop(index=bad.index)
    assert good["problem"].isna().all()
    assert (good[names].idxmax(axis=1).str.removeprefix("p:") == good["label"]).mean() > 0.95
    np.testing.assert_allclose(good[names].sum(axis=1), 1, atol=1e-3)
    truth = pd.read_csv(labels_of(smear)).set_index("image")["label"]
    splits = pd.read_csv(run / "splits.csv").set_index("image")["split"]
    known = splits.index[splits == "train"]
    assert (good.loc[known, "label"] == truth[known]).mean() > 0.8
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".predict")] == []


def test_predictions_of_a_runs_own_images_are_those_of_its_vectors(
    run: Path, smear: Path, tmp_path: Path
) -> None:
    """Preprocessing cannot differ: the same images give the same vectors, hence the same scores."""
    from hundredfold.encode.embed import Embeddings
    from hundredfold.learn.classifiers import judge

    predictor = fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    card = (tmp_path / "predictor" / "model_card.md").read_text(encoding="utf-8")
    assert predictor.hash in card
    assert "This model has not been tested" in card
    rows = pd.read_csv(predict(smear / "images", predictor=tmp_path / "predictor", out=tmp_path / "p.csv"))
    embeddings = Embeddings.read(run / "embeddings" / "thumbnail")
    decided, scores = judge(predictor.pipeline, embeddings.vectors)
    assert rows["image"].tolist() == embeddings.ids.tolist()
    assert rows["label"].tolist() == decided.tolist()
    expected = predictor.calibration.probabilities(scores)
    np.testing.assert_allclose(rows.filter(like="p:").to_numpy(), np.round(expected, 4), atol=1e-9)


def test_a_prevalence_changes_probabilities_and_labels(run: Path, smear: Path, tmp_path: Path) -> None:
    predictor = fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    rare = predictor.classes[0]
    few, many = (
        pd.read_csv(predict(
            smear / "images", predictor=tmp_path / "predictor", out=tmp_path / f"{share}.csv",
            prevalence=(f"{rare}={share}",),
        )) for share in (0.001, 0.9)
    )
    assert (few[f"p:{rare}"] <= many[f"p:{rare}"]).all()
    assert (few["label"] == rare).sum() < (many["label"] == rare).sum()
    names = [f"p:{name}" for name in predictor.classes]
    for rows in (few, many):
        highest = rows[names].max(axis=1)
        own = [row[f"p:{row['label']}"] for _, row in rows.iterrows()]
        assert own == highest.tolist()
    with pytest.raises(SettingsError, match="'melanoma', which has no labels"):
        predict(
            smear / "images", predictor=tmp_path / "predictor", out=tmp_path / "no.csv",
            prevalence=("melanoma=0.1",),
        )


def test_too_few_labels_give_scores_and_the_sentence_says_so(
    run: Path, smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(labels_of(smear))
    splits = pd.read_csv(run / "splits.csv").set_index("image")["split"]
    known = rows[splits[rows["image"]].to_numpy() == "train"].groupby("label").head(3)
    known.to_csv(tmp_path / "few.csv", index=False)
    few = fit(run, labels=tmp_path / "few.csv", out=tmp_path / "few", classifier="lda")
    assert "Scores and no probabilities: fewer than 5 labels can be held out" in capsys.readouterr().err
    assert few.calibration is None
    out = predict(smear / "images", predictor=tmp_path / "few", out=tmp_path / "few_predicted.csv")
    assert [name for name in pd.read_csv(out) if ":" in name] == [f"score:{name}" for name in few.classes]
    with pytest.raises(SettingsError, match="scores and no probabilities"):
        predict(
            smear / "images", predictor=tmp_path / "few", out=tmp_path / "no.csv",
            prevalence=(f"{few.classes[0]}=0.1",),
        )
    none = fit(run, labels=labels_of(smear), out=tmp_path / "none", classifier="lda", calibration="none")
    assert none.calibration is None
    assert none.facts["cross_validation"] == {}


def test_fit_refuses_to_overwrite_and_keeps_what_is_there_on_resume(
    run: Path, smear: Path, tmp_path: Path
) -> None:
    first = fit(run, labels=labels_of(smear), out=run)
    with pytest.raises(RunExistsError, match="--resume"):
        fit(run, labels=labels_of(smear), out=run)
    assert fit(run, labels=labels_of(smear), out=run, resume=True).hash == first.hash
    with pytest.raises(SettingsError, match="fit was done with classifier = auto, found svm"):
        fit(run, labels=labels_of(smear), out=run, resume=True, classifier="svm")
    alone = fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    with pytest.raises(RunExistsError, match="another --out"):
        fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    assert fit(run, labels=labels_of(smear), out=tmp_path / "predictor", resume=True).hash == alone.hash
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("no copy of it", encoding="utf-8")
    with pytest.raises(RunExistsError):
        fit(run, labels=labels_of(smear), out=tmp_path / "mine", resume=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_fit_auto_writes_what_it_found(run: Path, smear: Path) -> None:
    predictor = fit(run, labels=labels_of(smear), out=run, classifier="auto")
    assert set(predictor.facts["cross_validation"]) == {f"thumbnail/{name}" for name in CANDIDATES}
    assert predictor.facts["embeddings"] == "thumbnail"


def test_fit_auto_chooses_among_what_the_runs_curve_judged(run: Path, smear: Path, tmp_path: Path) -> None:
    few = ("prototype", "lda")
    hundredfold.curve(
        run, labels=labels_of(smear), out=run, budgets=(5,), classifiers=few, repeats=1, bootstrap=0
    )
    predictor = fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    assert set(predictor.facts["cross_validation"]) == {f"thumbnail/{name}" for name in few}


def test_fit_needs_the_encoder_that_made_the_vectors(run: Path, smear: Path, tmp_path: Path) -> None:
    path = run / "embeddings" / "thumbnail" / "embeddings.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["encoder"]["hash"] = "0" * 64
    path.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises((ModelFileError, SettingsError)):
        fit(run, labels=labels_of(smear), out=tmp_path / "predictor")
    assert not (tmp_path / "predictor").exists()


def test_predict_refuses_what_is_there_and_what_is_no_predictor(
    run: Path, smear: Path, tmp_path: Path
) -> None:
    fit(run, labels=labels_of(smear), out=run)
    out = predict(smear / "images", predictor=run, out=tmp_path / "p.csv")
    before = out.read_bytes()
    with pytest.raises(RunExistsError, match="--resume"):
        predict(smear / "images", predictor=run, out=out)
    assert predict(smear / "images", predictor=run, out=out, resume=True).read_bytes() == before
    with pytest.raises(ModelFileError, match="hundredfold fit"):
        predict(smear / "images", predictor=smear, out=tmp_path / "other.csv")


def test_images_that_are_all_unusable_still_get_their_rows(run: Path, smear: Path, tmp_path: Path) -> None:
    fit(run, labels=labels_of(smear), out=run)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"<html></html>")
    rows = pd.read_csv(predict(tmp_path / "bad", predictor=run, out=tmp_path / "p.csv"))
    assert rows["image"].tolist() == ["a.jpg"]
    assert rows["label"].isna().all()
    assert rows["problem"].tolist() == ["not_image"]


def test_a_predictor_from_a_plain_folder_stores_new_images_as_the_old_ones_were(
    smear: Path, tmp_path: Path
) -> None:
    hundredfold.embed(smear / "images", encoder="thumbnail", out=tmp_path / "vectors")
    fitted = tmp_path / "predictor"
    assert fit(tmp_path / "vectors", labels=labels_of(smear), out=fitted).facts["pixel_size"] == 32
    new = tmp_path / "new"
    new.mkdir()
    small = next((smear / "images").glob("*.jpg"))
    shutil.copy(small, new)
    alone = pd.read_csv(predict(new, predictor=fitted, out=tmp_path / "alone.csv"))
    cv2.imwrite(str(new / "large.png"), np.full((500, 500, 3), 90, np.uint8))  # would set the size of both
    beside = pd.read_csv(predict(new, predictor=fitted, out=tmp_path / "beside.csv"))
    pd.testing.assert_frame_equal(alone, beside[beside["image"] == small.name].reset_index(drop=True))


def test_real_cells_are_told_apart_far_above_chance(shared: Path, tmp_path: Path) -> None:
    """Thumbnails of 330 cells of 11 types: 8 labels a class are well above chance (1/11)."""
    source = shared / "data" / "pbc_blood_cells"
    table = pd.read_csv(source / "labels.csv")
    few = table.groupby("label").head(30)
    images = tmp_path / "images"
    images.mkdir()
    for name in few["image"]:
        pixels = cv2.imread(str(source / "images" / name))
        cv2.imwrite(str(images / f"{Path(name).stem}.png"), cv2.resize(pixels, (32, 32)))
    few.assign(image=few["image"].str.replace(".jpg", ".png")).to_csv(tmp_path / "labels.csv", index=False)
    hundredfold.embed(images, encoder="thumbnail", out=tmp_path / "vectors")
    made = curve(
        tmp_path / "vectors", labels=tmp_path / "labels.csv", out=tmp_path / "out", budgets=(1, 8),
        classifiers=("svm",), repeats=3, bootstrap=200,
    )
    frame = pd.read_csv(made / "curve.csv")
    mean = frame[frame["metric"] == "balanced_accuracy"].groupby("n_per_class")["value"].mean()
    assert mean[8] > mean[1] > 1.5 / 11
    assert mean[8] > 0.35
    row = frame[(frame["metric"] == "balanced_accuracy") & (frame["n_per_class"] == 8)].iloc[0]
    assert row["low"] < mean[8] < row["high"] < row["low"] + 0.2
