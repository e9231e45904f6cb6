"""The chapter "In clinical terms": its numbers traced back, its words, and what it does not claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from hundredfold.config import CurveChoices, ReportChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import SettingsError
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.curve import learning_curve
from hundredfold.metrics import prevalences
from hundredfold.predict.conformal import Sets
from hundredfold.report.chapters.base import Chapter, Exhibit, Listing
from hundredfold.report.chapters.clinical import clinical_chapter
from hundredfold.report.chapters.curves import curves_chapter
from hundredfold.report.chapters.probabilities import probabilities_chapter
from hundredfold.report.chapters.sets import _measured, sets_chapter
from hundredfold.report.clinical_figures import reliability_diagram, tradeoff_panels
from hundredfold.report.judged import judged, patients_table
from hundredfold.report.material import Material, gather
from hundredfold.report.paper.doubt import doubt_blocks
from hundredfold.report.paper.performance import subgroup_blocks
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import Trace
from hundredfold.report.paper.works import Citations
from hundredfold.report.referral import coverage_of
from hundredfold.report.style import save_figure
from hundredfold.report.tables import Headline, headline
from hundredfold.report.words import share
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.report import report

Chapters = Callable[..., Chapter]


def make_run(
    folder: Path, *, classes: int, patients: int, mixed: bool = False, only_in_kiel: int | None = None
) -> RunDirectory:
    """A run with a curve alone: patients with three images each, every other one a test patient."""
    random = np.random.default_rng(0)
    count = 3 * patients
    patient = np.arange(count) // 3
    kind = (np.arange(count) if mixed else patient // 2) % classes
    table = ImageTable.of({
        "id": [f"{n:04d}.png" for n in range(count)], "label": [f"kind {k}" for k in kind],
        "group": [f"patient {p}" for p in patient], "split": np.where(patient % 2, "test", "train"),
        "site": np.where((patient // 2 // classes % 2 == 1) | (kind == only_in_kiel), "Kiel", "Lyon"),
    })
    vectors = (np.eye(classes)[kind] + 0.45 * random.normal(size=(count, classes))).astype(np.float32)
    embeddings = {"initial": Embeddings(table.ids, vectors, {"name": "initial", "hash": "0"}, table)}
    choices = CurveChoices.of(
        budgets=(3, 9), repeats=2, bootstrap=50, classifiers=("svm",), sensitivity=0.9,
        leave_one_site_out=True,
    )
    sex = pd.DataFrame({"sex": np.where(np.arange(len(table.test)) % 4 < 2, "f", "m")})
    curve = learning_curve(embeddings, table, choices, subgroups=sex)
    run = RunDirectory.create(folder)
    curve.write(run.path)
    run.record(curve=curve.facts)
    table.write(run / "images.parquet")
    return run


@pytest.fixture(scope="module")
def clinical_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("clinical") / "run", classes=3, patients=120)


def chapter_of(given: Material) -> Chapter:
    assert given.curve is not None
    found = clinical_chapter(given, headline(given.curve))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def chapter(clinical_run: RunDirectory) -> Chapter:
    return chapter_of(gather(clinical_run))


def item(chapter: Chapter, name: str) -> Exhibit | Listing:
    return next(one for one in chapter.items if one.name == name)


def scores_of(run: RunDirectory) -> pd.DataFrame:
    return pd.read_parquet(run / "scores.parquet")


def test_the_table_is_what_scikit_learn_counts(clinical_run: RunDirectory, chapter: Chapter) -> None:
    table = item(chapter, "operating").table.set_index("class")
    rows = [part.astype(str) for _, part in scores_of(clinical_run).groupby("repeat")]
    for name in table.index:
        pairs = [(part["label"] == name, part["predicted"] == name) for part in rows]
        sensitivity = np.mean([recall_score(own, said) for own, said in pairs])
        specificity = np.mean([recall_score(~own, ~said) for own, said in pairs])
        share = pairs[0][0].mean()
        assert table.loc[name, "sensitivity"] == pytest.approx(sensitivity)
        assert table.loc[name, "specificity"] == pytest.approx(specificity)
        assert table.loc[name, "prevalence"] == pytest.approx(share)
        assert table.loc[name, "ppv"] == pytest.approx(
            sensitivity * share / (sensitivity * share + (1 - specificity) * (1 - share))
        )
        assert table.loc[name, "n_test"] == pairs[0][0].sum()
        assert table.loc[name, "sensitivity_low"] < sensitivity < table.loc[name, "sensitivity_high"]


def test_chosen_thresholds_are_applied_draw_by_draw(clinical_run: RunDirectory, chapter: Chapter) -> None:
    table = item(chapter, "operating_chosen").table.set_index("class")
    thresholds = pd.read_csv(clinical_run / "thresholds.csv").set_index(["class", "repeat"])["threshold"]
    for name in table.index:
        found = [
            recall_score(part["label"] == name, part[f"score:{name}"] >= np.float32(thresholds[name, repeat]))
            for repeat, part in scores_of(clinical_run).groupby("repeat")
        ]
        assert table.loc[name, "sensitivity"] == pytest.approx(np.mean(found))
    words = " ".join(chapter.sentences)
    assert "a sensitivity of .90" in words
    assert "never on test images" in words


def test_a_stated_prevalence_moves_the_predictive_values_alone(
    clinical_run: RunDirectory, chapter: Chapter
) -> None:
    as_tested = item(chapter, "operating").table.set_index("class").loc["kind 0"]
    stated = chapter_of(gather(clinical_run, {"kind 0": 0.01}))
    rare = item(stated, "operating").table.set_index("class").loc["kind 0"]
    assert rare["prevalence"] == pytest.approx(0.01)
    assert rare[["sensitivity", "specificity"]].tolist() == pytest.approx(
        as_tested[["sensitivity", "specificity"]].tolist()
    )
    assert rare["ppv"] < as_tested["ppv"]
    assert rare["npv"] > as_tested["npv"]
    assert "not those of the test set: kind 0 .010" in " ".join(stated.sentences)
    assert "State yours" in " ".join(chapter.sentences)


def test_prevalences_that_cannot_be_are_refused(clinical_run: RunDirectory) -> None:
    sizes, names = np.array([5, 3, 0]), ["a", "b", "c"]
    with pytest.raises(SettingsError, match="'c', which has no test images"):
        prevalences(sizes, names, {"c": 0.1})
    with pytest.raises(SettingsError, match=r"make 0\.5 in all"):
        prevalences(sizes, names, {"a": 0.3, "b": 0.2})
    with pytest.raises(SettingsError, match="make 1 in all"):
        prevalences(sizes, names, {"a": 1.0})
    for text, words in (("a", "CLASS=SHARE"), ("a=2", "between 0 and 1"), ("a=.1,a=.2", "stands twice")):
        with pytest.raises(SettingsError, match=words):
            ReportChoices.of(prevalence=tuple(text.split(",")))
    assert ReportChoices.of(prevalence=("x=y=0.2",)).prevalences == {"x=y": 0.2}
    with pytest.raises(SettingsError, match="no test images"):
        report(run=clinical_run.path, prevalence=("nobody=0.1",))


def test_patients_stand_beside_their_images(clinical_run: RunDirectory, chapter: Chapter) -> None:
    table = item(chapter, "patients").table
    first = table[table["class"].isna()].iloc[0]
    assert (first["n_patients"], first["n_images"]) == (60, 180)
    rows = scores_of(clinical_run)
    names = [name for name in rows if name.startswith("score:")]
    by_mean, images = [], []
    for _, part in rows.groupby("repeat"):
        mean = part.groupby("group")[names].mean()
        truth = part.astype({"label": str}).groupby("group")["label"].first()
        by_mean.append(balanced_accuracy_score(truth, mean.idxmax(axis=1).str.removeprefix("score:")))
        images.append(balanced_accuracy_score(part["label"].astype(str), part["predicted"].astype(str)))
    assert first["mean"] == pytest.approx(np.mean(by_mean))
    assert first["image"] == pytest.approx(np.mean(images))
    assert first["mean"] > first["image"]  # three noisy looks are better than one


def test_patients_whose_images_are_copies_of_each_other_are_resampled_together(
    clinical_run: RunDirectory,
) -> None:
    """Every patient twice, linked by near-copies: twice the patients, and no more evidence."""
    given = gather(clinical_run)
    assert given.curve is not None
    once = judged(given, headline(given.curve))
    assert once is not None
    patients = once.patient.max() + 1
    twice = replace(
        once, truth=np.tile(once.truth, 2), predicted=np.tile(once.predicted, 2),
        scores=np.tile(once.scores, (1, 2, 1)), piece=np.tile(once.piece, 2),
        patient=np.concatenate([once.patient, once.patient + patients]),
    )
    table, copied = patients_table(once)[0], patients_table(twice)[0]
    assert (copied["n_patients"] == 2 * table["n_patients"]).all()
    ends = [f"{level}{end}" for level in ("image", "mean", "vote") for end in ("", "_low", "_high")]
    pd.testing.assert_frame_equal(copied[ends], table[ends])


def test_groups_of_many_classes_are_no_patients(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", classes=3, patients=60, mixed=True)
    chapter = chapter_of(gather(run))
    names = [one.name for one in chapter.items]
    assert "operating" in names
    assert "patients" not in names
    assert "30 of the 30 test groups have images of several classes" in " ".join(chapter.sentences)


def test_sites_and_subgroups_are_told_apart(clinical_run: RunDirectory, chapter: Chapter) -> None:
    sites = item(chapter, "strata_site")
    assert isinstance(sites, Listing)
    assert sites.head[-2:] == ["balanced accuracy", "without its labels"]
    assert [row[0] for row in sites.rows] == ["Kiel", "Lyon"]
    assert "gave no label" in sites.caption
    assert "No other site" not in sites.caption
    subgroup = item(chapter, "strata_sex")
    assert isinstance(subgroup, Listing)
    assert "without its labels" not in subgroup.head
    recall = item(chapter, "recall_sex").table
    test = ImageTable.read(clinical_run / "images.parquet").test
    sex = dict(zip(sorted(test.ids), np.where(np.arange(len(test)) % 4 < 2, "f", "m"), strict=True))
    rows = scores_of(clinical_run)
    own = rows[rows["id"].astype(str).map(sex) == "f"]
    found = [recall_score(part["label"] == "kind 1", part["predicted"] == "kind 1")
             for _, part in own.groupby("repeat")]
    row = recall.query("stratum == 'f' and `class` == 'kind 1'").iloc[0]
    assert row["value"] == pytest.approx(np.mean(found))
    assert row["n_test"] == (own["label"] == "kind 1").sum() / 2


def test_curves_have_a_panel_a_class_and_say_so(chapter: Chapter) -> None:
    for name in ("roc", "pr"):
        exhibit = item(chapter, name)
        assert isinstance(exhibit, Exhibit)
        titles = [axes.get_title() for axes in exhibit.figure.axes]
        assert all(title.startswith("kind ") and "(60)" in title for title in titles)
        assert len(titles) == exhibit.table["class"].nunique() == 3
        assert exhibit.table["low"].notna().all()
        assert len(exhibit.alt) > 30


@pytest.mark.parametrize("classes", [2, 26])
def test_few_and_many_classes_can_be_drawn(tmp_path: Path, classes: int) -> None:
    chapter = chapter_of(gather(make_run(tmp_path / "run", classes=classes, patients=4 * classes)))
    exhibit = item(chapter, "roc")
    assert isinstance(exhibit, Exhibit)
    drawn = [axes for axes in exhibit.figure.axes if axes.get_title()]
    assert len(drawn) == min(classes, 24)
    assert exhibit.table["class"].nunique() == classes
    assert ("2 classes with the largest area are not drawn" in exhibit.caption) == (classes == 26)
    operating = item(chapter, "operating")
    assert isinstance(operating, Listing)
    assert ("mirror each other" in operating.caption) == (classes == 2)


def test_few_groups_have_no_interval_and_the_chapter_says_so(tmp_path: Path) -> None:
    chapter = chapter_of(gather(make_run(tmp_path / "run", classes=2, patients=16)))
    table = item(chapter, "operating").table
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    assert table[["sensitivity", "specificity"]].notna().all(axis=None)
    words = " ".join(chapter.sentences)
    assert "fewer than 10 groups" in words
    assert "twice" not in words


@pytest.mark.parametrize("verb", ["curve", "evaluate"])
def test_intervals_that_were_not_taken_are_no_sign_of_few_groups(
    clinical_run: RunDirectory, verb: str
) -> None:
    given = replace(gather(clinical_run), settings={verb: {"bootstrap": 0}})
    words = " ".join(chapter_of(given).sentences)
    assert "No intervals were taken (--bootstrap 0)." in words
    assert "fewer than 10 groups" not in words


def test_the_width_with_twice_the_groups_is_told(chapter: Chapter) -> None:
    words = " ".join(chapter.sentences)
    assert "With twice as many test groups of the same kind" in words
    now, twice = (float(part.split()[0].rstrip(".")) for part in
                  (words.split("in place of ")[1], words.split("would be about ")[1]))
    assert now / 1.7 < twice < now / 1.15


def test_a_run_without_scores_has_no_such_chapter(clinical_run: RunDirectory) -> None:
    given = gather(clinical_run)
    assert clinical_chapter(given, Headline("initial", "svm", 3)) is None
    assert clinical_chapter(replace(given, scores=None), Headline("initial", "svm", 9)) is None


def test_the_page_holds_the_chapter(clinical_run: RunDirectory) -> None:
    report(run=clinical_run.path)
    page = (clinical_run / "report.html").read_text(encoding="utf-8")
    assert "In clinical terms" in page
    assert {"roc.png", "pr.svg", "operating.csv", "patients.csv", "strata_site.csv"} <= {
        path.name for path in (clinical_run / "figures").iterdir()
    }


def test_precision_in_the_figure_is_that_of_scikit_learn_at_full_recall(
    clinical_run: RunDirectory, chapter: Chapter
) -> None:
    table = item(chapter, "pr").table
    name = "kind 2"
    found = []
    for _, part in scores_of(clinical_run).groupby("repeat"):
        own = part["label"] == name
        found.append(precision_score(own, part[f"score:{name}"] >= part.loc[own, f"score:{name}"].min()))
    row = table[(table["class"] == name) & (table["x"] == 1)].iloc[0]
    assert row["value"] == pytest.approx(np.mean(found))


def test_balanced_accuracy_without_classes_of_few_test_images_stands_beside(tmp_path: Path) -> None:
    """Two classes of many test images, and one of three."""
    run = make_run(tmp_path / "run", classes=2, patients=40)
    table = ImageTable.read(run / "images.parquet")
    label = table.frame["label"].mask(table.frame["group"].isin(["patient 0", "patient 1"]), "kind rare")
    table = table.assign(label=label, site=None)
    vectors = np.random.default_rng(0).normal(size=(len(table), 3)).astype(np.float32)
    vectors[np.arange(len(table)), np.unique(label.to_numpy(str), return_inverse=True)[1]] += 2
    embeddings = {"initial": Embeddings(table.ids, vectors, {"name": "initial", "hash": "0"}, table)}
    half = np.where(np.arange(len(table.test)) % 2, "odd", "even")
    choices = CurveChoices.of(budgets=(9,), repeats=2, bootstrap=50, classifiers=("svm",))
    curve = learning_curve(embeddings, table, choices, subgroups=pd.DataFrame({"half": half}))
    curve.write(run.path)
    given = gather(run)
    assert given.curve is not None
    at = headline(given.curve)
    numbers = next(one for one in curves_chapter(given.curve, at, {}).items if one.name == "curve_svm")
    assert isinstance(numbers, Listing)
    own = [part[part["label"].astype(str) != "kind rare"].astype(str)
           for _, part in curve.predictions.groupby("repeat")]
    expected = np.mean([
        recall_score(part["label"] == name, part["predicted"] == name)
        for part in own for name in ("kind 0", "kind 1")
    ])
    assert numbers.table["without_tiny"].tolist() == [pytest.approx(expected)]
    assert f"[{share(expected)}]" in str(numbers.rows[0][-1])
    assert "In brackets: without the classes of fewer than 10 test images." in numbers.caption
    halves = item(chapter_of(given), "strata_half")
    assert isinstance(halves, Listing)
    assert "In brackets" in halves.caption
    assert "[" in str(halves.rows[0][-1])


def test_classes_that_no_other_site_has_are_named_in_report_and_card(tmp_path: Path) -> None:
    """Their recall of 0 is in the balanced accuracy without the site's labels."""
    given = gather(make_run(tmp_path / "run", classes=3, patients=60, only_in_kiel=1))
    assert given.curve is not None
    told = (
        "No other site has labels of these classes, which count as a recall of 0 where the labels of the "
        "site are left out: kind 1 (Kiel)."
    )
    sites = item(chapter_of(given), "strata_site")
    assert isinstance(sites, Listing)
    assert told in sites.caption
    assert float(sites.table.query("labels != 'as in the curve' and stratum == 'Kiel'")["value"].max()) < 0.7
    card = Telling(given, headline(given.curve), Trace(tmp_path), Citations(), frozenset())
    assert subgroup_blocks(card)[-1] == told


