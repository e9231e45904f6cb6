"""Test splits that take turns: each labelled image is judged once, by what never saw its group."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from hundredfold.config import CurveChoices
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import SettingsError, SplitError
from hundredfold.learn.curve import learning_curve
from hundredfold.learn.draws import solve
from hundredfold.learn.outer import sides_of

World = tuple[ImageTable, dict[str, Embeddings]]
SVM = "encoder == 'sharp' and classifier == 'svm' and n_per_class == 5"


def choices(**given: Any) -> CurveChoices:
    small: dict[str, Any] = {"budgets": (2, 5), "repeats": 2, "bootstrap": 50, "classifiers": ("knn", "svm")}
    return CurveChoices.of(**{**small, "outer_splits": 3, **given})


def test_every_labelled_image_is_a_test_image_once_and_no_group_is_in_two_splits(world: World) -> None:
    table = world[0].assign(split=np.where(np.arange(len(world[0])) == 7, "audit", world[0].frame["split"]))
    sides = sides_of(table, choices(), seed=0)
    tested = [str(name) for trial in sides.trials for name in trial.test.ids]
    assert sorted(tested) == sorted(set(table.ids) - {table.ids[7]})
    assert sides.whole.test.ids.tolist() == sorted(tested)
    for trial in sides.trials:
        assert not set(trial.train.frame["group"]) & set(trial.test.frame["group"])
        assert sorted([*trial.train.ids, *trial.test.ids]) == sorted(tested)


def test_each_image_gets_what_the_classifier_of_its_own_split_says(world: World) -> None:
    table, embeddings = world
    given = choices()
    found = learning_curve(embeddings, table, given)
    sides = sides_of(table, given, seed=0)
    study = sides.studies(given, 0, {"sharp": "x"}, None)[1]
    trial, rows = study.trial, study.draws[5, 1]
    train, test = trial.vectors(embeddings["sharp"])
    outcome = solve(train[rows], trial.train_codes[rows], test, ["knn", "svm"], 3)
    mine = found.predictions.query(f"{SVM} and repeat == 1")
    said = mine.set_index("id")["predicted"].astype(str)
    assert len(said) == len(table)
    assert said.loc[[str(name) for name in trial.test.ids]].tolist() == [
        trial.classes[number] for number in outcome.predicted[1]
    ]


def test_the_figures_are_over_all_images_and_the_facts_say_how(world: World) -> None:
    table, embeddings = world
    found = learning_curve(embeddings, table, choices())
    rows = found.frame[found.frame["metric"] == "balanced_accuracy"]
    assert set(rows["n_test"]) == {len(table)}
    assert found.facts["outer_splits"] == 3
    assert found.facts["intervals"].startswith(f"{table.frame['group'].nunique()} test groups")
    assert "choice" not in found.facts  # labels of one split are test images of another
    one = found.predictions.query(f"{SVM} and repeat == 0")
    truth, predicted = one["label"].astype(str), one["predicted"].astype(str)
    value = rows.query(f"{SVM} and repeat == 0")["value"]
    assert value.iloc[0] == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_each_split_chooses_a_method_without_its_test_images(world: World) -> None:
    """Nested cross-validation, written out: each split's own choice, and what it says of its test images."""
    table, embeddings = world
    given = choices()
    found = learning_curve(embeddings, table, given)
    sides, nested = sides_of(table, given, seed=0), found.facts["chosen_by_split"]
    said, methods = [], []
    for trial in sides.trials:
        alone = table.by_id([*trial.train.ids, *trial.test.ids]).assign(
            split=["train"] * len(trial.train.ids) + ["test"] * len(trial.test.ids)
        )
        own = learning_curve(embeddings, alone, choices(outer_splits=1))
        chosen = own.facts["choice"]
        methods.append((chosen["encoder"], chosen["classifier"]))
        told = own.predictions
        here = (told["encoder"] == methods[-1][0]) & (told["classifier"] == methods[-1][1])
        said.append(told[here & (told["n_per_class"] == nested["n_per_class"])])
    together = pd.concat(said)
    values = [
        balanced_accuracy_score(one["label"].astype(str), one["predicted"].astype(str))
        for _, one in together.groupby("repeat")
    ]
    assert nested["balanced_accuracy"] == pytest.approx(np.mean(values))
    assert {(encoder, name): count for encoder, name, count in nested["methods"]} == Counter(methods)
    assert nested["low"] < nested["balanced_accuracy"] < nested["high"]


def test_with_one_method_there_is_nothing_to_choose(world: World) -> None:
    one = {"sharp": world[1]["sharp"]}
    assert learning_curve(one, world[0], choices(classifiers=("knn",))).facts["chosen_by_split"] is None


def test_where_no_label_can_be_held_out_nothing_is_chosen(world: World) -> None:
    """One label a class: the first method would be taken, and no cross-validation would have chosen it."""
    found = learning_curve(world[1], world[0], choices(budgets=(1,), repeats=1, bootstrap=0))
    assert found.facts["chosen_by_split"] is None


def labelled_in(table: ImageTable, given: CurveChoices, seed: int) -> np.ndarray:
    """Training images of each class [splits, classes]."""
    trials = sides_of(table, given, seed=seed).trials
    return np.array([np.bincount(trial.train_codes) for trial in trials])


