"""External validation in a report: the finding, the measures, and adaptation to the new source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hundredfold.learn.adaptation import ADAPTED, ALONE, AS_IT_IS
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.chapters.curves import BANDS, NOTES, band_of
from hundredfold.report.figures import learning_curves
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, curve_points, listed, points_of, rows_of
from hundredfold.report.words import (
    LEVEL,
    features_words,
    in_lines,
    interval,
    many,
    method_label,
    method_words,
    probability,
    share,
    shown,
)

__all__ = ["adaptation_chapter", "external_finding", "measures_chapter"]

METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "balanced_accuracy_without_tiny": "… without classes of few test images",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "auroc": "Area under the ROC curve, mean over the classes",
}
NAMES = {
    AS_IT_IS: "the predictor as it is",
    ADAPTED: "fitted again: its own labels and the new ones",
    ALONE: "the new labels alone",
}
NOTHING = "Nothing was fitted to these images: thresholds, probabilities and sets are those it came with."


def external_finding(material: Material, at: Headline) -> list[str]:
    """The first lines: how good it is there, what it does not know, and what new labels would bring."""
    assert material.curve is not None
    external = material.evaluation["external"]
    point = points_of(curve_points(material.curve))[0]
    labels = sum(external["labels"].values())
    first = (
        f"On {point.n_test:,} images{_whose(material)}, {method_words(at.classifier)} on "
        f"{features_words(at.encoder)}, fitted to {labels:,} labels of {len(external['labels'])} classes, "
        f"reaches a balanced accuracy of {share(point.value)}{_within('interval', point.low, point.high)}."
    )
    leak = material.evaluation.get("leak")
    told = [
        first, f"{leak[:1].upper()}{leak[1:]}: this is no external validation." if leak else "",
        _beside_its_own(external, point.value), _unknown(external), _unusual(external), _adapted(material),
    ]
    return [sentence for sentence in told if sentence]


def measures_chapter(material: Material, at: Headline) -> Chapter:
    """All figures over the classes."""
    assert material.curve is not None
    rows = material.curve[material.curve["class"].isna() | (material.curve["class"] == "")]
    known = rows[rows["metric"].isin(METRICS)]
    order = {name: place for place, name in enumerate(METRICS)}
    known = known.sort_values("metric", key=lambda names: names.map(order))
    lines: list[list[Cell | str]] = [
        [
            METRICS[str(row.metric)], Cell(share(row.value, 3), note=interval(row.low, row.high)),
            f"{row.n_test:,}",
        ]
        for row in rows_of(known)
    ]
    listing = Listing(
        "measures", "The measures", NOTES[band_of(curve_points(material.curve))].strip(),
        ["", f"{method_label(at.classifier)}", "images"], lines, known,
    )
    told = [NOTHING]
    if resampled := material.evaluation.get("intervals"):
        told.append(f"Intervals: {resampled}.")
    return Chapter("measures", "The predictor on images of another source", told, [listing])


def adaptation_chapter(material: Material) -> Chapter | None:
    """The curve over new labels, and each way beside the predictor as it is; ``None`` where there is none."""
    curve, compared = material.adaptation, material.adaptation_compared
    if curve is None or compared is None:
        return None
    facts = material.state.get("adaptation") or {}
    points = curve_points(curve)
    judged = int(points["n_test"].max())
    told = "; ".join(
        f"{NAMES[str(way)]} from {share(line.iloc[0]['value'])} to {share(line.iloc[-1]['value'])}"
        for way, line in points.groupby("classifier", sort=False)
    )
    figure = learning_curves(
        points.assign(n_read=float("nan")), by="classifier",
        names={way: in_lines(words, 16, lines=3) for way, words in NAMES.items()}, ylabel="balanced accuracy",
    )
    exhibit = Exhibit(
        "adaptation", "What labels of this source bring",
        f"Below: new labels per class; above: new labels in all. {BANDS[band_of(points)]}",
        f"Balanced accuracy over new labels per class: {told}.", figure, points,
    )
    sentences = [
        (
            "The encoder stays as it is; the classifier alone is fitted again, to its own labels and new "
            "ones, or to the new ones alone."
        ),
        (
            f"The new images were halved by group: one half gives the labels, the other ({judged:,} images) "
            "judges all three."
        ),
    ]
    if resampled := facts.get("intervals"):
        sentences.append(f"Intervals: {resampled}.")
    return Chapter(
        "adaptation", "Fitted again with labels of this source", sentences, [exhibit, _compared(compared)]
    )


def _compared(table: pd.DataFrame) -> Listing:
    lines: list[list[Cell | str]] = [
        [
            f"{row.n_per_class:,}", NAMES[str(row.classifier)], share(row.accuracy),
            share(row.other_accuracy),
            Cell(share(row.difference, 3), note=interval(row.low, row.high)),
            probability(row.p_holm).removeprefix("= ") if pd.notna(row.p_holm) else "–",
        ]
        for row in rows_of(table)
    ]
    return Listing(
        "adaptation_compared", "Beside the predictor as it is",
        "Difference on the same images; below, its 95 % interval, uncorrected. p: two-sided, corrected for "
        "the two ways at a number of labels (Holm).",
        ["new labels per class", "", "reaches", "as it is", "difference", "p"], lines, table, words=2,
        wide=True,
    )


def _whose(material: Material) -> str:
    """Of which groups the images are, and what is known of these; names alone can tell that they are new."""
    external = material.evaluation["external"]
    groups = int(material.evaluation.get("test_groups") or 0)
    if not groups:
        return ", of which no groups are known"
    of = f" of {many(groups, 'group')}"
    if shared := int((external.get("known_groups") or {}).get("groups", 0)):
        return f"{of}, {shared:,} of which bear names of groups that it learned from"
    if external.get("known_groups", {}) is None:
        return f"{of} (whether it learned from these cannot be told)"
    if not external.get("groups"):
        return f"{of} (those that it learned from are not known)"
    return of + ("" if material.evaluation.get("leak") else " that it has nothing from")


def _beside_its_own(external: Mapping[str, Any], value: float) -> str:
    own = external.get("cross_validation")
    if own is None:
        return ""
    less = own - value
    far = f"{share(less)} less" if round(less, 2) > 0 else "no less" if round(less, 2) == 0 else "more"
    return (
        f"On its own training labels, held out by group, it reached {share(own)} in cross-validation: "
        f"here it is {far}."
    )


def _unknown(external: Mapping[str, Any]) -> str:
    classes = external.get("unknown_classes") or {}
    if not classes:
        return ""
    names = listed([f"{shown(name)} ({count:,})" for name, count in classes.items()])
    return (
        f"{many(sum(classes.values()), 'image bears a label', 'images bear labels')} that it does not know: "
        f"{names}. No number here counts them, and it calls each one of its own classes."
    )


def _unusual(external: Mapping[str, Any]) -> str:
    shares = external.get("unusual") or {}
    if "known" not in shares:
        return ""
    others = f", and of those of other classes {share(shares['unknown'])}" if "unknown" in shares else ""
    return (
        f"It finds {share(shares['known'])} of the images of its classes unlike those it learned from, of "
        f"which .05 are to be expected{others} (predictions.csv, unusual)."
    )


def _adapted(material: Material) -> str:
    table = material.adaptation_compared
    if table is None:
        return ""
    own = table[table["classifier"] == ADAPTED]
    last = next(iter(rows_of(own.tail(1))))
    doubt = ""
    if last.low <= 0 <= last.high:
        doubt = "; it may be chance"
    elif last.p_holm >= LEVEL:
        doubt = f"; corrected for the two ways it may be chance (p\u00a0{probability(last.p_holm)})"
    return (
        f"Fitted again with up to {last.n_per_class:,} labels per class of this source, it reaches "
        f"{share(last.accuracy)} in place of {share(last.other_accuracy)} on the images of other groups that "
        f"gave no label{_within('interval of the difference', last.low, last.high)}{doubt}."
    )


def _within(words: str, low: float, high: float) -> str:
    """The interval in brackets, if there is one."""
    ends = interval(low, high)
    return f" (95\u00a0%\u00a0{words} {ends})" if ends else ""