def test_what_the_network_has_no_part_in_is_said(clinical_run: RunDirectory) -> None:
    given = gather(clinical_run)
    assert given.curve is not None
    assert given.thresholds is not None
    assert not any("The network" in one for one in chapter_of(given).sentences)
    trained = pd.concat([given.curve, given.curve.assign(classifier="network")])
    asked = replace(given, curve=trained)
    told = "The network trained end to end has no thresholds and is not judged without a site's labels: "
    assert any(one.startswith(told) for one in chapter_of(asked).sentences)
    unasked = replace(asked, thresholds=None, strata=None)
    assert not any("The network" in one for one in chapter_of(unasked).sentences)


def test_probabilities_stand_beside_how_often_they_are_right(clinical_run: RunDirectory) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    found = probabilities_chapter(material, at)
    assert "is to put that right" in found.sentences[0]  # whether it did, the table tells
    summary = item(found, "calibration").table.set_index("way")
    assert summary.loc["after", "loss"] < summary.loc["before", "loss"]
    assert summary.loc["after", "error"] < summary.loc["before", "error"]
    losses = []
    for repeat, rows in scores_of(clinical_run).groupby("repeat"):
        facts = next(one for one in material.calibrations if one["repeat"] == repeat)
        names = [name for name in rows if name.startswith("score:")]
        said = Calibration.of(facts).probabilities(rows[names].to_numpy())
        own = said[np.arange(len(rows)), [names.index(f"score:{label}") for label in rows["label"]]]
        by_class = pd.Series(-np.log(own)).groupby(rows["label"].astype(str).to_numpy()).mean()
        losses.append(by_class.mean())  # as if the classes were equally common
    assert summary.loc["after", "loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    bins = item(found, "reliability").table
    assert bins[bins["way"] == "after"]["share"].sum() == pytest.approx(1)
    stated = probabilities_chapter(gather(clinical_run, {"kind 0": 0.9}), at)
    assert any("prevalences as stated: kind 0 .9" in sentence for sentence in stated.sentences)


def test_no_probabilities_no_chapter(clinical_run: RunDirectory) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    assert probabilities_chapter(replace(material, calibrations=material.calibrations[:1]), at) is None
    assert probabilities_chapter(replace(material, scores=None), at) is None


def test_sets_hold_the_true_class_as_often_as_told(clinical_run: RunDirectory) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    table = item(sets_chapter(material, at), "coverage").table.set_index("class")
    held = pd.read_parquet(clinical_run / "held_out.parquet")
    covered, ones = [], []
    for repeat, rows in scores_of(clinical_run).groupby("repeat"):
        fitted = Calibration.of(next(one for one in material.calibrations if one["repeat"] == repeat))
        names = [name for name in rows if name.startswith("score:")]
        own = held[held["repeat"] == repeat]
        codes = np.array([names.index(f"score:{label}") for label in own["label"]])
        sets = Sets.fit(fitted.probabilities(own[names].to_numpy()), codes, 0.9)
        members = sets.members(fitted.probabilities(rows[names].to_numpy()))
        truth = [names.index(f"score:{label}") for label in rows["label"]]
        labels = rows["label"].astype(str).to_numpy()
        in_set = pd.Series(members[np.arange(len(rows)), truth])
        covered.append(in_set.groupby(labels).mean())
        ones.append(pd.Series(members.sum(axis=1) == 1).groupby(labels).mean())
    expected = pd.concat(covered, axis=1).mean(axis=1)
    for name, value in expected.items():
        assert table.loc[name, "covered"] == pytest.approx(value)
    every = table[table.index.isna()].iloc[0]
    assert every["covered"] == pytest.approx(expected.mean())  # as if the classes were equally common
    assert every["one"] == pytest.approx(pd.concat(ones, axis=1).mean(axis=1).mean())
    assert every["covered_low"] <= every["covered"] <= every["covered_high"]


def test_referral_leaves_the_clearest_images_and_says_how_often_they_are_right(
    clinical_run: RunDirectory,
) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    fitted = {
        **(material.predictor or {}), "labels": {"kind 0": 70, "kind 1": 50},
        "unusual": {"images": 80, "share": 0.0625},
    }
    of_more = sets_chapter(replace(material, predictor=fitted), at)
    assert any("the predictor learned from 120 labels" in sentence for sentence in of_more.sentences)
    assert any("calls .06 of the 80 test images unusual" in sentence for sentence in of_more.sentences)
    found = sets_chapter(material, at)
    curve = item(found, "referral").table
    line, dots = curve[curve["kind"] == "line"], curve[curve["kind"] == "sets"]
    scores = scores_of(clinical_run)
    first = line.iloc[0]
    assert (first["referred"], first["right"]) == (
        pytest.approx(0, abs=1e-9), pytest.approx((scores["label"] == scores["predicted"]).mean())
    )
    assert line["referred"].is_monotonic_increasing
    assert line["right"].iloc[-1] > first["right"] + 0.05
    assert dots["referred"].is_monotonic_increasing
    own = dots[dots["level"] == 0.9].iloc[0]
    told = " ".join(found.sentences)
    referred, right = round(100 * own["referred"]), share(own["right"])
    assert f"{referred}\u00a0% of all, the label is right in {right}" in told
    assert "not enough labels" in str(item(found, "coverage").rows)  # nine of a class promise it nothing


def test_sets_are_for_the_prevalence_that_is_stated(clinical_run: RunDirectory) -> None:
    plain, stated = gather(clinical_run), gather(clinical_run, {"kind 0": 0.9})
    at = headline(plain.curve)
    rows = [item(sets_chapter(one, at), "coverage").table.set_index("class") for one in (plain, stated)]
    assert rows[1].loc["kind 0", "covered"] >= rows[0].loc["kind 0", "covered"] - 0.05
    assert rows[1].loc["kind 1", "covered"] < rows[0].loc["kind 1", "covered"]
    each = rows[1].loc[["kind 0", "kind 1", "kind 2"], "covered"].to_numpy()
    shares = prevalences(np.array([60, 60, 60]), ["kind 0", "kind 1", "kind 2"], {"kind 0": 0.9})
    assert rows[1][rows[1].index.isna()].iloc[0]["covered"] == pytest.approx(each @ shares)
    assert any("for prevalences as stated: kind 0 .9" in one for one in sets_chapter(stated, at).sentences)


def test_the_card_says_what_sets_promise_and_hold(clinical_run: RunDirectory, tmp_path: Path) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    table = item(sets_chapter(material, at), "coverage").table
    (tmp_path / "figures").mkdir()
    table.to_csv(tmp_path / "figures" / "coverage.csv", index=False)
    names = [str(name) for name in table["class"].dropna()]
    sets = Sets(0.9, "class-wise", (0.5, 0.5, 0.5), (25, 20, 9))
    facts = {
        "classes": names, "sets": sets.facts, "novelty": {"images": 90},
        "unusual": {"images": 90, "share": 0.0667},
    }
    (tmp_path / "predictor.json").write_text(json.dumps(facts))
    told = Telling(
        replace(material, predictor=facts), at, Trace(tmp_path), Citations(), frozenset({"coverage.csv"})
    )
    promise, above, found, unusual = doubt_blocks(told)
    assert promise.endswith(f"each class; not enough labels for such a promise: {names[2]}.")
    assert "as if all classes were equally common" in above
    assert [row[0] for row in found.rows] == ["all classes", *names]
    for row, covered in zip(found.rows, table["covered"], strict=True):
        assert row[1].startswith(share(covered))
    assert "Of the 90 test images it calls .07 unusual" in unusual
    places = {entry.place.file for entry in told.trace.entries}
    assert places == {"predictor.json", "figures/coverage.csv"}


def test_no_held_out_scores_no_sets(clinical_run: RunDirectory) -> None:
    material = gather(clinical_run)
    at = headline(material.curve)
    assert sets_chapter(replace(material, held_out=None), at) is None
    assert sets_chapter(replace(material, calibrations=material.calibrations[:1]), at) is None
    stairs = [{**one, "method": "isotonic"} for one in material.calibrations]
    assert sets_chapter(replace(material, calibrations=stairs), at) is None
    many = replace(material, predictor={"sets": {"coverage": 0.999, "kind": "marginal"}})
    assert sets_chapter(many, at) is None


@pytest.mark.parametrize("far", [0.06, 0.3])
def test_a_broken_promise_is_said(clinical_run: RunDirectory, far: float) -> None:
    row = pd.Series({"covered": 0.9 - far, "covered_low": 0.88 - far, "covered_high": 0.92 - far,
                     "n_held_out": 30.0})
    told = _measured(row, 0.9)
    assert told.startswith("On the test images the true class is in .")
    assert ("as may happen by chance" in told) == (far < 0.1)
    assert ("Do not rely on the sets" in told) == (far > 0.1)


def test_the_promise_that_is_judged_is_the_predictors(clinical_run: RunDirectory) -> None:
    plain = gather(clinical_run)
    fitted = replace(plain, predictor={"sets": {"coverage": 0.8, "kind": "class-wise"}})
    there = {"external": {"sets": {"coverage": 0.95, "kind": "marginal"}}}
    judged_there = replace(plain, state={**plain.state, "curve": there})
    asked = replace(plain, settings={"fit": {"coverage": 0.7, "sets": "class-wise"}})
    found = [coverage_of(one) for one in (plain, fitted, judged_there, asked)]
    assert found == [(0.9, "marginal"), (0.8, "class-wise"), (0.95, "marginal"), (0.7, "class-wise")]


def test_every_mark_in_the_reliability_diagram_is_a_value() -> None:
    """What says which is which stands above: among the values it would be one more."""
    sure = np.array([0.5, 0.57, 0.9])
    table = pd.concat([
        pd.DataFrame({"way": way, "sure": sure, "right": sure - less, "low": 0.0, "high": 1.0})
        for way, less in (("before", 0.44), ("after", 0.0))
    ])
    axes = reliability_diagram(table).axes[0]
    axes.figure.draw_without_rendering()
    inside = axes.get_window_extent()
    marks = [
        tuple(axes.transData.inverted().transform(place).round(6).tolist())
        for line in axes.lines if line.get_marker() not in ("None", None)
        for place in line.get_transform().transform(line.get_xydata()) if inside.contains(*place)
    ]
    assert sorted(marks) == sorted(map(tuple, table[["sure", "right"]].round(6).to_numpy().tolist()))


def test_nothing_of_the_panels_is_cut_off(tmp_path: Path) -> None:
    """A title of three lines in the last row leaves less room for the others."""
    names = [f"kind {number}" for number in range(10)] + ["neutrophil_segmented"]
    x = np.linspace(0, 1, 101)
    table = pd.concat([
        pd.DataFrame({
            "class": name, "x": x, "value": x**0.2, "low": np.nan, "high": np.nan, "area": 0.8,
            "area_low": 0.7, "area_high": 0.9, "chance": x, "n_test": 40,
        })
        for name in names
    ])
    points = pd.DataFrame({"class": names, "chosen": False, "x": 0.0, "y": 0.0})
    save_figure(tradeoff_panels(table, points, "roc"), tmp_path, "roc")
    with Image.open(tmp_path / "roc.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[:2] == 255).all()
    assert (pixels[-2:] == 255).all()
