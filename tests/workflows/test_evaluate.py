"""A predictor judged on images of another source: what is counted, what is told apart, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from sklearn.metrics import recall_score

import hundredfold
from hundredfold.cli import main
from hundredfold.config import GroupChoices
from hundredfold.data.groups import find_grouped
from hundredfold.data.smear import draw_smear
from hundredfold.data.table import ImageTable
from hundredfold.errors import LeakError, RunExistsError, SettingsError, SplitError, TooManyRejectsError
from hundredfold.predict.patients import found_for, known_groups
from hundredfold.predict.predictor import Predictor
from hundredfold.report.words import share
from hundredfold.rundir import RunDirectory

FEW = {"budgets": (1, 5), "repeats": 2, "bootstrap": 50}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a predictor on thumbnails."""
    work = tmp_path_factory.mktemp("here")
    smear = draw_smear(work / "smear", images=240, size=32, seed=0)
    run = hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=work / "run").path
    hundredfold.embed(run, encoder="thumbnail", out=run)
    hundredfold.fit(run, labels=smear / "labels.csv", out=run, classifier="logistic")
    return work


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of another laboratory, dimmer and bluer; one class has another name there."""
    smear = draw_smear(tmp_path_factory.mktemp("there") / "smear", images=200, size=40, seed=7)
    for path in (smear / "images").iterdir():
        pixels = cv2.imread(str(path)).astype(float) * [0.95, 0.75, 0.7]
        cv2.imwrite(str(path), pixels.astype(np.uint8))
    labels = pd.read_csv(smear / "labels.csv")
    assert "monocyte" in set(labels["label"])
    labels["site"] = np.where(labels["group"] < "slide_05", "day", "night")
    labels["group"] = "there " + labels["group"]
    labels.loc[labels["label"] == "monocyte", "label"] = "large cell"
    labels.to_csv(smear / "labels.csv", index=False)
    return smear


@pytest.fixture(scope="module")
def run(here: Path, there: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("external") / "run"
    hundredfold.evaluate(
        there / "images", labels=there / "labels.csv", predictor=here / "run", out=out, sensitivity=0.9, **FEW
    )
    return out


def test_the_measures_are_those_of_what_predict_says(
    here: Path, there: Path, run: Path, tmp_path: Path
) -> None:
    hundredfold.predict(there / "images", predictor=here / "run", out=tmp_path / "said.csv")
    said = pd.read_csv(tmp_path / "said.csv").set_index("image").sort_index()
    beside = pd.read_csv(run / "predictions.csv").set_index("image").sort_index()
    pd.testing.assert_frame_equal(beside.drop(columns="truth"), said)
    known = beside[beside["truth"].notna() & (beside["truth"] != "large cell")]
    rows = pd.read_csv(run / "curve.csv")
    overall = rows[(rows["metric"] == "balanced_accuracy") & rows["class"].isna()]
    assert len(overall) == 1
    there_are = sorted(known["truth"].unique())
    truth = recall_score(known["truth"], known["label"], labels=there_are, average="macro")
    assert overall["value"].iloc[0] == pytest.approx(truth, abs=1e-6)
    assert overall["n_test"].iloc[0] == len(known)
    assert overall["low"].iloc[0] < truth < overall["high"].iloc[0]


def test_labels_that_it_does_not_know_are_told_apart(run: Path) -> None:
    facts = hundredfold.RunDirectory.open(run).state["curve"]
    assert set(facts["external"]["unknown_classes"]) == {"large cell"}
    assert "large cell" not in facts["test_images"]
    assert facts["test_images"]["monocyte"] == 0


def test_thresholds_and_probabilities_are_those_of_the_training_labels(here: Path, run: Path) -> None:
    predictor = hundredfold.Predictor.load(here / "run")
    thresholds = pd.read_csv(run / "thresholds.csv")
    assert set(thresholds["class"]) == set(predictor.classes)
    assert thresholds["n_held_out"].max() <= max(predictor.facts["labels"].values())
    (calibration,) = json.loads((run / "calibrations.json").read_text(encoding="utf-8"))
    assert calibration["curves"] == predictor.facts["calibration"]["curves"]


def test_the_sets_measured_are_those_that_predict_writes(run: Path) -> None:
    said = pd.read_csv(run / "predictions.csv")
    said = said[said["truth"].notna() & (said["truth"] != "large cell")]
    pairs = zip(said["truth"], said["conformal_set"], strict=True)
    held = [truth in sets.split("|") for truth, sets in pairs]
    by_class = pd.Series(held).groupby(said["truth"].to_numpy()).mean()
    table = pd.read_csv(run / "figures" / "coverage.csv").set_index("class")
    for name, covered in by_class.items():
        assert table.loc[name, "covered"] == pytest.approx(covered, abs=1e-6)


def test_unusual_images_are_counted_among_known_classes_and_others(run: Path) -> None:
    said = pd.read_csv(run / "predictions.csv")
    shares = hundredfold.RunDirectory.open(run).state["curve"]["external"]["unusual"]
    others = said[said["truth"] == "large cell"]
    assert shares["unknown"] == pytest.approx((others["unusual"] == "yes").mean(), abs=1e-4)
    assert set(shares) == {"known", "unknown"}


def test_few_new_labels_are_compared_with_none_on_images_that_gave_none(run: Path) -> None:
    rows = pd.read_csv(run / "adaptation" / "curve.csv")
    rows = rows[(rows["metric"] == "balanced_accuracy") & rows["class"].isna()]
    assert set(rows["classifier"]) == {"as it is", "refitted", "new labels alone"}
    assert set(rows["n_per_class"]) == {1, 5}
    same = rows[rows["classifier"] == "as it is"]["value"]
    assert same.nunique() == 1
    assert rows["n_test"].nunique() == 1
    compared = pd.read_csv(run / "adaptation" / "comparison.csv")
    assert len(compared) == 4
    mean = rows.groupby(["classifier", "n_per_class"])["value"].mean()
    first = compared[(compared["classifier"] == "refitted") & (compared["n_per_class"] == 5)].iloc[0]
    expected = mean["refitted", 5] - mean["as it is", 5]
    assert first["difference"] == pytest.approx(expected, abs=1e-6)
    judged = pd.read_parquet(run / "adaptation" / "predictions.parquet")
    groups = pd.read_csv(run.parent / "run" / "predictions.csv")["image"]
    assert set(judged["id"].astype(str)) < set(groups)


def test_the_report_says_what_was_found(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "that it has nothing from, logistic regression" in page
    assert "large cell" in page
    assert "Fitted again" in page
    assert "Accuracy against the number of labels" not in page
    assert "Random images, decoded once" in page  # none of them is a training image
    assert "Small strokes" not in page  # there is one predictor, and no draws
    methods = (run / "methods.md").read_text(encoding="utf-8")
    assert "was applied without any change to images of another source" in methods
    assert "drawn at random from the training side" not in methods
    assert "made for a coverage of 90\u00a0% on images like its training labels" in methods
    unusual = RunDirectory.open(run).state["curve"]["external"]["unusual"]["known"]
    assert f"It called {share(unusual)} of the images of its classes unlike" in methods
    assert not (run / "model_card.md").exists()


def test_a_second_time_is_refused_or_kept(
    here: Path, there: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = {"labels": there / "labels.csv", "predictor": here / "run", "out": run}
    with pytest.raises(RunExistsError):
        hundredfold.evaluate(there / "images", **again)
    before = (run / "curve.csv").stat().st_mtime_ns
    capsys.readouterr()
    hundredfold.evaluate(there / "images", **again, resume=True)
    assert (run / "curve.csv").stat().st_mtime_ns == before
    assert "the predictor does not know, and are in no number: large cell" in capsys.readouterr().err
    labels = here / "smear" / "labels.csv"
    hundredfold.fit(here / "run", labels=labels, out=tmp_path / "other", classifier="lda")
    again["predictor"] = tmp_path / "other"
    with pytest.raises(SettingsError, match="the evaluation here is of another predictor"):
        hundredfold.evaluate(there / "images", **again, resume=True)


def test_a_report_that_could_not_be_written_is_written_by_resume(
    here: Path, there: Path, run: Path, tmp_path: Path
) -> None:
    """A prevalence of a class that nobody has there shows only when all is done but the page."""
    own = shutil.copytree(run, tmp_path / "run")
    (own / "report.html").unlink()
    again = {"labels": there / "labels.csv", "predictor": here / "run", "out": own, "resume": True}
    with pytest.raises(SettingsError, match="a prevalence is stated for 'monocyte'"):
        hundredfold.evaluate(there / "images", **again, prevalence=("monocyte=0.1",))
    assert not (own / "report.html").exists()
    hundredfold.evaluate(there / "images", **again)
    assert (own / "report.html").is_file()


def test_images_that_it_learned_from_are_refused(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smear = here / "smear"
    given = [str(smear / "images"), f"--labels={smear / 'labels.csv'}", f"--predictor={here / 'run'}"]
    assert main(["evaluate", *given, f"--out={tmp_path / 'a'}"]) == 2
    assert "the predictor learned from" in capsys.readouterr().err
    with pytest.raises(LeakError):
        hundredfold.evaluate(
            smear / "images", labels=smear / "labels.csv", predictor=here / "run", out=tmp_path / "b"
        )


def test_groups_that_it_learned_from_are_counted_and_told(
    here: Path, there: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hundredfold.RunDirectory.open(run).state["curve"]["external"]["known_groups"] == {
        "images": 0, "groups": 0,
    }
    memory = hundredfold.Predictor.load(here / "run").memory
    assert memory is not None
    known = pd.read_csv(here / "smear" / "labels.csv").set_index("image")["group"]
    slide = known[memory.ids[0]]
    labels = pd.read_csv(there / "labels.csv")
    labels.loc[labels["group"] == labels["group"].min(), "group"] = slide
    labels.to_csv(tmp_path / "labels.csv", index=False)
    out = hundredfold.evaluate(
        there / "images", labels=tmp_path / "labels.csv", predictor=here / "run", out=tmp_path / "run", **FEW
    )
    count = int((labels["group"].eq(slide) & labels["label"].ne("large cell")).sum())
    assert out.state["curve"]["external"]["known_groups"] == {"images": count, "groups": 1}
    assert f"{count} of the" in capsys.readouterr().err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "that it has nothing from" not in page
    assert "1 of which bear names of groups that it learned from" in page
    assert f"{count} test images are of groups that bear names of groups it learned from." in page
    methods = (out / "methods.md").read_text(encoding="utf-8")
    assert f"{count} of them were of groups that bore names" in methods


def test_labels_of_other_classes_alone_are_refused(here: Path, there: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(there / "labels.csv").assign(label="tumour")
    labels.to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(SplitError, match=r"expected labels of the predictor's classes .* found tumour"):
        hundredfold.evaluate(
            there / "images", labels=tmp_path / "labels.csv", predictor=here / "run", out=tmp_path / "run"
        )


def test_too_many_broken_images_stop_it(here: Path, there: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (there / "images").iterdir())[:4]
    folder = tmp_path / "images"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((there / "images" / name).read_bytes())
    (folder / names[0]).write_bytes(b"no image")
    with pytest.raises(TooManyRejectsError, match="1 of 4 images cannot be used"):
        hundredfold.evaluate(
            folder, labels=there / "labels.csv", predictor=here / "run", out=tmp_path / "run"
        )


def as_dicom(smear: Path, folder: Path, count: int) -> Path:
    """Some images as DICOM files of the patients that their labels name, and a report beside them."""
    folder.mkdir()
    rows = pd.read_csv(smear / "labels.csv").head(count)
    named = rows.assign(image=rows["image"].str.replace(".jpg", ".dcm"))
    named[["image", "label"]].to_csv(folder.with_suffix(".csv"), index=False)
    for row in rows.itertuples():
        pixels = cv2.cvtColor(cv2.imread(str(smear / "images" / row.image)), cv2.COLOR_BGR2RGB)
        dataset = dcmread(str(get_testdata_file("SC_rgb_small_odd.dcm", download=False)))
        dataset.PatientID, dataset.PixelData, dataset.PlanarConfiguration = row.group, pixels.tobytes(), 0
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dcmwrite((folder / row.image).with_suffix(".dcm"), dataset)
    shutil.copy(str(get_testdata_file("test-SR.dcm", download=False)), folder / "report.dcm")
    return folder


def test_patients_of_dicom_files_are_the_groups_and_a_report_is_no_bad_image(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Intervals are of patients; under names of chance nobody can tell whether they are new."""
    images = as_dicom(there, tmp_path / "images", 60)
    patients = pd.read_csv(there / "labels.csv").head(60)
    given = {"labels": tmp_path / "images.csv", "predictor": here / "run", "max_bad": 0.0, **FEW}
    run = hundredfold.evaluate(images, out=tmp_path / "run", **given)
    names = patients["image"].str.replace(".jpg", ".dcm")
    frame = pd.read_parquet(run / "images.parquet").set_index("id").loc[names]
    assert (pd.factorize(frame["group"])[0] == pd.factorize(patients["group"])[0]).all()
    assert run.state["curve"]["external"]["known_groups"] is None
    assert "cannot be told" in capsys.readouterr().err
    assert "groups (whether it learned from these cannot be told)" in (run / "report.html").read_text("utf-8")


