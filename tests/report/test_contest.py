"""The sentence on the best method: what chose it, how it does beside the others, and how sure that is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hundredfold.data.table import ImageTable
from hundredfold.report.chapters.compared import compared_chapter
from hundredfold.report.contest import best_sentences, contest, contestant
from hundredfold.report.material import Material
from hundredfold.report.outlook import ASSURANCE, outlook_sentences
from hundredfold.report.tables import Headline
from hundredfold.report.words import interval

AT = Headline("pretrained", "svm", 100)
IMAGES, CLASSES = 300, ("blast", "lymphocyte", "monocyte")
BUDGETS = (1, 5, 10, 25, 50, 100)


def material_of(skill: dict[tuple[str, str], float], choice: dict[str, Any] | None = None) -> Material:
    """Methods that are right so often at 100 labels a class, and less often with fewer."""
    random = np.random.default_rng(0)
    truth = np.arange(IMAGES) % 3
    luck = random.random((3, IMAGES))  # what is hard is hard for every method
    rows = []
    for (encoder, classifier), best in skill.items():
        for n in BUDGETS:
            for repeat in range(3):
                wrong = luck[repeat] + 0.05 * random.random(IMAGES) > best - 0.3 * n**-0.5
                guess = np.where(wrong, (truth + 1) % 3, truth)
                rows.append(pd.DataFrame({
                    "encoder": encoder, "classifier": classifier, "n_per_class": n, "repeat": repeat,
                    "id": [f"{i:03d}" for i in range(IMAGES)],
                    "label": np.array(CLASSES)[truth], "predicted": np.array(CLASSES)[guess],
                }))
    predictions = pd.concat(rows, ignore_index=True)
    images = ImageTable.of({
        "id": [f"{i:03d}" for i in range(IMAGES)], "label": np.array(CLASSES)[truth].tolist(),
        "split": "test",
    })
    curve = predictions[["encoder", "classifier", "n_per_class", "repeat"]].drop_duplicates().assign(
        metric="balanced_accuracy", value=0.5, capped=False, n_labels=1
    )
    sizes = {"blast": 300, "lymphocyte": 4850, "monocyte": 4850}
    state = {"curve": {"choice": choice, "train_images_by_class": sizes}, "stages": {}}
    return Material("run", state, {}, images=images, curve=curve, predictions=predictions)


def told(material: Material) -> str:
    table = contest(material, AT)
    assert table is not None
    return " ".join(best_sentences(material, table))


CHOICE = {
    "encoder": "pretrained", "classifier": "logistic", "n_per_class": 100,
    "accuracy": {"pretrained/svm": 0.81, "pretrained/logistic": 0.86},
}
CLEAR = {("pretrained", "svm"): 0.75, ("pretrained", "logistic"): 0.9, ("thumbnail", "svm"): 0.6}


def test_the_chosen_method_is_ahead_by_so_much_with_so_much_certainty() -> None:
    words = told(material_of(CLEAR, CHOICE))
    assert words.startswith(
        "Best by cross-validation on the training labels, without the test images: logistic regression on "
        "the pre-trained features (.86 there). On the test images it reaches ."
    )
    assert "it is ahead of both others, of the nearest by .1" in words
    assert "(the SVM on the pre-trained features; 95\u00a0%\u00a0interval of the difference ." in words
    assert "p-values are corrected for 2 comparisons (Holm), intervals are each for its difference" in words


def test_what_no_label_could_be_held_out_for_was_not_chosen() -> None:
    """One label a class: the first method is taken, and no cross-validation is spoken of."""
    words = told(material_of(CLEAR, {**CHOICE, "accuracy": {}}))
    assert "cross-validation" not in words
    assert "(taken by a fixed rule, not chosen by results)" in words


def test_one_method_is_not_the_best_of_one() -> None:
    """Beside the network there was one classifier: cross-validation had nothing to choose from."""
    skill = {("initial", "svm"): 0.8, ("initial", "network"): 0.5}
    alone = {"encoder": "initial", "classifier": "svm", "n_per_class": 100, "accuracy": {"initial/svm": 0.8}}
    given = material_of(skill, alone)
    table = contest(given, Headline("initial", "svm", 100))
    assert table is not None
    words = " ".join(best_sentences(given, table))
    assert "Best by" not in words
    assert "the SVM on the features before pre-training (taken by a fixed rule" in words


def test_a_network_is_said_to_have_no_part_in_the_choice() -> None:
    words = "; the network, trained end to end, took no part in that. On the test images"
    assert words not in told(material_of(CLEAR, CHOICE))
    assert words in told(material_of({**CLEAR, ("initial", "network"): 0.5}, CHOICE))


def test_near_copies_are_resampled_together_where_no_groups_are_known() -> None:
    alone = material_of(CLEAR, CHOICE)
    first = [f"{i - i % 15 + i % 3:03d}" for i in range(IMAGES)]  # five copies each, of one class
    copies = replace(alone, images=alone.images.assign(cluster=first))
    apart, together = contest(alone, AT), contest(copies, AT)
    assert (together["difference"] == apart["difference"]).all()
    width = [table["high"] - table["low"] for table in (apart, together)]
    assert ((width[1] - width[0]).abs() > 1e-9).all()
    assert copies.test_pieces.nunique() == IMAGES / 5
    assert alone.test_pieces.is_unique


def test_a_choice_that_is_behind_on_the_test_images_is_told_so() -> None:
    wrong = {**CHOICE, "classifier": "svm"}
    words = told(material_of(CLEAR, wrong))
    assert "it is ahead of 1 of the 2 others" in words
    assert "behind 1, by .1" in words
    assert "(logistic regression on the pre-trained features" in words


@pytest.mark.parametrize(("best", "others", "said"), [
    (0.9, (0.6,), "it is ahead of the other method, by ."),
    (0.6, (0.9,), "it is behind the other method, by ."),
    (0.8, (0.8,), "it cannot be told from the other method there: the difference may be chance"),
    (0.9, (0.6, 0.6, 0.6), "it is ahead of all 3 others, of the nearest by ."),
    (0.6, (0.9, 0.9), "it is behind both others, most by ."),
    (0.75, (0.6, 0.9, 0.9), "it is ahead of 1 of the 3 others, by ."),
])
def test_the_others_are_counted_as_a_person_would(best: float, others: tuple[float, ...], said: str) -> None:
    skill = {("pretrained", "svm"): best} | {
        ("initial", name): skill for name, skill in zip(("svm", "knn", "lda"), others, strict=False)
    }
    words = told(material_of(skill))
    assert said in words


def test_where_nothing_can_be_told_apart_it_is_said_plainly() -> None:
    alike = dict.fromkeys(CLEAR, 0.8)
    words = told(material_of(alike, CHOICE))
    assert "it cannot be told from any of the 2 other methods there: every difference may be chance" in words
    assert "ahead" not in words


def test_an_interval_that_leaves_out_0_where_the_corrected_p_value_does_not_is_explained() -> None:
    material = material_of(dict.fromkeys(CLEAR, 0.8), CHOICE)
    table = contest(material, AT)
    assert table is not None
    alone = table.assign(difference=-0.03, low=-0.05, high=-0.002, p=0.04, p_holm=0.08)
    words = " ".join(best_sentences(material, alone))
    assert "every difference may be chance" in words
    told_why = "which alone would be a difference, but it is one of 2 comparisons: corrected p\u00a0= .080"
    assert told_why in words
    assert "alone would be" not in " ".join(best_sentences(material, alone.assign(high=0.002, p_holm=0.2)))


def predictor(features: str, classifier: str, **accuracy: float) -> dict[str, Any]:
    return {
        "embeddings": features, "classifier": classifier,
        "cross_validation": {name.replace("_", "/"): value for name, value in accuracy.items()},
    }


def test_where_the_predictor_is_of_another_method_it_is_said_why() -> None:
    material = material_of(CLEAR, CHOICE)
    same = predictor("pretrained", "logistic", pretrained_logistic=0.9, pretrained_svm=0.88)
    assert "predictor" not in told(replace(material, predictor=same))
    other = predictor("pretrained", "svm", pretrained_logistic=0.9, pretrained_svm=0.912)
    assert told(replace(material, predictor=other)).endswith(
        "The run's predictor is another, the SVM on the pre-trained features: it learned from all training "
        "labels, of which cross-validation gave it .912 and the method chosen with 100 labels per class .900."
    )
    asked = predictor("pretrained", "svm", pretrained_svm=0.912)
    assert told(replace(material, predictor=asked)).endswith("and was not chosen among these methods.")
    assert "The run's predictor" not in told(replace(material_of(CLEAR), predictor=other))


def test_the_test_set_chooses_nothing() -> None:
    """Whatever the test images say, the contestant is what the training labels chose, else the headline's."""
    for best in CLEAR:
        skill = {method: 0.95 if method == best else 0.5 for method in CLEAR}
        assert contestant(material_of(skill, CHOICE), AT) == Headline("pretrained", "logistic", 100)
        assert contestant(material_of(skill), AT) == AT
    unknown = {**CHOICE, "encoder": "gone"}
    assert contestant(material_of(CLEAR, unknown), AT) == AT


