"""A report on whatever stages exist, and the warnings that belong to them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hundredfold.data.table import ImageTable
from hundredfold.report.cautions import cautions
from hundredfold.report.chapters.training import _time, learned, training_chapter
from hundredfold.report.contest import contest
from hundredfold.report.finding import _pretraining, finding
from hundredfold.report.material import Material, as_evaluated, gather, headline_of
from hundredfold.report.tables import Headline, headline
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.report import report

PARTS = {
    "scan": ["images.parquet", "rejects.csv", "pixels"],
    "pretrain": ["metrics.jsonl"],
    "embed": ["embeddings"],
    "curve": ["curve.parquet", "predictions.parquet"],
}


@pytest.fixture
def partial(whole_run: RunDirectory, tmp_path: Path):
    """A copy of the whole run with only some of its stages."""

    def make(*stages: str) -> RunDirectory:
        run = RunDirectory.create(tmp_path / "run")
        for stage in stages:
            with run.stage(stage, settings=None, resume=True):
                for name in PARTS[stage]:
                    source = whole_run / name
                    copy = shutil.copytree if source.is_dir() else shutil.copy
                    copy(source, run / name)
        return run

    return make


@pytest.mark.parametrize(
    ("stages", "anchors", "absent"),
    [
        ((), {"record", "cite"}, {"data", "curves", "classes", "errors", "map", "training"}),
        (("scan",), {"data", "record"}, {"curves", "classes", "errors", "map", "training"}),
        (("scan", "pretrain"), {"data", "training"}, {"curves", "classes", "errors", "map"}),
        (("scan", "embed"), {"data", "map"}, {"curves", "classes", "errors", "training"}),
        (("embed", "curve"), {"curves", "classes", "map"}, {"data", "errors", "training"}),
        (("pretrain",), {"training"}, {"data", "curves", "map"}),
    ],
)
def test_reports_on_whatever_there_is(partial, stages, anchors, absent) -> None:
    run = partial(*stages)
    report(run=run.path)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    assert not any(f'id="{anchor}"' in page for anchor in absent)
    assert run.done("report")


def test_before_a_curve_the_finding_says_how_far_the_run_came(partial) -> None:
    told = finding(gather(partial("scan", "pretrain")), None)
    assert told[0] == "48 images are ready; 1 was left out."
    assert "Pre-training has come to step 59." in told
    assert told[-1] == "No classifier has been tested yet: the verb curve does that."


def test_a_torn_last_line_of_the_metrics_is_left_out(whole_run: RunDirectory) -> None:
    metrics = gather(whole_run).metrics
    assert metrics is not None
    assert list(metrics["step"]) == list(range(60))


def test_labels_that_came_after_the_scan_are_those_of_the_evaluation(
    whole_run: RunDirectory, tmp_path: Path
) -> None:
    """A scan without labels knows no class and no test set; the curve's labels and predictions do."""
    before = gather(whole_run)
    assert before.images is not None
    assert before.predictions is not None
    rows = before.images.usable.frame[["id", "label", "group"]].rename(columns={"id": "image"})
    rows.to_csv(tmp_path / "labels.csv", index=False)
    unlabelled = before.images.assign(label=None, group=None, split="train")
    settings = {"scan": {"labels": None}, "curve": {"labels": str(tmp_path / "labels.csv")}}
    images = as_evaluated(unlabelled, settings, before.predictions)
    assert images.usable.frame["label"].equals(before.images.usable.frame["label"])
    assert set(images.test.ids) == set(before.images.test.ids)
    assert images.test.frame["group"].nunique() == 4
    gone = {"scan": {"labels": None}, "curve": {"labels": str(tmp_path / "moved.csv")}}
    assert as_evaluated(unlabelled, gone, before.predictions) is unlabelled


def test_an_interrupted_stage_is_named(partial) -> None:
    run = partial("scan")
    with pytest.raises(KeyboardInterrupt), run.stage("pretrain", settings=None, resume=False):
        raise KeyboardInterrupt
    titles = [caution.title for caution in cautions(gather(run), None)]
    assert "The stage pretrain is not finished (interrupted)." in titles