def test_labels_are_counted_in_every_split(world: World) -> None:
    """A class with fewer labels in any of the splits is capped, though it has enough in the first."""
    alone = world[0].frame["id"].where(world[0].frame["id"] > "p004.png", "one patient")
    table = world[0].assign(group=world[0].frame["group"].where(world[0].frame["label"] != "platelet", alone))
    given = choices(budgets=(2, 8, 50), classifiers=("knn",), repeats=1, bootstrap=0)
    seed, sizes = next(
        (seed, sizes) for seed in range(20)
        if (sizes := labelled_in(table, given, seed))[0].min() == 8 > sizes.min()
    )
    found = learning_curve({"sharp": world[1]["sharp"]}, table, given, seed=seed).frame
    rows = found[found["metric"] == "balanced_accuracy"].set_index("n_per_class")
    for budget in given.budgets:
        assert rows.loc[budget, "n_labels"] == round(np.minimum(sizes, budget).sum(axis=1).mean())
        assert rows.loc[budget, "capped"] == (sizes < budget).any()


def test_an_encoder_that_saw_the_images_is_named(world: World) -> None:
    table, embeddings = world
    seen = frozenset(table.frame["sha256"][:9])
    taught = Embeddings(table.ids, embeddings["sharp"].vectors, embeddings["sharp"].encoder, table, seen)
    found = learning_curve({"sharp": taught}, table, choices(budgets=(2,)))
    assert found.facts["transductive"] == {"sharp": 9}


def test_classes_are_left_out_that_are_small_on_the_training_side_of_a_split(world: World) -> None:
    """As in a single split: 12 labels of a class are 8 for each classifier where three splits take turns."""
    table, least = world[0], labelled_in(world[0], choices(), 0).min(axis=0)
    assert least[2] == 8 < (table.frame["label"] == "platelet").sum() == 12
    assert not sides_of(table, choices(min_class_size=8), seed=0).whole.small
    found = learning_curve(world[1], table, choices(budgets=(2,), min_class_size=9))
    assert found.facts["classes_left_out"] == ["platelet"]
    with pytest.raises(SplitError, match="found 1 in 20"):
        sides_of(table, choices(min_class_size=int(least[1]) + 1), seed=0)


def test_leaving_classes_out_deals_the_others_as_before(world: World) -> None:
    """Patients of images of several classes: a rare class had a say in where they are tested."""
    group = [f"patient {number % 11}" for number in range(len(world[0]))]
    whole, large = (
        sides_of(world[0].assign(group=group), choices(min_class_size=least), seed=0) for least in (0, 11)
    )
    assert large.whole.small == ("platelet",)
    for before, after in zip(whole.trials, large.trials, strict=True):
        kept = before.test.frame["label"] != "platelet"
        assert after.test.ids.tolist() == before.test.ids[kept].tolist()


def test_a_class_of_one_group_is_named_since_nothing_can_recognise_it(world: World) -> None:
    """Its images are tested together, in the split whose training side has none of them."""
    table = world[0]
    alone = table.frame["group"].where(table.frame["label"] != "platelet", "one patient")
    for seed in range(3):
        sides = sides_of(table.assign(group=alone), choices(), seed=seed)
        assert sides.facts()["classes_without_training_images"] == ["platelet"]
        assert "Without training images, hence never recognised: platelet." in sides.sentences()


def test_scores_of_splits_that_know_two_of_three_classes_stand_beside_the_others(world: World) -> None:
    """They are ranked together: margins among logarithms of probabilities would be no ranking at all."""
    alone = world[0].frame["group"].where(world[0].frame["label"] != "platelet", "one patient")
    table, given = world[0].assign(group=alone), choices(
        budgets=(5,), repeats=1, bootstrap=0, classifiers=("svm", "lda")
    )
    found = learning_curve({"sharp": world[1]["sharp"]}, table, given)
    assert found.clinical is not None
    scores, taught = found.clinical.scores, ["score:basophil", "score:eosinophil"]
    nowhere = next(trial.test.ids for trial in sides_of(table, given, seed=0).trials if "platelet" not in
                   trial.train.classes)
    for name in given.classifiers:
        rows = scores[scores["classifier"] == name]
        own = rows[rows["id"].isin(nowhere)]
        np.testing.assert_allclose(np.exp(own[taught].to_numpy(float)).sum(axis=1), 1, rtol=1e-5)
        assert (own["score:platelet"] == rows["score:platelet"].min()).all()
        best = own[taught].idxmax(axis=1).str.removeprefix("score:")
        assert best.tolist() == own["predicted"].astype(str).tolist()


def test_too_few_labels_or_groups_for_the_splits_are_refused_in_words(world: World) -> None:
    table = world[0]
    for bad, given in (
        (table.assign(split="audit"), choices()), (table, choices(min_class_size=1000)),
        (table.assign(group=np.where(np.arange(len(table)) % 2, "p", "q")), choices()),
    ):
        with pytest.raises(SplitError, match="in 3 groups or more") as told:
            sides_of(bad, given, seed=0)
        assert "--outer-splits" in str(told.value)


def test_what_needs_one_test_split_is_refused(world: World) -> None:
    with pytest.raises(SettingsError, match="expected one test split"):
        learning_curve(world[1], world[0], choices(sensitivity=0.9))