def test_without_a_choice_the_headline_is_set_beside_the_others() -> None:
    words = told(material_of(CLEAR))
    assert words.startswith(
        "With 100 labels per class the SVM on the pre-trained features (taken by a fixed rule, not chosen by "
        "results) reaches ."
    )
    assert "cross-validation" not in words


def test_too_few_groups_are_said_in_place_of_a_comparison() -> None:
    material = material_of(CLEAR, CHOICE)
    assert material.images is not None
    few = material.images.assign(group=[f"p{i % 9}" for i in range(IMAGES)])
    words = told(replace(material, images=few))
    chapter = compared_chapter(material, contest(replace(material, images=few), AT))
    assert chapter is not None
    page = " ".join([*chapter.sentences, *(item.caption for item in chapter.items)])
    assert "There are no intervals" in page
    assert "uncorrected" not in page
    assert "not corrected" not in page
    assert "which method is best cannot be told, since the test images are of fewer than 10 groups" in words
    assert "p\u00a0" not in words
    assert "cannot be forecast: the test images are of 9 groups" in outlook_sentences(
        replace(material, images=few), AT
    )[-1]


@pytest.mark.parametrize(("n", "reads"), [(100, "3,300"), (10, "330")])
def test_reads_of_a_rare_class(n: int, reads: str) -> None:
    words = outlook_sentences(material_of(CLEAR), replace(AT, n_per_class=n))[0]
    assert words == (
        f"Read at random, {n} labels of every class cost about {reads} reads, all of them for the rarest "
        "class (blast, 3\u00a0% of the labelled training images)."
    )
    two = {"blast": 300, "lymphocyte": 310, "monocyte": 9390}
    given = material_of(CLEAR)
    both = replace(given, state={**given.state, "curve": {"train_images_by_class": two}})
    words = outlook_sentences(both, replace(AT, n_per_class=5))[0]
    assert "cost about 200 reads; those of the rarest class alone (blast, 3" in words
    assert words.endswith("about 170.")
    large = {**two, "monocyte": 8390}  # 1,000 of classes that were left out are read, too
    without = {"train_images_by_class": large, "train_images_left_out": 1000}
    assert outlook_sentences(replace(given, state={**given.state, "curve": without}), AT)[0] == (
        outlook_sentences(both, AT)[0]
    )
    never = outlook_sentences(material_of(CLEAR), replace(AT, n_per_class=500))[0]
    assert "all 10,000 hold only 300 of the rarest class" in never


