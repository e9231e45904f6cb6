"""The tables behind the figures, against plain restatements and laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score

from hundredfold.data.datasets.endoscopy import COUNTS
from hundredfold.data.table import ImageTable
from hundredfold.report import class_figures
from hundredfold.report.class_figures import class_strips
from hundredfold.report.examples import class_examples, resembled, typical_errors
from hundredfold.report.material import gather, without_repeats
from hundredfold.report.style import COLUMN, apart, save_figure
from hundredfold.report.tables import (
    Headline,
    class_counts,
    confusion,
    counts,
    curve_points,
    headline,
    recall_points,
    without_tiny,
)
from hundredfold.report.words import compact, in_lines, share, shown
from hundredfold.rundir import RunDirectory

AT = Headline("pretrained", "svm", 10)


def predictions(truth: list[str], guess: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "encoder": "pretrained",
            "classifier": "svm",
            "n_per_class": 10,
            "repeat": 0,
            "id": [f"{n}.png" for n in range(len(truth))],
            "label": truth,
            "predicted": guess,
        }
    ).astype(dict.fromkeys(("encoder", "classifier", "label", "predicted"), "category"))


NO_CURVE = pd.DataFrame(columns=["encoder", "classifier", "n_per_class", "metric", "class", "low", "high"])
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=40)


@settings(max_examples=15, deadline=None)
@given(pairs)
def test_confusion_and_recall_agree_with_scikit_learn(drawn: list[tuple[str, str]]) -> None:
    truth, guess = [t for t, _ in drawn], [g for _, g in drawn]
    tidy = confusion(predictions(truth, guess), AT)
    names = sorted(set(truth) | set(guess))
    grid = tidy.pivot(index="label", columns="predicted", values="count").reindex(
        index=[*names, "none"], fill_value=0
    )
    expected_grid = confusion_matrix(truth, guess, labels=[*names, "none"])  # it warns of a single class
    assert grid[names].to_numpy().tolist() == expected_grid[:, :-1].tolist()
    recall = recall_points(NO_CURVE, predictions(truth, guess), AT).set_index("label")["value"]
    present = sorted(set(truth))
    expected = recall_score(truth, guess, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(recall[present], expected)


def test_a_class_of_few_groups_has_no_interval_where_others_have_one() -> None:
    drawn = pd.concat([
        predictions(list("aabb"), list("aaab")).assign(repeat=0),
        predictions(list("aabb"), list("abbb")).assign(repeat=1),
    ])
    without = recall_points(NO_CURVE, drawn, AT).set_index("label")
    assert (without["band"] == "range").all()
    row = {"encoder": "pretrained", "classifier": "svm", "n_per_class": 10, "metric": "recall"}
    curve = pd.DataFrame([
        {**row, "class": "a", "low": 0.4, "high": 0.9}, {**row, "class": "b", "low": np.nan, "high": np.nan},
    ])
    found = recall_points(curve, drawn, AT).set_index("label")
    assert found.loc["a", ["low", "high", "band"]].tolist() == [0.4, 0.9, "interval"]
    assert found.loc["b", ["low", "high"]].isna().all()  # the range of two draws would look like an interval
    assert found.loc["b", "band"] == ""


def test_shares_of_a_true_class_sum_to_one_over_all_draws(whole_run: RunDirectory) -> None:
    material = gather(whole_run)
    assert material.predictions is not None
    assert material.curve is not None
    tidy = confusion(material.predictions, headline(material.curve))
    np.testing.assert_allclose(tidy.groupby("label")["share"].sum(), 1)
    assert tidy["count"].sum() == 2 * 16


def test_balanced_accuracy_without_tiny_classes() -> None:
    recall = pd.DataFrame({"label": ["a", "b", "c"], "value": [0.8, 0.6, 0.0], "n_test": [10, 100, 9]})
    value, tiny = without_tiny(recall)
    assert round(value, 6) == 0.7
    assert tiny == ["c"]


def test_curve_points_keep_the_joint_interval_and_else_the_range() -> None:
    rows = pd.DataFrame(
        {
            "encoder": "pretrained",
            "classifier": ["svm", "svm", "knn", "knn"],
            "class": [None] * 4,
            "n_per_class": 5,
            "n_labels": 10,
            "repeat": [0, 1, 0, 1],
            "metric": "balanced_accuracy",
            "value": [0.5, 0.7, 0.2, 0.4],
            "low": [0.4, 0.4, np.nan, np.nan],
            "high": [0.8, 0.8, np.nan, np.nan],
            "n_test": 30,
            "capped": False,
        }
    )
    points = curve_points(rows).set_index("classifier")
    assert points.loc["svm", ["low", "high", "band"]].tolist() == [0.4, 0.8, "interval"]
    assert points.loc["knn", ["low", "high", "band"]].tolist() == [0.2, 0.4, "range"]
    assert round(points.loc["svm", "value"], 6) == 0.6


def test_counts_add_up(whole_run: RunDirectory) -> None:
    material = gather(whole_run)
    assert material.images is not None
    told = counts(material.images, material.rejects).set_index("item")["count"]
    assert told["images found"] == told["images used"] + told["images left out"] == 49
    assert told["labelled training images"] + told["labelled test images"] == told["images used"]
    classes = class_counts(material.images)
    assert classes["train"].sum() == told["labelled training images"]
    assert classes["test"].sum() == told["labelled test images"]


def test_errors_are_errors_and_neighbours_are_labelled_training_images(whole_run: RunDirectory) -> None:
    material = gather(whole_run)
    assert material.predictions is not None
    at = Headline("initial", "svm", 1)
    errors = typical_errors(material.predictions, at, most=4, seed=0)
    assert len(errors)
    assert (errors["label"] != errors["predicted"]).all()
    assert errors["times"].is_monotonic_decreasing
    embeddings = material.embeddings["initial"]
    table = resembled(errors, embeddings, neighbours=3)
    sides = embeddings.images.frame.set_index("id")["split"]
    assert set(sides[table["neighbour"]]) == {"train"}
    assert set(sides[table["image"]]) == {"test"}
    vectors = pd.DataFrame(embeddings.vectors, index=embeddings.ids)
    first = table.iloc[0]
    unit = vectors.div(np.linalg.norm(vectors, axis=1), axis=0)
    similarity = unit[sides == "train"] @ unit.loc[first["image"]]
    assert similarity.idxmax() == first["neighbour"]
    assert abs(similarity.max() - first["similarity"]) < 1e-5


def test_examples_of_a_set_without_labels() -> None:
    table = class_examples(ImageTable.of({"id": ["a", "b"]}), each=3, most_classes=4, seed=0)
    assert sorted(table["id"]) == ["a", "b"]
    assert set(table["label"]) == {"(no label)"}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.3))
def test_labels_moved_apart_keep_their_order_and_their_gap(positions: list[float], gap: float) -> None:
    moved = np.array(apart(positions, gap))
    order = np.argsort(positions, kind="stable")
    assert (np.diff(moved[order]) >= gap - 1e-5).all()
    assert abs(moved.mean() - np.mean(positions)) < 1e-5


@given(st.text(max_size=60))
def test_a_name_is_one_line_of_plain_letters(name: str) -> None:
    line = shown(name)
    assert len(line) <= 40
    assert line == " ".join(line.split())
    assert not set(line) & set("\n\r\t\x00\u202e\ud800")
    assert len(in_lines(name, 12).split("\n")) <= 2


@given(st.floats(0, 5_000_000))
def test_a_compact_count_is_short_and_close(count: float) -> None:
    text = compact(count)
    assert len(text) <= 6
    scale = {"k": 1e3, "M": 1e6}.get(text[-1], 1)
    read = float(text.rstrip("kM").replace(",", "")) * scale
    assert abs(read - count) <= max(0.5, 0.05 * scale * 1.01)


def test_shares_are_written_as_in_journals() -> None:
    assert [share(v) for v in (0, 0.004, 0.995, 1, -0.001, -0.25, np.nan, 1e-9)] == [
        ".00",
        ".004",
        ".995" if f"{0.995:.2f}" == "1.00" else ".99",
        "1.00",
        "−.001",
        "−.25",
        "–",
        ".00",
    ]


def test_classes_that_differ_in_their_last_letters_are_told_apart_in_figures() -> None:
    """The grades of HyperKvasir, of which six were called alike on both sides of the confusion matrix."""
    names = sorted(COUNTS)
    images = predictions(names, names)
    matrix = class_figures.confusion_matrix(confusion(images, AT)).axes[0]
    strips = class_strips(
        pd.DataFrame({"label": names, "value": 1.0, "low": np.nan, "high": np.nan, "n_test": 40})
    ).axes[0]
    for labels in (matrix.get_yticklabels(), matrix.get_xticklabels(), strips.get_yticklabels()):
        assert len({label.get_text() for label in labels}) == len(names) == 23


def test_the_point_of_every_class_is_whole(tmp_path: Path) -> None:
    """That of a class never found is as large as another's."""
    recall = pd.DataFrame({"label": ["a", "b", "c"], "value": [1.0, 0.5, 0.0], "low": np.nan, "high": np.nan})
    figure = class_strips(recall.assign(n_test=40), sizes={"a": 9, "b": 9, "c": 9}, width=COLUMN)
    save_figure(figure, tmp_path, "recall")
    with Image.open(tmp_path / "recall.png") as picture:
        blue = np.all(np.asarray(picture.convert("RGB")) == (0, 0x72, 0xB2), axis=2)
    rows = np.flatnonzero(blue.any(axis=1))
    marks = np.split(rows, np.flatnonzero(np.diff(rows) > 5) + 1)
    sizes = [int(blue[mark].sum()) for mark in marks]
    assert len(sizes) == 3
    assert max(sizes) < 1.1 * min(sizes), sizes


