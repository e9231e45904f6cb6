"""Scores, thresholds and strata against plain restatements; and that no test image chooses anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import SettingsError
from hundredfold.learn.budgets import draw_labels, headline_budget
from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.clinical import Clinical
from hundredfold.learn.curve import LearningCurve, learning_curve
from hundredfold.learn.draws import solve
from hundredfold.learn.held_out import held_out_parts
from hundredfold.learn.outer import sides_of
from hundredfold.learn.scores import SCORE, read_scores
from hundredfold.report.tables import headline

World = tuple[ImageTable, dict[str, Embeddings]]
SMALL: dict[str, Any] = {
    "budgets": (1, 20), "repeats": 2, "bootstrap": 40, "classifiers": ("svm", "logistic"),
    "sensitivity": 0.9, "leave_one_site_out": True,
}


def with_sites(world: World) -> World:
    """Images of one group come from one of three sites; the site of a few is not known."""
    table, embeddings = world
    number = table.frame["group"].str.rsplit("-", n=1).str[-1].astype(int)
    site = (number % 4).map({0: "Kiel", 1: "Lyon", 2: "Oslo", 3: None})
    return table.assign(site=site), embeddings


def measured(world: World, subgroups: pd.DataFrame | None = None, **given_: Any) -> LearningCurve:
    table, embeddings = world
    return learning_curve(embeddings, table, CurveChoices.of(**{**SMALL, **given_}), subgroups=subgroups)


def clinical_of(found: LearningCurve) -> Clinical:
    assert found.clinical is not None
    return found.clinical


@pytest.fixture(scope="module")
def sited(world: World) -> World:
    return with_sites(world)


@pytest.fixture(scope="module")
def curve(sited: World) -> LearningCurve:
    odd = np.where(np.arange(len(sited[0].test)) % 2, "odd", "even")
    return measured(sited, pd.DataFrame({"row": odd}))


def test_the_budget_of_the_scores_is_the_one_that_the_report_speaks_of(curve: LearningCurve) -> None:
    assert set(clinical_of(curve).scores["n_per_class"]) == {headline(curve.frame).n_per_class}


@given(st.dictionaries(st.integers(1, 1000), st.integers(1, 500), min_size=1))
def test_the_budget_spoken_of_is_asked_for_and_no_repetition(drawn: dict[int, int]) -> None:
    labels = dict(zip(sorted(drawn), sorted(drawn.values()), strict=True))
    found = headline_budget(labels)
    assert found in labels
    assert found <= 100 or found == min(labels)
    assert not any(budget < found and count == labels[found] == max(labels.values())
                   for budget, count in labels.items())


def test_scores_are_those_of_the_fit_and_stand_beside_its_decision(
    sited: World, curve: LearningCurve
) -> None:
    table, embeddings = sited
    scores = clinical_of(curve).scores
    train, test = table.train.by_id(sorted(table.train.ids)), table.test.by_id(sorted(table.test.ids))
    vectors = pd.DataFrame(embeddings["sharp"].vectors, index=embeddings["sharp"].ids)
    classes, codes = np.unique(train.frame["label"].to_numpy(str), return_inverse=True)
    rows = draw_labels(train.ids, codes, 20, repeat=1, seed=0)
    x = np.ascontiguousarray(vectors.loc[train.ids])
    outcome = solve(x[rows], codes[rows], np.ascontiguousarray(vectors.loc[test.ids]), ["svm"], 3)
    mine = scores.query("encoder == 'sharp' and classifier == 'svm' and repeat == 1")
    np.testing.assert_array_equal(mine[[f"{SCORE}{name}" for name in classes]], outcome.scores[0])
    assert mine["id"].tolist() == test.ids.tolist()
    assert mine["label"].astype(str).tolist() == test.frame["label"].tolist()
    assert mine["predicted"].astype(str).tolist() == classes[outcome.scores[0].argmax(axis=1)].tolist()
    assert len(scores) == 2 * 2 * 2 * len(test)
    assert {str(scores[f"{SCORE}{name}"].dtype) for name in classes} == {"float32"}
    told = curve.predictions.query(
        "encoder == 'sharp' and classifier == 'svm' and repeat == 1 and n_per_class == 20"
    )
    assert told["predicted"].tolist() == mine["predicted"].tolist()


def test_what_is_written_can_be_read_in_parts(curve: LearningCurve, tmp_path: Path) -> None:
    for name in ("thresholds.csv", "calibrations.json", "held_out.parquet"):
        (tmp_path / name).write_text("of an earlier call")
    clinical = clinical_of(curve)
    Clinical(clinical.scores, None, clinical.strata).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.parquet", "strata.csv"]
    part = read_scores(tmp_path / "scores.parquet", "blunt", "logistic")
    own = (clinical.scores["encoder"] == "blunt") & (clinical.scores["classifier"] == "logistic")
    assert len(part) == own.sum()
    np.testing.assert_array_equal(part.filter(like=SCORE), clinical.scores[own].filter(like=SCORE))


def test_scores_of_held_out_labels_are_those_of_the_calibrations(sited: World, curve: LearningCurve) -> None:
    table, clinical = sited[0], clinical_of(curve)
    held = clinical.held
    assert held is not None
    assert not set(held["id"]) & set(table.test.ids)
    labels = table.frame.set_index("id")["label"]
    assert held["label"].astype(str).tolist() == labels[held["id"]].tolist()
    names = [name for name in held if name.startswith(SCORE)]
    for facts in clinical.calibrations:
        keys = ("encoder", "classifier", "n_per_class", "repeat")
        own = held[np.logical_and.reduce([held[key] == facts[key] for key in keys])]
        codes = np.array([names.index(f"{SCORE}{label}") for label in own["label"]])
        assert Calibration.fit(own[names].to_numpy(), codes).facts["curves"] == facts["curves"]
    assert clinical.calibrations


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_no_part_tears_a_group_or_takes_the_last_of_a_class(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(4, size=30)
    groups = [f"p{number}" if number else None for number in random.integers(10, size=30)]
    parts = held_out_parts([f"{n:02d}" for n in range(30)], labels, groups, seed=seed)
    assert 1 <= len(parts) <= 5
    assert (sum(part.astype(int) for part in parts) <= 1).all()
    for part in parts:
        assert set(labels[~part]) == set(labels)
        known = [{g for g, held in zip(groups, part, strict=True) if g and held == side} for side in (0, 1)]
        assert not known[0] & known[1]


def test_thresholds_reach_the_target_on_labels_that_were_held_out(sited: World, curve: LearningCurve) -> None:
    """Against a plain loop over the parts of one draw."""
    table, embeddings = sited
    train = table.train.by_id(sorted(table.train.ids))
    vectors = pd.DataFrame(embeddings["blunt"].vectors, index=embeddings["blunt"].ids)
    classes, codes = np.unique(train.frame["label"].to_numpy(str), return_inverse=True)
    rows = draw_labels(train.ids, codes, 20, repeat=0, seed=0)
    x = np.ascontiguousarray(vectors.loc[train.ids])[rows]
    y, groups = codes[rows], train.frame["group"].iloc[rows].tolist()
    scores = np.full((len(rows), 3), np.nan)
    for part in held_out_parts(train.ids[rows], y, groups, seed=0):
        scores[part] = solve(x[~part], y[~part], x[part], ["svm"], 3).scores[0]
    found = clinical_of(curve).thresholds
    assert found is not None
    mine = found.query("encoder == 'blunt' and classifier == 'svm' and repeat == 0").set_index("class")
    assert mine.index.tolist() == classes.tolist()
    for number, name in enumerate(classes):
        told = ~np.isnan(scores[:, number])
        own = (y == number)[told]
        called = scores[told, number].astype(np.float32) >= np.float32(mine["threshold"][name])
        assert called[own].mean() == pytest.approx(mine["sensitivity"][name])
        assert called[own].mean() >= 0.9
        assert (~called[~own]).mean() == pytest.approx(mine["specificity"][name])
        assert mine["n_held_out"][name] == own.sum() > 0


def test_no_test_image_has_a_part_in_the_thresholds(sited: World, curve: LearningCurve) -> None:
    """Other test vectors and other test labels, the same thresholds."""
    table, embeddings = sited
    tested = (table.frame["split"] == "test").to_numpy()
    label = table.frame["label"].to_numpy(object).copy()
    label[tested] = np.roll(label[tested], 7)
    other = {
        name: replace(found, vectors=np.where(tested[:, None], 9 - found.vectors, found.vectors))
        for name, found in embeddings.items()
    }
    again = measured((table.assign(label=label), other))
    assert not again.frame["value"].equals(curve.frame["value"])
    pd.testing.assert_frame_equal(clinical_of(again).thresholds, clinical_of(curve).thresholds)


def test_a_single_label_a_class_has_no_threshold(sited: World) -> None:
    found = clinical_of(measured(sited, budgets=(1,))).thresholds
    assert found is not None
    assert found["threshold"].isna().all()
    assert len(found) == 2 * 2 * 2 * 3


def test_the_classifiers_own_decision_needs_no_threshold(sited: World) -> None:
    found = clinical_of(measured(sited, sensitivity=None, leave_one_site_out=False))
    assert found.thresholds is None
    assert found.strata is not None
    assert set(found.strata["by"]) == {"site"}


def test_two_targets_at_once_are_refused() -> None:
    with pytest.raises(SettingsError, match="found both"):
        CurveChoices.of(sensitivity=0.9, specificity=0.9)
    assert CurveChoices.of(specificity=0.8).operating_point == ("specificity", 0.8)


def test_strata_are_the_curves_own_answers_for_some_of_the_test_images(
    sited: World, curve: LearningCurve
) -> None:
    strata = clinical_of(curve).strata
    assert strata is not None
    test = sited[0].test.by_id(sorted(sited[0].test.ids)).frame
    own = strata[strata["labels"] == "as in the curve"]
    assert set(own[own["by"] == "site"]["stratum"]) == {"Kiel", "Lyon", "Oslo"} & set(test["site"].dropna())
    assert set(own[own["by"] == "row"]["stratum"]) == {"odd", "even"}
    at = curve.predictions.query("encoder == 'blunt' and classifier == 'logistic' and n_per_class == 20")
    for site in own[own["by"] == "site"]["stratum"].unique():
        ids = set(test.loc[test["site"] == site, "id"])
        drawn = [part[part["id"].isin(ids)].astype(str) for _, part in at.groupby("repeat")]
        row = own.query(
            f"stratum == '{site}' and encoder == 'blunt' and classifier == 'logistic'"
        ).set_index("metric")
        assert row.loc["balanced_accuracy", "value"] == pytest.approx(
            np.mean([balanced_accuracy_score(part["label"], part["predicted"]) for part in drawn])
        )
        first = row.loc[["recall"]].iloc[0]
        kind = first["class"]
        assert first["value"] == pytest.approx(np.mean([
            recall_score(part["label"] == kind, part["predicted"] == kind) for part in drawn
        ]))
        assert row.loc["balanced_accuracy", "n_test"] == len(ids)


def test_a_site_left_out_gives_no_label_and_its_own_test_images_are_judged(
    sited: World, curve: LearningCurve
) -> None:
    """Against fits of our own to the labels of the other sites."""
    table, embeddings = sited
    strata = clinical_of(curve).strata
    assert strata is not None
    train, test = table.train.by_id(sorted(table.train.ids)), table.test.by_id(sorted(table.test.ids))
    vectors = pd.DataFrame(embeddings["sharp"].vectors, index=embeddings["sharp"].ids)
    sites = strata.loc[strata["labels"] == "of the other sites", "stratum"].unique()
    assert len(sites) >= 2
    for site in sites:
        others = train.select(train.frame["site"].notna() & (train.frame["site"] != site))
        own = test.select(test.frame["site"] == site)
        classes, codes = np.unique(others.frame["label"].to_numpy(str), return_inverse=True)
        values = []
        for repeat in range(2):
            rows = draw_labels(others.ids, codes, 20, repeat=repeat, seed=0)
            x, asked = (np.ascontiguousarray(vectors.loc[ids]) for ids in (others.ids[rows], own.ids))
            said = classes[solve(x, codes[rows], asked, ["svm"], len(classes)).predicted[0]]
            values.append(balanced_accuracy_score(own.frame["label"].to_numpy(str), said))
        row = strata.query(
            f"stratum == '{site}' and labels == 'of the other sites' and encoder == 'sharp' "
            "and classifier == 'svm' and metric == 'balanced_accuracy'"
        ).iloc[0]
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["n_test"] == len(own)


def test_classes_of_one_site_are_named_where_its_labels_are_left_out(sited: World) -> None:
    """No other site can teach them, and a recall of 0 says so no more than that they are hard."""
    table, embeddings = sited
    own = table.frame["label"].ne("platelet") | table.frame["site"].isin(["Kiel"])
    alone = table.select(own.to_numpy(dtype=bool))
    given = CurveChoices.of(**{**SMALL, "sensitivity": None, "budgets": (20,)})
    found = learning_curve(embeddings, alone, given)
    strata = clinical_of(found).strata
    assert strata is not None
    recall = strata[(strata["metric"] == "recall") & (strata["labels"] == "of the other sites")]
    never = recall[recall["value"] == 0]
    assert set(zip(never["stratum"], never["class"], strict=True)) == {("Kiel", "platelet")}
    assert found.facts["classes_of_one_site"] == {"Kiel": ["platelet"]}
    told = "Without the labels of Kiel nothing recognises, since no other site has labels of it: platelet."
    sides = sides_of(alone, given, seed=0)
    assert told in sides.sentences(given)
    unasked = given.model_copy(update={"leave_one_site_out": False})
    assert sides.facts(unasked)["classes_of_one_site"] == {}
    assert told not in sides.sentences(unasked)
    # where the others have labels of one class, nothing is judged, and nothing has a recall of 0
    few = (alone.frame["label"] == "basophil") & (alone.frame["split"] == "train")
    rest = alone.assign(site=alone.frame["site"].where(few, "Kiel"))
    assert sides_of(rest, given, seed=0).facts(given)["classes_of_one_site"] == {}


def test_labels_of_the_own_site_are_worth_something_where_sites_differ() -> None:
    """Sites that show a class in different ways: found with own labels, lost without."""
    random = np.random.default_rng(0)
    rows = [(site, kind, n) for site in "AB" for kind in "xy" for n in range(30)]
    centre = {"A": (0, 3), "B": (3, 0)}  # of classes x and y: the sites contradict each other
    table = ImageTable.of({
        "id": [f"{site}{kind}{n:02d}" for site, kind, n in rows], "label": [kind for _, kind, _ in rows],
        "site": [site for site, _, _ in rows], "split": ["test" if n % 3 == 0 else "train" for *_, n in rows],
    })
    mark = np.array([[centre[site]["xy".index(kind)], 5 * (site == "B")] for site, kind, _ in rows])
    vectors = (mark + 0.3 * random.normal(size=(len(rows), 2))).astype(np.float32)
    world = (table, {"one": Embeddings(table.ids, vectors, {"name": "one", "hash": "1"}, table)})
    strata = clinical_of(measured(world, budgets=(20,), classifiers=("svm",), sensitivity=None)).strata
    assert strata is not None
    value = strata[strata["metric"] == "balanced_accuracy"].set_index(["labels", "stratum"])["value"]
    assert value["as in the curve"].min() > 0.9
    assert value["of the other sites", "B"] < 0.6


def test_one_site_is_no_stratum(world: World) -> None:
    table, embeddings = world
    alone = measured((table.assign(site="Kiel"), embeddings), leave_one_site_out=True, sensitivity=None)
    assert clinical_of(alone).strata is None
