"""The first lines of a report: what was found, in plain sentences, in the order a reader asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import pandas as pd

from hundredfold.learn.compare import compare
from hundredfold.metrics import TINY
from hundredfold.report.contest import best_sentences
from hundredfold.report.material import Material
from hundredfold.report.outlook import outlook_sentences
from hundredfold.report.tables import (
    Headline,
    Point,
    confusion,
    curve_points,
    labels_words,
    listed,
    points_of,
    recall_points,
    rows_of,
    stages_of,
    without_tiny,
)
from hundredfold.report.words import (
    AUDIT_SET,
    LEVEL,
    features_words,
    interval,
    many,
    method_words,
    probability,
    share,
    shown,
)

__all__ = ["finding"]

ORDER = ("pretrained", "adapted", "initial", "thumbnail")


def finding(
    material: Material, at: Headline | None, compared: pd.DataFrame | None = None
) -> list[str]:
    """What was found, a paragraph a question; without a learning curve, how far the run came.

    Args:
        material: what the run holds.
        at: the point that is spoken of.
        compared: the best method beside the others, of :func:`~hundredfold.report.contest.contest`.
    """
    if at is None or material.curve is None:
        return _before_the_curve(material)
    points = points_of(curve_points(material.curve))
    beside = _references(material, points, at, compared)
    answers = [
        [_result(_point(points, at), material.evaluation)],
        [*_other_budgets(points, at), *beside[:1]],
        beside[1:],
        [] if compared is None else best_sentences(material, compared),
        outlook_sentences(material, at),
        [] if material.predictions is None else _weakest(material.curve, material.predictions, at),
    ]
    return [" ".join(sentences) for sentences in answers if sentences]


def _before_the_curve(material: Material) -> list[str]:
    images = material.images
    if images is None:
        return ["This run holds no images yet."]
    lost = len(images) - len(images.usable)
    left_out = "none was" if lost == 0 else "1 was" if lost == 1 else f"{lost:,} were"
    told = [f"{many(len(images.usable), 'image is', 'images are')} ready; {left_out} left out."]
    if len(images.train):
        told.append(
            f"{len(images.train):,} are labelled for training, {len(images.test):,} are kept for testing, in "
            f"{many(len(images.classes), 'class', 'classes')}."
        )
    if material.metrics is not None:
        told.append(f"Pre-training has come to step {int(material.metrics['step'].max()):,}.")
    return [*told, "No classifier has been tested yet: the verb curve does that."]


def _point(points: Sequence[Point], at: Headline) -> Point:
    wanted = (at.encoder, at.classifier, at.n_per_class)
    return next(point for point in points if (point.encoder, point.classifier, point.n_per_class) == wanted)


def _result(point: Point, evaluation: Mapping[str, Any]) -> str:
    labels = labels_words(point.n_per_class, capped=point.capped)
    if point.capped:
        labels = f"{labels} ({point.n_labels:,.0f} in all)"
    return (
        f"With {labels}, {method_words(point.classifier)} on {features_words(point.encoder)} reaches a "
        f"balanced accuracy of {share(point.value)}{_spread(point)} on {point.n_test:,} test images"
        f"{_which(evaluation)}."
    )


def _which(evaluation: Mapping[str, Any]) -> str:
    """Which set the test images are, where there is or was a choice."""
    if evaluation.get("test_set") == "audit":
        return f" ({AUDIT_SET})"
    spared = evaluation.get("audit_images_spared")
    return f" (the test set; {spared:,} labelled audit images took no part)" if spared else ""


def _other_budgets(points: Sequence[Point], at: Headline) -> list[str]:
    line = {
        p.n_per_class: p for p in points if (p.encoder, p.classifier) == (at.encoder, at.classifier)
    }
    fewer = [budget for budget in line if budget < at.n_per_class]
    parts = []
    if fewer:
        less = min(fewer, key=lambda budget: abs(budget - at.n_per_class / 10))
        labels = f"up to {less:,}" if line[less].capped else f"{less:,}"
        parts.append(f"{share(line[less].value)} with {labels} per class")
    if (most := line[max(line)]).n_per_class > at.n_per_class:
        labels = f"up to {most.n_per_class:,}" if most.capped else f"{most.n_per_class:,}"
        parts.append(f"{share(most.value)} with {labels} per class ({most.n_labels:,.0f} labels)")
    return [f"It is {' and '.join(parts)}."] if parts else []


def _references(
    material: Material, points: Sequence[Point], at: Headline, compared: pd.DataFrame | None
) -> list[str]:
    """The same classifier on the other features, and what pre-training and the network brought."""
    beside = {
        p.encoder: p for p in points if (p.classifier, p.n_per_class) == (at.classifier, at.n_per_class)
    }
    others = [beside[name] for name in ORDER if name in beside and name != at.encoder]
    if not others:
        return []
    reached = (f"{share(other.value)}{_spread(other)} on {features_words(other.encoder)}" for other in others)
    told = [f"The same classifier reaches {' and '.join(reached)}."]
    if "pretrained" in beside and "initial" in beside:
        sure = _how_sure(material, replace(at, encoder="pretrained"), beside["initial"], compared)
        told.append(_pretraining(beside["pretrained"].value - beside["initial"].value, sure, material))
    if "pretrained" in beside and "adapted" in beside:
        sure = _how_sure(material, replace(at, encoder="pretrained"), beside["adapted"], compared)
        told.append(_training(beside["pretrained"].value - beside["adapted"].value, sure))
    if "thumbnail" in beside and at.encoder != "thumbnail":
        more = beside[at.encoder].value - beside["thumbnail"].value
        told.append(_network(more, _how_sure(material, at, beside["thumbnail"], compared), at))
    return told


def _how_sure(material: Material, at: Headline, other: Point, compared: pd.DataFrame | None) -> str:
    """The interval of the difference of two encoders, and whether it may be chance; empty without one.

    The interval is for this difference alone; of one that is ``compared``, chance is judged as there.
    """
    if material.predictions is None or material.images is None or other.band != "interval":
        return ""
    pairs = [((at.encoder, at.classifier), (other.encoder, at.classifier))]
    draws = material.state.get("compare", {}).get("draws")
    table = compare(
        material.predictions, material.test_pieces, pairs, n_per_class=at.n_per_class, draws=draws
    )
    low, high = float(table["low"].iloc[0]), float(table["high"].iloc[0])
    if isnan(low):
        return ""
    doubt = "; it may be chance" if low <= 0 <= high else _corrected(at, other, compared)
    return f" (95\u00a0%\u00a0interval of this difference alone {interval(low, high)}){doubt}"


def _corrected(at: Headline, other: Point, compared: pd.DataFrame | None) -> str:
    """That a difference is not told from chance among all that are compared, if it is one of them."""
    pair = {(at.encoder, at.classifier), (other.encoder, other.classifier)}
    for row in () if compared is None else rows_of(compared):
        both = {(row.encoder, row.classifier), (row.other_encoder, row.other_classifier)}
        if both == pair and row.n_per_class == at.n_per_class and row.p_holm >= LEVEL:
            return f"; among {row.family} comparisons it may be chance (p\u00a0{probability(row.p_holm)})"
    return ""


def _pretraining(more: float, sure: str, material: Material) -> str:
    if round(more, 2) > 0:
        return _brought(material, share(more), sure)
    told = f"Pre-training brought nothing here ({share(more)}): do not rely on it before you know why."
    if (taken := (material.predictor or {}).get("embeddings")) is None:
        return told
    if "pretrained" in taken.split("+"):
        return (
            f"{told} The run's predictor uses its features all the same: they did best in cross-validation "
            "on the training labels."
        )
    return f"{told} The run's predictor does not use its features."


def _brought(material: Material, more: str, sure: str) -> str:
    """What pre-training brought; if only one has the maps of its last stages, it was not that alone."""
    held = [stages_of(found.encoder) for name in ("pretrained", "initial")
            if (found := material.embeddings.get(name)) is not None]
    if len(held) == 2 and held[0] == held[1]:
        return f"Pre-training brought {more}{sure}."
    maps = ", with the maps of the network's last stages, which only they hold" if len(set(held)) == 2 else ""
    return f"The pre-trained features bring {more} over those before pre-training{maps}{sure}."


def _training(more: float, sure: str) -> str:
    """What the training itself was worth: those it is compared with have all else."""
    over = f"Over {features_words('adapted')}, which takes a minute"
    if round(more, 2) > 0:
        return f"{over}, training brought {share(more)}{sure}."
    return f"{over}, training brought nothing ({share(more)})."


def _network(more: float, sure: str, at: Headline) -> str:
    features = features_words(at.encoder)
    if round(more, 2) > 0:
        return f"{features[:1].upper()}{features[1:]} bring {share(more)} over thumbnails{sure}."
    return f"Thumbnails do as well or better: as they are, {features} are not worth their cost."


def _weakest(curve: pd.DataFrame, predictions: pd.DataFrame, at: Headline) -> list[str]:
    recall = recall_points(curve, predictions, at)
    if len(recall) < 2:
        return []
    worst = recall.iloc[-1]
    table = confusion(predictions, at)
    wrong = table[(table["label"] == worst["label"]) & (table["predicted"] != worst["label"])]
    taken = wrong.sort_values("count", ascending=False, kind="stable").iloc[0]
    most = f", most often taken for {shown(taken['predicted'])}" if taken["count"] else ""
    least = f"{shown(worst['label'])}: {share(worst['value'])} of its {worst['n_test']:,} test images"
    told = [f"The class found least is {least}{most}."]
    value, tiny = without_tiny(recall)
    if tiny and len(tiny) < len(recall):
        few = f"under {TINY} test images{' each' if len(tiny) > 1 else ''}"
        told.append(f"Without {listed(tiny)} ({few}) the balanced accuracy is {share(value)}.")
    return told


def _spread(point: Point) -> str:
    ends = interval(point.low, point.high)
    if point.band == "interval":
        return f" (95\u00a0%\u00a0interval {ends})"
    return f" ({ends} over {point.draws} draws)" if point.band == "range" else ""