def test_the_report_speaks_of_a_number_of_labels_that_every_encoder_was_measured_with() -> None:
    """Runs that are compared may have been measured with others: beside the first would stand nothing."""
    curve = pd.DataFrame(
        [("a", "svm", n, 3 * n) for n in (1, 10, 50)] + [("b", "svm", n, 3 * n) for n in (1, 10)],
        columns=["encoder", "classifier", "n_per_class", "n_labels"],
    )
    assert headline(curve, "svm", "a").n_per_class == 10
    assert headline(curve[curve["encoder"] == "a"], "svm", "a").n_per_class == 50


def test_the_curve_ends_with_the_first_budget_that_takes_every_label() -> None:
    curve = pd.DataFrame({"n_per_class": [1, 5, 10, 50, 100], "n_labels": [3, 15, 28, 40, 40]})
    curve = curve.assign(encoder="initial", classifier="svm")
    assert without_repeats(curve)["n_per_class"].tolist() == [1, 5, 10, 50]
    # a network that was trained on all labels, too, shortens no other curve
    network = pd.DataFrame({"n_per_class": [10, 40], "n_labels": [28, 40]})
    both = pd.concat([curve, network.assign(encoder="initial", classifier="network")])
    assert without_repeats(both)["n_per_class"].tolist() == [1, 5, 10, 50, 10, 40]
