"""Chapter "In clinical terms": each class against the rest, patients, sites and subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.chapters.strata import OTHERS, strata_listings
from hundredfold.report.clinical_figures import MOST_PANELS, tradeoff_panels
from hundredfold.report.judged import (
    VALUES,
    Judged,
    curve_table,
    judged,
    operating_table,
    patients_table,
    tradeoffs,
    widths,
)
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, at_point, labels_words, listed, rows_of
from hundredfold.report.words import encoder_label, interval, method_label, share, shown

__all__ = ["clinical_chapter"]

MEANINGS = (
    "Each class is told from all the others. Sensitivity: the share of its images that are called so. "
    "Specificity: the share of the other images that are not. PPV: the share of the images called so that "
    "are of the class. NPV: the share of those not called so that are not."
)
DEPENDS = "PPV and NPV depend on how common a class is: the rarer it is, the lower its PPV."
AS_TESTED = (
    "They are for the shares that the classes have in the test set, which may be far from those among your "
    "patients. State yours: hundredfold report RUN --prevalence CLASS=SHARE."
)
FEW = "A value without an interval comes from fewer than 10 groups (patients, slides; else images): too few."
NONE = "No intervals were taken (--bootstrap 0)."
NETWORK = "network"
CURVES = {"roc": "ROC curves", "pr": "Precision–recall curves"}
AVERAGED = {
    "roc": "the mean sensitivity of the draws at each false positive rate, the other classes in the mix of "
    "the table's prevalences",
    "pr": "the mean precision of the draws at each recall, at the prevalences of the table",
}


def clinical_chapter(material: Material, at: Headline) -> Chapter | None:
    """What a clinician asks of the headline's classifier; ``None`` without its scores."""
    found = judged(material, at)
    if found is None or material.curve is None or len(np.unique(found.truth)) < 2:
        return None
    labels = labels_words(at.n_per_class, capped=bool(at_point(material.curve, at)["capped"].any()))
    where = f"{method_label(at.classifier)}, {encoder_label(at.encoder)}, {labels}"
    where += "; mean of the draws" if len(found.predicted) > 1 else ""
    own = operating_table(found, chosen=False)
    chosen = None if found.thresholds is None else operating_table(found, chosen=True)
    items: list[Exhibit | Listing] = [_operating(own, where, "operating", "The classifier's own decision")]
    if chosen is not None and len(chosen):
        title = f"Thresholds aimed at {_aim(found)}"
        items.append(_operating(chosen, where, "operating_chosen", title))
    items += _curves(found, own, chosen, where)
    patients, mixed = _patients(found)
    items += patients
    items += strata_listings(material.strata, at, material.evaluation.get("classes_of_one_site", {}))
    sentences = [MEANINGS, *_prevalence(found, material), *_chosen(found), *_untold(material)]
    sentences += [*mixed, *_widths(found)]
    if own[[f"{name}_low" for name in VALUES]].isna().any(axis=None):
        sentences.append(FEW if found.bootstrapped else NONE)
    return Chapter("clinical", "In clinical terms", sentences, items)


def _aim(found: Judged) -> str:
    return "" if found.aim is None else f"a {found.aim[0]} of {share(found.aim[1])}"


def _prevalence(found: Judged, material: Material) -> list[str]:
    if not material.prevalence:
        return [DEPENDS, AS_TESTED]
    stated = ", ".join(f"{shown(name)} {share(value, 3)}" for name, value in material.prevalence.items())
    every = len(material.prevalence) == len(set(found.truth))
    rest = "" if every else "; the others divide the rest as there"
    return [DEPENDS, f"They are for prevalences as stated, not those of the test set: {stated}{rest}."]


def _chosen(found: Judged) -> list[str]:
    if found.thresholds is None:
        return []
    told = (
        f"The thresholds aimed at {_aim(found)} were chosen on training labels that were held out from the "
        "classifier, never on test images; the table says what they reach on these. Each class has its own, "
        "so an image may be called several classes, or none."
    )
    known = np.isfinite(found.thresholds.sum(axis=0))
    missing = [name for name, told_of in zip(found.classes, known, strict=True) if not told_of]
    return [told, *([f"Too few labels to choose a threshold: {listed(missing)}."] if missing else [])]


def _untold(material: Material) -> list[str]:
    """What the network has no part in, though it was asked for."""
    if material.curve is None or not (material.curve["classifier"] == NETWORK).any():
        return []
    thresholds, strata = material.thresholds is not None, material.strata
    apart = strata is not None and bool((strata["labels"] == OTHERS).any())
    parts = [
        *(["has no thresholds"] if thresholds else []),
        *(["is not judged without a site's labels"] if apart else []),
    ]
    told = f"The network trained end to end {' and '.join(parts)}: it would have to be trained anew for each."
    return [told] if parts else []


