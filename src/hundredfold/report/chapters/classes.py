"""Chapters on where the classifier errs: the classes, example errors, and the map of the features."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from hundredfold.metrics import TINY
from hundredfold.report.chapters.base import Chapter, Exhibit, Listing
from hundredfold.report.class_figures import class_strips, confusion_matrix, embedding_map
from hundredfold.report.embedding_map import map_points
from hundredfold.report.examples import resembled, typical_errors
from hundredfold.report.material import Material
from hundredfold.report.sheets import error_sheet
from hundredfold.report.tables import (
    Headline,
    at_point,
    confusion,
    labels_words,
    recall_draws,
    recall_points,
    rows_of,
)
from hundredfold.report.words import encoder_label, interval, method_label, percent_of, share, shown

__all__ = ["classes_chapter", "errors_chapter", "map_chapter"]

ERRORS_SHOWN = 6
NEIGHBOURS = 3
ENDS = {"interval": "95 % interval", "range": "range over the draws"}


def classes_chapter(material: Material, at: Headline) -> Chapter | None:
    """Recall and confusions at the headline's point; ``None`` without predictions."""
    if material.predictions is None or material.curve is None:
        return None
    recall = recall_points(material.curve, material.predictions, at)
    if recall.empty:
        return None
    labels = labels_words(at.n_per_class, capped=bool(at_point(material.curve, at)["capped"].any()))
    where = f"{method_label(at.classifier)}, {encoder_label(at.encoder)}, {labels}"
    matrix = _confusion(confusion(material.predictions, at), where)
    draws = recall_draws(material.predictions, at)
    # Of several splits the sizes that were noted are those of one.
    sizes = None if material.outer else material.evaluation.get("train_images_by_class")
    strips = _recall(recall, draws, sizes, where)
    return Chapter("classes", "The classes", (), [strips, _recall_listing(recall), matrix])


def errors_chapter(material: Material, at: Headline) -> Chapter | None:
    """Errors beside their nearest labelled images; ``None`` without predictions, embeddings or pixels."""
    embeddings = material.embeddings.get(at.encoder)
    if material.predictions is None or embeddings is None or material.store is None:
        return None
    errors = typical_errors(material.predictions, at, most=ERRORS_SHOWN, seed=0)
    table = resembled(errors, embeddings, neighbours=NEIGHBOURS, turns=material.outer)
    stored = set(material.store.ids)
    table = table[table["image"].isin(stored) & table["neighbour"].isin(stored)].reset_index(drop=True)
    if table.empty:
        return None
    table = table.merge(errors[["id", "times"]].rename(columns={"id": "image"}), on="image")
    each = list(rows_of(table.drop_duplicates("image")))
    told = "; ".join(f"{shown(e.label)} taken for {shown(e.predicted)}" for e in each)
    sheet = Exhibit(
        "errors",
        "Errors and what they resemble",
        "Left a test image that is taken for another class; beside it the labelled "
        f"{'' if material.outer else 'training '}images of other groups with the most similar features. Blue "
        "names: the true class; orange: the predicted one. Where the neighbours look right but bear another "
        "label, a label may be wrong.",
        f"Example errors with the labelled images nearest to them: {told}.",
        error_sheet(table, material.store),
        table,
        photographic=True,
    )
    names = Listing(
        "errors",
        "The same errors, by name",
        "One random example of each of the most frequent confusions in the first draw of labels.",
        ["is", "taken for", "image", "such errors"],
        [[shown(e.label), shown(e.predicted), shown(e.image, 60), f"{e.times:,}"] for e in each],
        table,
        words=3,
    )
    return Chapter("errors", "Example errors", (), [sheet, names])


def map_chapter(material: Material, at: Headline | None) -> Chapter | None:
    """The map of the headline's embeddings; ``None`` without embeddings or labels."""
    wanted = at.encoder if at else "pretrained"
    name = wanted if wanted in material.embeddings else next(iter(material.embeddings), None)
    if name is None:
        return None
    points = map_points(material.embeddings[name], seed=0)
    if points.empty:
        return None
    classes = ", ".join(shown(label) for label in sorted(points["label"].unique()))
    exhibit = Exhibit(
        "map",
        f"Map of the features ({encoder_label(name)})",
        f"{len(points):,} labelled images; near each other where their features are alike (PCA, then t-SNE). "
        "Only neighbourhoods mean something; distances between islands, and their sizes, do not.",
        f"Scatter plot of {len(points):,} images, by class: {classes}.",
        embedding_map(points),
        points,
        wide=True,
    )
    return Chapter("map", "The features", (), [exhibit])


def _recall(
    recall: pd.DataFrame, draws: pd.DataFrame, sizes: Mapping[str, int] | None, where: str
) -> Exhibit:
    best, *_, worst = [*rows_of(recall.head(1)), *rows_of(recall.tail(1))]
    band = _band(recall)
    few = f" Hollow: under {TINY} test images." if (recall["n_test"] < TINY).any() else ""
    bars = f" Bars: {ENDS[band]}.{_without(recall)}" if band else ""
    several = draws["repeat"].nunique() > 1
    strokes = " Small strokes: the draws of labels." if several else ""
    return Exhibit(
        "recall",
        "How much of each class is found",
        f"{where}. In parentheses: test images.{strokes}{bars}{few}",
        f"Dot plot of recall for {len(recall)} classes, from {share(best.value)} ({shown(best.label)}) down "
        f"to {share(worst.value)} ({shown(worst.label)}).",
        class_strips(recall, draws if several else None, sizes),
        recall,
    )


def _recall_listing(recall: pd.DataFrame) -> Listing:
    band = _band(recall)
    rows = [
        [
            shown(row.label),
            f"{row.n_test:,}",
            share(row.value),
            *([interval(row.low, row.high)] if band else []),
        ]
        for row in rows_of(recall)
    ]
    head = ["class", "test images", "recall", *([ENDS[band]] if band else [])]
    return Listing("recall", "The same in numbers", _without(recall).strip(), head, rows, recall)


def _without(recall: pd.DataFrame) -> str:
    """Why some classes have no interval and others have."""
    missing = (recall["band"] == "").any() and (recall["band"] == "interval").any()
    return " No interval: the class's test images come from fewer than 10 groups." if missing else ""


def _confusion(table: pd.DataFrame, where: str) -> Exhibit:
    tiny = f", orange where under {TINY}" if (table["n_test"] < TINY).any() else ""
    several = "; mean and standard deviation over the draws" if table["sd"].notna().any() else ""
    return Exhibit(
        "confusion",
        "What is taken for what",
        f"{where}{several}. Read along a row: where the images of one "
        "true class go. The diagonal "
        f"is the recall. Bars: test images of the class{tiny}.",
        f"Confusion matrix. {_most_confused(table)}",
        confusion_matrix(table),
        table,
        wide=True,
    )


def _most_confused(table: pd.DataFrame) -> str:
    wrong = table[(table["label"] != table["predicted"]) & (table["count"] > 0)]
    worst = list(rows_of(wrong.sort_values("share", ascending=False, kind="stable").head(3)))
    if not worst:
        return "No test image is taken for another class."
    told = (
        f"{shown(row.label)} taken for {shown(row.predicted)} ({percent_of(row.share)} %)" for row in worst
    )
    return f"Most frequent: {'; '.join(told)}."


def _band(recall: pd.DataFrame) -> str:
    return next((band for band in ENDS if (recall["band"] == band).any()), "")
