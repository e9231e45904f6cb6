"""What a reader is asked to keep in mind."""

from __future__ import annotations

import pandas as pd

from hundredfold.report.cautions import cautions
from hundredfold.report.material import Material, headline_of
from hundredfold.report.tables import Headline


def left_out(classes: list[str]) -> str:
    state = {"curve": {"classes_left_out": ["rare"]}, "stages": {}}
    given = Material("run", state, {}, predictor={"classes": classes})
    return next(one.sentence for one in cautions(given, None) if one.title == "Classes left out.")


def test_numbers_without_a_class_are_not_those_of_a_predictor_that_tells_it() -> None:
    assert "The run's predictor learned them all the same" in left_out(["common", "often", "rare"])
    assert "predictor" not in left_out(["common", "often"])


def test_a_predictor_that_was_not_judged_lends_its_name_to_no_number() -> None:
    methods = [("thumbnail", "svm"), ("thumbnail", "knn"), ("initial", "svm"), ("initial", "knn")]
    curve = pd.DataFrame(methods, columns=["encoder", "classifier"]).assign(
        n_per_class=10, n_labels=20, metric="balanced_accuracy", value=0.5, low=0.4, high=0.6,
        preset="paper",
    )
    curve["class"] = None
    state = {"curve": {"choice": {"encoder": "initial", "classifier": "knn"}}, "stages": {}}

    def made(classifier: str, preset: str = "paper") -> Material:
        fitted = {"embeddings": "thumbnail", "classifier": classifier, "preset": preset}
        return Material("run", state, {}, curve=curve, predictor=fitted)

    assert headline_of(made("svm")) == Headline("thumbnail", "svm", 10)
    assert headline_of(made("lda")) == Headline("initial", "knn", 10)
    told = [one for one in cautions(made("lda"), None) if "the run's predictor" in one.title]
    assert [one.sentence[:61] for one in told] == [
        "It is linear discriminant analysis on raw thumbnails with col"
    ]
    assert not [one for one in cautions(made("svm"), None) if "predictor" in one.title]
    (other,) = [one for one in cautions(made("svm", "default"), None) if "predictor" in one.title]
    assert "--preset default, but every accuracy here is of the SVM with --preset paper" in other.sentence
    assert not [one for one in cautions(made("knn", "default"), None) if "predictor" in one.title]