def material(whole_run: RunDirectory, **changes: object) -> Material:
    gathered = gather(whole_run)
    return Material(**{**gathered.__dict__, **changes})


def titles(given: Material) -> str:
    at = None if given.curve is None else headline(given.curve)
    return " ".join(caution.title for caution in cautions(given, at))


def test_one_is_not_told_as_several(whole_run: RunDirectory) -> None:
    noted = {"scan": {"near_copies_astride": 1}, "curve": {"test_images": {"a": 1}}}
    given = material(whole_run, state=noted)
    told = [caution.title for caution in cautions(given, None)]
    assert "1 test image has a near-copy among the training images." in told
    assert "Only 1 test image." in told


def test_cautions_of_the_whole_run(whole_run: RunDirectory) -> None:
    told = titles(gather(whole_run))
    assert "Only 4 groups are in the test set." in told
    assert "Only 16 test images." in told
    assert "Classes with under 10 test images." in told
    for absent in ("transductive", "leak", "interval", "alarm", "No patients"):
        assert absent not in told


def test_no_groups_are_a_caution(whole_run: RunDirectory) -> None:
    images = gather(whole_run).images
    assert images is not None
    told = titles(material(whole_run, images=images.assign(group=None)))
    assert "No patients or slides are known." in told
    assert "groups are" not in told


def test_a_few_images_without_a_group_are_told_as_few(whole_run: RunDirectory) -> None:
    """Beside how many there are, and in the place of nothing else that is to be said of groups."""
    images = gather(whole_run).images
    assert images is not None
    lacking = images.frame["id"].isin(images.train.ids[:1])
    given = material(whole_run, images=images.assign(group=images.frame["group"].mask(lacking)))
    told = {caution.title: caution.sentence for caution in cautions(given, None)}
    few = f"1 of {len(images.train) + len(images.test)} labelled images has no group."
    assert told[few] == "One without a group may come from a patient on the other side of the split."
    assert "Only 4 groups are in the test set." in told
    # where each of many counts as a group of its own, there is an interval
    lacking = images.frame["id"].isin(images.test.ids[:12])
    many = titles(material(whole_run, images=images.assign(group=images.frame["group"].mask(lacking))))
    assert "12 of " in many
    assert "are in the test set" not in many


def test_the_first_lines_are_as_sure_of_a_difference_as_its_chapter(whole_run: RunDirectory) -> None:
    """The chapter corrects for all comparisons: of one that is not told from chance there, nor here."""
    images = gather(whole_run).images
    assert images is not None
    given = material(whole_run, images=images.assign(group=images.ids))
    assert given.curve is not None
    at = headline(given.curve)
    compared = contest(given, at)
    assert compared is not None
    row = (compared["other_encoder"] == "thumbnail") & (compared["other_classifier"] == at.classifier)
    assert row.sum() == 1
    assert compared.loc[row, "low"].item() > 0
    begin = r"over thumbnails \(95\u00a0%\u00a0interval of this difference alone \.\d+–\.\d+\)"
    for p, doubt in ((0.01, ""), (0.2, r"; among 5 comparisons it may be chance \(p\u00a0= \.20\)")):
        corrected = compared.assign(p_holm=compared["p_holm"].mask(row, p))
        assert re.search(rf"{begin}{doubt}\. ", " ".join(finding(given, at, corrected)) + " ")


def test_groups_of_one_image_each_are_a_caution(whole_run: RunDirectory) -> None:
    images = gather(whole_run).images
    assert images is not None
    told = titles(material(whole_run, images=images.assign(group=images.ids)))
    assert "Every group is a single image." in told


def test_shortcuts_that_do_as_well_are_not_called_a_part_of_the_way(whole_run: RunDirectory) -> None:
    gathered = gather(whole_run)
    assert gathered.curve is not None
    at = headline(gathered.curve)
    for accuracy, words in ((0.9, "as good as the accuracy above"), (0.7, "over half the way")):
        curve = gathered.curve.copy()
        own = curve[curve["encoder"].astype(str) == at.encoder]
        alone = own.assign(encoder="shortcut")
        accurate = alone["metric"] == "balanced_accuracy"
        alone.loc[accurate, "value"] = accuracy
        curve = pd.concat([curve[curve["encoder"].astype(str) != "shortcut"], alone], ignore_index=True)
        both = (curve["metric"] == "balanced_accuracy") & (curve["encoder"].astype(str) == at.encoder)
        curve.loc[both, "value"] = 0.8
        told = " ".join(one.sentence for one in cautions(material(whole_run, curve=curve), at))
        assert words in told