def _widths(found: Judged) -> list[str]:
    now, twice = widths(found)
    if not np.isfinite(now + twice):
        return []
    unit = "groups" if (found.patient >= 0).any() else "images"
    draws = ", and as many draws of labels," if len(found.predicted) > 1 else ""
    told = (
        f"With twice as many test {unit} of the same kind{draws} the "
        f"95\u00a0%\u00a0interval of the balanced accuracy would be about {share(twice)} wide in place of "
        f"{share(now)}."
    )
    return [told]


def _operating(table: pd.DataFrame, where: str, name: str, title: str) -> Listing:
    def value(row: object, of: str) -> Cell:
        low, high = getattr(row, f"{of}_low"), getattr(row, f"{of}_high")
        return Cell(share(getattr(row, of)), note=interval(low, high))

    head = ["class", "test images", "sensitivity", "specificity", "prevalence", "PPV", "NPV"]
    rows: list[list[Cell | str]] = [
        [
            shown(row.name), f"{row.n_test:,}", value(row, "sensitivity"), value(row, "specificity"),
            share(row.prevalence, 3), value(row, "ppv"), value(row, "npv"),
        ]
        for row in rows_of(table.rename(columns={"class": "name"}))
    ]
    two = " With two classes the rows mirror each other." if len(table) == 2 and "chosen" not in name else ""
    caption = f"{where}. Below each value: its 95 % interval, at that prevalence.{two}"
    return Listing(name, title, caption, head, rows, table, wide=True)


def _curves(found: Judged, own: pd.DataFrame, chosen: pd.DataFrame | None, where: str) -> list[Exhibit]:
    curves = tradeoffs(found)
    named = [own.assign(chosen=False), *([] if chosen is None else [chosen.assign(chosen=True)])]
    points = pd.concat(named, ignore_index=True)
    made = []
    for kind, title in CURVES.items():
        table = curve_table(found, curves, kind)
        worst = table.drop_duplicates("class").sort_values("area", kind="stable")["class"].head(MOST_PANELS)
        drawn = table[table["class"].isin(worst)]
        x = 1 - points["specificity"] if kind == "roc" else points["sensitivity"]
        y = points["sensitivity"] if kind == "roc" else points["ppv"]
        marks = points[["class", "chosen"]].assign(x=x, y=y)
        ring = "" if chosen is None else "; ring: the threshold aimed at the target"
        left_out = table["class"].nunique() - len(worst)
        some = f" The {left_out} classes with the largest area are not drawn." if left_out else ""
        caption = (
            f"{where}. Line: {AVERAGED[kind]}; band: its 95 % interval, point by point. Dot: the "
            f"classifier's own decision{ring}; it may lie beside the line. "
            f"Dashed: guessing. In parentheses: test images.{some}"
        )
        made.append(Exhibit(
            kind, title, caption, f"{title} of {len(worst)} classes. {_areas(table, kind)}",
            tradeoff_panels(drawn, marks, "roc" if kind == "roc" else "pr"), table, wide=True,
        ))
    return made


def _areas(table: pd.DataFrame, kind: str) -> str:
    each = table.drop_duplicates("class").sort_values("area", kind="stable")
    what = "Area under the curve" if kind == "roc" else "Average precision"
    worst, best = each.iloc[0], each.iloc[-1]
    return (
        f"{what} from {share(worst['area'])} ({shown(worst['class'])}) to {share(best['area'])} "
        f"({shown(best['class'])})."
    )


def _patients(found: Judged) -> tuple[list[Listing], list[str]]:
    """The table of patients, or why there is none."""
    known = found.patient[found.patient >= 0]
    if not len(known) or np.bincount(known).max() < 2:
        return [], []
    table, patients = patients_table(found)
    mixed, pure = patients.mixed, len(patients.group)
    if pure <= mixed:  # a smear with many kinds of cells has no class of its own
        several = f"{mixed:,} of the {mixed + pure:,} test groups have images of several classes"
        return [], [f"{several}, so there is no answer by patient."]

    def value(row: object, level: str) -> Cell:
        low, high = getattr(row, f"{level}_low"), getattr(row, f"{level}_high")
        return Cell(share(getattr(row, level)), note=interval(low, high))

    rows: list[list[Cell | str]] = [
        [
            "all (balanced accuracy)" if pd.isna(row.name) else shown(row.name), f"{row.n_patients:,}",
            f"{row.n_images:,}", value(row, "image"), value(row, "mean"), value(row, "vote"),
        ]
        for row in rows_of(table.rename(columns={"class": "name"}))
    ]
    left_out = f" {mixed:,} groups have images of several classes and are left out." if mixed else ""
    caption = (
        "A patient is a group of the labels whose images all bear one label. Mean score: the class whose "
        "score, averaged over the patient's images, is highest; majority: the class that most of the images "
        "are called."
        f"{left_out}"
    )
    head = ["share found", "patients", "images", "image by image", "mean score", "majority"]
    return [Listing("patients", "By patient", caption, head, rows, table, wide=True)], []