def test_an_audit_set_tells_the_reads_where_labels_were_chosen() -> None:
    """Chosen labels are as many of each class; how common the classes are, images drawn at random say."""
    given = material_of(CLEAR)
    sides = ["train"] * 10_000 + ["audit"] * 100
    images = ImageTable.of({"id": [f"{number:05d}" for number in range(len(sides))], "split": sides})
    facts = {
        "train_images_by_class": {"blast": 150, "monocyte": 150}, "test_set": "audit",
        "test_images": {"blast": 3, "monocyte": 97},
    }
    chosen = replace(given, images=images, state={**given.state, "curve": facts})
    assert outlook_sentences(chosen, AT)[0] == (
        "Read at random, 100 labels of every class cost about 3,300 reads, all of them for the rarest "
        "class (blast, 3\u00a0% of the audit images)."
    )
    said = [None] * 10_000 + ["blast"] * 3 + ["monocyte"] * 87 + ["band"] * 10  # a class that was left out
    labelled = images.assign(label=pd.Series(said, dtype="str"))
    without = {**facts, "test_images": {"blast": 3, "monocyte": 87}}
    left_out = replace(chosen, images=labelled, state={**given.state, "curve": without})
    assert outlook_sentences(left_out, AT)[0] == outlook_sentences(chosen, AT)[0]


def test_the_forecast_is_told_or_refused() -> None:
    assert outlook_sentences(material_of(CLEAR), AT)[1].startswith(
        f"Forecast from the learning curve, {ASSURANCE}: 50 more labels per class (from 100 to 150): "
    )
    knn = {("pretrained", "knn"): 0.8}
    assert "follows no power law" in outlook_sentences(material_of(knn), replace(AT, classifier="knn"))[1]


def test_the_forecast_promises_what_was_measured(repo_root: Path) -> None:
    found = json.loads((repo_root / "benchmarks/results/forecast.json").read_text(encoding="utf-8"))
    sets = {name: facts["coverage_if_widened_by_the_others"] for name, facts in found["sets"].items()}
    assert int(100 * found["sets"]["all"]["coverage"]) == 99
    others = [value for name, value in sets.items() if name != "all"]
    assert len(others) == 3
    assert "99\u00a0%" in ASSURANCE
    assert f"{100 * min(others):.0f} to {100 * max(others):.0f}\u00a0%" in ASSURANCE


def test_what_a_choice_inside_each_split_reaches_is_told_with_its_interval() -> None:
    material = material_of({("pretrained", "svm"): 0.9, ("pretrained", "lda"): 0.8})
    found = {
        "n_per_class": 100, "balanced_accuracy": 0.8444, "low": 0.81, "high": 0.8765,
        "methods": [["pretrained", "svm", 4], ["pretrained", "lda", 1]],
    }
    nested = replace(material, state={"curve": {**material.evaluation, "chosen_by_split": found}})
    assert (
        f"A method chosen by cross-validation reaches .84 (95\u00a0%\u00a0interval {interval(0.81, 0.8765)}) "
        "with 100 labels per class: it was chosen anew for each of the 5 test splits, on its training labels "
        "alone (the SVM on the pre-trained features in 4, "
    ) in told(nested)
    assert "took no part" not in told(nested)
    network = material_of({("initial", "network"): 0.9, ("pretrained", "svm"): 0.8})
    found["methods"] = [["pretrained", "svm", 5]]
    state = {"curve": {**network.evaluation, "chosen_by_split": found}}
    assert "in 5); the network, trained end to end, took no part" in told(replace(network, state=state))
    bare = replace(material, state={"curve": {"chosen_by_split": {**found, "low": None, "high": None}}})
    assert "reaches .84 with 100 labels" in told(bare)