def test_transductive_leak_and_alarms_are_cautions(whole_run: RunDirectory) -> None:
    state = {
        **whole_run.state,
        "curve": {"leak": "3 groups are on both sides"},
        "scan": {"near_copies_astride": 7},
        "pretrain": {"transductive": True, "alarms": ["the teacher's entropy is 0"]},
    }
    told = cautions(material(whole_run, state=state), None)
    assert [caution.title for caution in told][:4] == [
        "A leak was allowed.",
        "7 test images have a near-copy among the training images.",
        "Pre-training saw the test images (transductive).",
        "Pre-training raised an alarm.",
    ]
    assert told[0].sentence.startswith("3 groups are on both sides. ")
    assert told[3].sentence == "the teacher's entropy is 0"


def test_without_intervals_the_range_of_the_draws_is_told_as_such(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    bare = material(whole_run, curve=curve.assign(low=float("nan"), high=float("nan")))
    assert "The accuracy has no interval." in titles(bare)
    first = finding(bare, headline(bare.curve))[0]
    assert "over 2 draws" in first
    assert "interval" not in first


def test_pre_training_that_brought_nothing_is_said_to(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    names = {"pretrained": "initial", "initial": "pretrained", "thumbnail": "thumbnail"}
    swapped = material(whole_run, curve=curve.assign(encoder=curve["encoder"].map(names)), predictions=None)
    told = finding(swapped, Headline("pretrained", "svm", 100))
    assert any(line.startswith("Pre-training brought nothing here (−.") for line in told)


def test_what_the_maps_of_the_last_stages_bring_is_not_called_pre_training(whole_run: RunDirectory) -> None:
    """`initial` is without them; in a run without the vectors nobody can tell."""
    embedded = gather(whole_run).embeddings
    trained = embedded["pretrained"]
    with_maps = replace(trained, encoder={**trained.encoder, "stages": 3})
    for given, said in (
        (embedded, "Pre-training brought ."),
        ({**embedded, "pretrained": with_maps}, "with the maps of the network's last stages, which only"),
        ({}, "The pre-trained features bring ."),
    ):
        told = " ".join(finding(material(whole_run, embeddings=given), Headline("pretrained", "svm", 100)))
        assert said in told
        assert ("Pre-training brought" in told) == (given is embedded)


def test_training_is_held_against_what_takes_none(whole_run: RunDirectory) -> None:
    """The features before pre-training, adapted to these images, are had within a minute."""
    curve = gather(whole_run).curve
    assert curve is not None
    for like, said in (("initial", "a minute, training brought ."), ("pretrained", "brought nothing (.00)")):
        more = curve[curve["encoder"].astype(str) == like].assign(encoder="adapted")
        both = pd.concat([curve.astype({"encoder": str}), more], ignore_index=True)
        given = material(whole_run, curve=both, predictions=None)
        assert said in " ".join(finding(given, Headline("pretrained", "svm", 100)))


def test_a_class_that_gives_all_it_has_is_told_of_smaller_budgets_too(whole_run: RunDirectory) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    for capped, said in ((False, "with 5 per class"), (True, "with up to 5 per class")):
        given = material(whole_run, curve=curve.assign(capped=capped))
        assert said in " ".join(finding(given, Headline("pretrained", "svm", 100)))


@pytest.mark.parametrize(("taken", "words"), [
    ("pretrained", "uses its features all the same"), ("initial", "does not use its features"),
])
def test_the_report_speaks_of_the_predictors_method(whole_run: RunDirectory, taken: str, words: str) -> None:
    curve = gather(whole_run).curve
    assert curve is not None
    names = {"pretrained": "initial", "initial": "pretrained", "thumbnail": "thumbnail"}
    swapped = material(
        whole_run, curve=curve.assign(encoder=curve["encoder"].map(names)), predictions=None,
        predictor={"classifier": "knn", "embeddings": taken},
    )
    at = headline_of(swapped)
    assert at == Headline(taken, "knn", 100)
    assert sum(words in line for line in finding(swapped, at)) == 1


def test_a_predictor_of_joined_encoders_uses_the_features_of_each() -> None:
    for taken, words in (("pretrained+initial", "uses its features all"), ("initial", "does not use")):
        told = _pretraining(-0.05, "", Material("run", {}, {}, predictor={"embeddings": taken}))
        assert words in told


def test_a_class_without_test_images_is_named(whole_run: RunDirectory) -> None:
    images = gather(whole_run).images
    assert images is not None
    frame = images.frame
    without = ImageTable.of(frame[(frame["label"] != "square") | (frame["split"] != "test")])
    told = cautions(material(whole_run, images=without), None)
    assert any(c.title == "Classes without test images." and c.sentence.startswith("square:") for c in told)


def test_the_headline_is_fixed_by_rule_not_by_the_result() -> None:
    curve = pd.DataFrame(
        {
            "encoder": ["thumbnail", "pretrained", "pretrained", "pretrained"],
            "classifier": ["svm", "knn", "svm", "svm"],
            "n_per_class": [100, 100, 50, 250],
            "n_labels": [300, 300, 150, 750],
            "value": [0.9, 0.95, 0.1, 0.99],
        }
    )
    assert headline(curve) == Headline("pretrained", "svm", 50)
    assert headline(curve, "knn") == Headline("pretrained", "knn", 100)
    assert headline(curve[curve["n_per_class"] == 250]) == Headline("pretrained", "svm", 250)


def test_settings_of_the_run_are_on_the_page(whole_run: RunDirectory) -> None:
    page = (whole_run / "report.html").read_text(encoding="utf-8")
    told = pd.read_csv(whole_run / "figures" / "settings_pretrain.csv").set_index("setting")["value"]
    assert told["local_crops"] == "2"
    assert told["images"] == "images"
    assert "Settings of pretrain" in page
    assert json.loads((whole_run / "run.json").read_text())["software"]["numpy"] in page


def test_the_chapter_answers_whether_it_learned() -> None:
    def told(knn: list[float], rank: list[float]) -> str:
        steps = {"step": [0, 10, 19], "loss": [4.0, 3.0, 2.0], "knn_images": [100, np.nan, 100]}
        return " ".join(learned(pd.DataFrame({**steps, "knn_balanced_accuracy": knn, "rankme": rank})))

    better = told([0.5, np.nan, 0.62], [20.0, np.nan, 31.0])
    assert better.startswith("It learned: the nearest")
    assert "balanced accuracy of .62, at the start .50" in better
    assert "from 20.0 to 31.0: they tell more apart than at the start" in better
    assert told([0.5, 0.6, 0.3], [20.0, 9.0, 1.1]).startswith("It lost what it knew")
    assert "the features have collapsed" in told([0.5, 0.6, 0.3], [20.0, 9.0, 1.1])
    open_ = told([0.5, 0.6, 0.59], [20.0, 9.0, 10.0])
    assert open_.startswith("Whether it learned cannot be told")
    assert "(100 images; a difference below .10 may be chance)" in open_


def test_a_run_of_an_older_version_still_gives_its_chapter(whole_run: RunDirectory) -> None:
    columns = {"loss": [4.0, 3.0, 2.0], "rank": [8.0, None, 9.0], "knn": [None, None, 0.6]}
    old = pd.DataFrame({"step": [0, 1, 2], **columns})
    chapter = training_chapter(replace(gather(whole_run), metrics=old))
    assert chapter is not None
    assert {"training_rank", "training_knn"} <= {item.name for item in chapter.items}
    assert learned(old) == []


def test_the_time_of_pre_training_is_the_sum_of_its_steps() -> None:
    steps = pd.DataFrame({"seconds": [30.0] * 20})
    assert _time(steps) == " and 10 minutes"
    assert _time(None) == ""
