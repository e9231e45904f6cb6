"""Chapter "Accuracy against the number of labels": the learning curves and all their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from hundredfold.metrics import TINY, WITHOUT_TINY
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.figures import learning_curves
from hundredfold.report.tables import Headline, Point, curve_points, labels_words, points_of
from hundredfold.report.words import (
    AUDIT_SET,
    encoder_label,
    file_name,
    in_lines,
    interval,
    method_label,
    method_words,
    share,
)

__all__ = ["BANDS", "NOTES", "band_of", "curve_exhibit", "curves_chapter"]

METRICS = {"macro_f1": "Macro F1", "auroc": "Area under the ROC curve"}
ORDER = ("pretrained", "adapted", "initial", "thumbnail", "shortcut", "svm", "knn", "logistic")
BANDS = {
    "interval": "Bands: 95 % bootstrap intervals.",
    "range": "Bands: the range over the draws of labels; an interval could not be computed.",
    "": "One draw of labels: no band.",
}
NOTES = {
    "interval": "Below each value: its 95 % interval. ",
    "range": "Below each value: the range over the draws. ",
    "": "",
}


NETWORK, REACHED = "network", "network, all labels"
BRACKETS = f"In brackets: without the classes of fewer than {TINY} test images. "

#: (encoder, classifier, labels per class) → balanced accuracy without the classes of few test images.
Larger: TypeAlias = Mapping[tuple[str, str, int], float]


def curve_exhibit(curve: pd.DataFrame, at: Headline, supervised: str | None = None) -> Exhibit:
    """The first figure: the headline's classifier on every encoder.

    Args:
        curve: rows of ``curve.csv``.
        at: the point that is spoken of.
        supervised: the encoder whose network, trained on all labels, is the line to reach.
    """
    points = curve_points(curve)
    return _by_encoder(points, at.classifier, _levels(curve, points, supervised))


def curves_chapter(curve: pd.DataFrame, at: Headline, facts: Mapping[str, Any]) -> Chapter:
    """The other learning curves, and all their numbers; ``facts``: what ``curve`` noted in ``run.json``."""
    points, resampled = curve_points(curve), facts.get("intervals")
    levels = _levels(curve, points, facts.get("supervised"))
    chance = levels.chance
    others = [name for name in _ordered(points["classifier"]) if name != at.classifier]
    items: list[Exhibit | Listing] = [_by_encoder(points, name, levels) for name in others]
    if others:
        items.append(_by_classifier(points, at.encoder, levels))
    tested, larger = _test_images(curve), _without_tiny(curve)
    items += [_numbers(points, name, tested, larger) for name in (at.classifier, *others)]
    items += [_other_metric(curve, metric, at) for metric in METRICS if (curve["metric"] == metric).any()]
    sentences = (
        "Balanced accuracy: the share of a class's images that are found, averaged over the classes.",
        f"A classifier that guesses reaches {share(chance)}.",
        f"Each point is {_drawn(points)} of the labelled images; {_tested(facts)}.",
        *([f"Intervals: {resampled}."] if resampled and band_of(points) == "interval" else []),
    )
    return Chapter("curves", "Accuracy against the number of labels", sentences, items)


def _drawn(points: pd.DataFrame) -> str:
    return "the mean over draws" if (points["draws"] > 1).any() else "of one draw"


def _tested(facts: Mapping[str, Any]) -> str:
    if splits := facts.get("outer_splits"):
        return f"{splits} test splits took turns, so that each labelled image was a test image once"
    audit = facts.get("test_set") == "audit"
    return f"the test set is always the same{f': {AUDIT_SET}' if audit else ''}"


@dataclass(frozen=True)
class _Levels:
    """Lines across a figure (guessing, the supervised network with all labels), and what its axis holds."""

    chance: float
    reach: Mapping[str, float]
    scale: pd.DataFrame


def _levels(curve: pd.DataFrame, points: pd.DataFrame, supervised: str | None) -> _Levels:
    own = points[(points["encoder"] == supervised) & (points["classifier"] == NETWORK)]
    every = own[own["n_labels"] == points["n_labels"].max()]
    reach = {f"{REACHED} ({share(value)})": float(value) for value in every["value"].tail(1)}
    return _Levels(_guessing(curve), reach, points)


def _by_encoder(points: pd.DataFrame, classifier: str, levels: _Levels) -> Exhibit:
    lines = points[points["classifier"] == classifier]
    names = {name: encoder_label(name) for name in _ordered(lines["encoder"])}
    title = f"Balanced accuracy with {method_words(classifier)}"
    return _curve(lines, "encoder", names, file=file_name("curve", classifier), title=title, levels=levels)


def _by_classifier(points: pd.DataFrame, encoder: str, levels: _Levels) -> Exhibit:
    lines = points[points["encoder"] == encoder]
    names = {name: method_label(name) for name in _ordered(lines["classifier"])}
    title = f"The classifiers compared ({encoder_label(encoder)})"
    return _curve(lines, "classifier", names, file=file_name("curves", encoder), title=title, levels=levels)


def _curve(
    lines: pd.DataFrame, by: str, names: dict[str, str], *, file: str, title: str, levels: _Levels
) -> Exhibit:
    told = []
    for key, words in names.items():
        line = points_of(lines[lines[by] == key].sort_values("n_per_class"))
        told.append(
            f"{words} from {share(line[0].value)} at {line[0].n_per_class:,} to {share(line[-1].value)} at "
            f"{line[-1].n_per_class:,} labels per class"
        )
    ends = {key: in_lines(words, 13, lines=3) for key, words in names.items()}
    figure = learning_curves(
        lines, by=by, names=ends, ylabel="balanced accuracy", chance=levels.chance, references=levels.reach,
        scale=levels.scale,
    )
    read = lines["n_read"].notna().all()
    above = "what a reader reads, in random order, until each class has them" if read else "labels in all"
    caption = f"{BANDS[band_of(lines)]} Below: labels per class; above: {above}."
    if lines["capped"].any():
        caption += " Hollow: some classes have fewer labels, and give all they have."
    if levels.reach:
        caption += " Dashed: the supervised network, trained end to end on all labels."
    return Exhibit(file, title, caption, f"Learning curves: {'; '.join(told)}.", figure, lines)


def _numbers(points: pd.DataFrame, classifier: str, tested: str, larger: Larger) -> Listing:
    lines = points[points["classifier"] == classifier]
    encoders = _ordered(lines["encoder"])
    rows: list[list[Cell | str]] = []
    for budget in sorted(lines["n_per_class"].unique()):
        beside = points_of(lines[lines["n_per_class"] == budget])
        star = "*" if any(point.capped for point in beside) else ""
        rows.append([f"{budget:,}{star}", f"{beside[0].n_labels:,.0f}", *_values(beside, encoders, larger)])
    keys = zip(lines["encoder"], lines["classifier"], lines["n_per_class"], strict=True)
    without = [larger.get((str(e), str(c), int(n)), float("nan")) for e, c, n in keys]
    brackets = BRACKETS if larger else ""
    noted = "* Some classes have fewer labels and give all they have. " if lines["capped"].any() else ""
    return Listing(
        file_name("curve", classifier),
        f"Balanced accuracy, {method_label(classifier)}",
        f"{NOTES[band_of(lines)]}{brackets}{noted}{tested}",
        ["labels per class", "labels in all", *(encoder_label(name) for name in encoders)],
        rows,
        lines.assign(without_tiny=without) if larger else lines,
        words=0,
    )


def _other_metric(curve: pd.DataFrame, metric: str, at: Headline) -> Listing:
    points = curve_points(curve, metric)
    lines = points[points["n_per_class"] == at.n_per_class]
    encoders = _ordered(lines["encoder"])
    rows: list[list[Cell | str]] = [
        [method_label(name), *_values(points_of(lines[lines["classifier"] == name]), encoders)]
        for name in _ordered(lines["classifier"])
    ]
    labels = labels_words(at.n_per_class, capped=bool(lines["capped"].any()))
    return Listing(
        metric,
        f"{METRICS[metric]}, {labels}",
        NOTES[band_of(lines)],
        ["classifier", *(encoder_label(name) for name in encoders)],
        rows,
        points,
    )


def _values(points: Sequence[Point], encoders: Sequence[str], larger: Larger | None = None) -> list[Cell]:
    by_encoder = {point.encoder: point for point in points}
    return [_value(by_encoder.get(name), larger or {}) for name in encoders]


def _value(point: Point | None, larger: Larger) -> Cell:
    if point is None:
        return Cell("–")
    without = larger.get((point.encoder, point.classifier, point.n_per_class))
    ends = interval(point.low, point.high) if point.band else ""
    brackets = "" if without is None else f" [{share(without)}]"
    return Cell(share(point.value), note=f"{ends}{brackets}".strip())


def _without_tiny(curve: pd.DataFrame) -> dict[tuple[str, str, int], float]:
    points = points_of(curve_points(curve, WITHOUT_TINY))
    return {(str(p.encoder), str(p.classifier), int(p.n_per_class)): p.value for p in points}


def band_of(lines: pd.DataFrame) -> str:
    """What the band of some lines is: the key of ``BANDS``."""
    return next((band for band in ("interval", "range") if (lines["band"] == band).any()), "")


def _guessing(curve: pd.DataFrame) -> float:
    """Balanced accuracy of guessing among the classes that have test images."""
    per_class = curve.loc[curve["class"].notna() & (curve["class"].astype(object) != ""), "class"]
    return 1 / per_class.nunique() if len(per_class) else float("nan")


def _test_images(curve: pd.DataFrame) -> str:
    per_class = curve[curve["metric"] == "recall"].groupby("class", observed=True)["n_test"].max()
    total = f"{int(curve['n_test'].max()):,} test images"
    return (
        f"{total}, {per_class.min():,} to {per_class.max():,} of a class." if len(per_class) else f"{total}."
    )


def _ordered(names: Iterable[str]) -> list[str]:
    """Each name once: those of every run first, in their usual order."""
    return sorted(
        {str(name) for name in names}, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)
    )