def blank(path: Path) -> None:
    dataset = dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dcmwrite(path, dataset)


def test_patients_are_called_new_only_under_the_key_of_the_training_and_black_frames_are_no_leak(
    here: Path, there: Path, tmp_path: Path
) -> None:
    """With another key, of chance or not, the same patients would have other names."""
    for folder, smear in (("old", here / "smear"), ("new", there)):
        blank(min(as_dicom(smear, tmp_path / folder, 80).glob("cell*.dcm")))
    run = tmp_path / "run"
    for name in ("key", "other"):
        (tmp_path / name).write_text(name * 20)
    labels = tmp_path / "old.csv"
    pd.read_csv(labels).assign(split=["train", *[None] * 79]).to_csv(labels, index=False)
    hundredfold.scan(tmp_path / "old", labels=labels, out=run, group_key=tmp_path / "key", test_size=0.1)
    hundredfold.embed(run, encoder="thumbnail", out=run)
    hundredfold.fit(run, labels=labels, out=run, classifier="lda", calibration="none")
    judged = hundredfold.evaluate(
        tmp_path / "new", labels=tmp_path / "new.csv", predictor=run, out=tmp_path / "out", budgets=(1,),
        group_key=tmp_path / "other", bootstrap=0,
    )
    assert judged.state["curve"]["external"]["known_groups"] is None
    assert judged.state["curve"]["leak"] is None
    found = find_grouped(tmp_path / "new", GroupChoices.of(group_key=tmp_path / "key"))
    predictor = Predictor.load(run / "predictor")
    assert predictor.memory is not None
    train = ImageTable.read(run / "images.parquet").train
    assert train.frame["note"].eq("constant").sum() == 1
    for table, images in ((found.table, 0), (train, len(train))):
        known = known_groups(predictor, predictor.memory, table, found.naming)
        assert known is not None
        assert known["images"] == images
    same, other = (
        found_for(predictor, tmp_path / "old", GroupChoices.of(group_key=tmp_path / name)).table.frame
        for name in ("key", "other")
    )
    assert set(train.frame["group"]) <= set(same["group"])
    assert other["group"].isna().all()


def test_few_patients_are_no_adaptation_but_a_sentence(
    here: Path, there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pd.read_csv(there / "labels.csv").assign(group="only one")
    labels.to_csv(tmp_path / "labels.csv", index=False)
    run = hundredfold.evaluate(
        there / "images", labels=tmp_path / "labels.csv", predictor=here / "run", out=tmp_path / "run", **FEW
    )
    assert "No adaptation" in capsys.readouterr().err
    assert not (run / "adaptation").exists()
    assert "Fitted again" not in (run / "report.html").read_text(encoding="utf-8")
