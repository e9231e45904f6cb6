"""Paragraphs on a predictor that was judged on images of another source."""

from __future__ import annotations

from hundredfold.report.paper.evaluation import CALIBRATIONS, OTHER_RESAMPLES
from hundredfold.report.paper.telling import Telling
from hundredfold.report.paper.trace import percent, share
from hundredfold.report.words import features_words, method_words, shown

__all__ = ["adaptation_paragraph", "applied_paragraph", "external_figures_paragraph"]

DIGITS = 12
VERB = "evaluate"


def applied_paragraph(t: Telling) -> str:
    """Which predictor met which images."""
    external, at = t.material.evaluation["external"], t.at
    assert at is not None
    labels = t.fact("labels of the predictor", "curve", "external", "labels", take="sum")
    classes = t.fact("classes of the predictor", "curve", "external", "labels", take="number")
    images = t.fact("test images", "curve", "test_images", take="sum")
    told = [(
        f"A predictor (SHA-256 {shown(external['predictor'][:DIGITS])}…), {method_words(at.classifier)} on "
        f"{features_words(at.encoder)} fitted to {labels} labels of {classes} classes, was applied without "
        f"any change to images of another source. {images} of these bore a label of one of its classes"
        f"{_groups(t)}."
    )]
    if external["unknown_classes"]:
        others = t.fact("images with other labels", "curve", "external", "unknown_classes", take="sum")
        told.append(f"{others} images bore other labels and took no part.")
    leak = t.material.evaluation.get("leak")
    told.append(
        "No image that the classifier had learned from was recognised among them." if leak is None else
        f"This is no external validation: {shown(leak, 300)}; the figures are therefore too good."
    )
    if (external.get("known_groups") or {}).get("images"):
        same = t.fact("images of groups with known names", "curve", "external", "known_groups", "images")
        told.append(f"{same} of them were of groups that bore names of groups it had learned from.")
    if seen := t.material.evaluation.get("transductive"):
        number = t.fact("images that pre-training saw", "curve", "transductive", next(iter(seen)))
        told.append(f"Pre-training had seen {number} of them, without their labels.")
    return " ".join(told)


def external_figures_paragraph(t: Telling) -> str:
    """Which figures were taken, and from what intervals, thresholds and probabilities came."""
    told = [(
        "The main figure was balanced accuracy, the mean of the recalls of all classes with images there "
        f"{t.cite('balanced')}."
    )]
    for name in ("sensitivity", "specificity"):
        if t.setting(VERB, name) is not None:
            target = t.set(f"{name} aimed at", VERB, name, write=share)
            told.append(
                f"For each class the threshold was one that reached a {name} of {target} on the predictor's "
                "training labels, held out by group."
            )
    if t.material.calibrations:
        method = str(t.material.calibrations[0]["method"])
        words, work = CALIBRATIONS.get(method, (shown(method), "temperature"))
        told.append(
            f"Probabilities came from {words} {t.cite(work)}, fitted to the predictor's training labels, "
            "held out by group; nothing was fitted to the new images."
        )
    return " ".join([*told, *_doubt(t), *_intervals(t)])


def _doubt(t: Telling) -> list[str]:
    """The sets and the alarm of the predictor, which were counted there."""
    external, told = t.material.evaluation["external"], []
    if external.get("sets"):
        place = ("curve", "external", "sets", "coverage")
        coverage = t.fact("coverage aimed at", *place, write=percent)
        told.append(
            f"Sets of classes (split-conformal prediction {t.cite('conformal')}) were the predictor's own, "
            f"made for a coverage of {coverage} on images like its training labels."
        )
    if "known" in (external.get("unusual") or {}):
        own = t.fact("images called unusual", "curve", "external", "unusual", "known", write=share)
        told.append(f"It called {own} of the images of its classes unlike those it had learned from.")
    return told


def adaptation_paragraph(t: Telling) -> str:
    """How the classifier was fitted again."""
    if t.material.adaptation is None:
        return ""
    budgets = t.setting(VERB, "budgets") or ()
    numbers = ", ".join(
        t.set("new labels per class", VERB, "budgets", place) for place in range(len(budgets))
    )
    judged = t.fact("images that judge the adaptation", "adaptation", "test_images", take="sum")
    return (
        "To see what labels of the new source would bring, its images were halved by group. The classifier "
        f"was fitted again, to its own labels and {numbers} random ones per class (of a class with fewer, "
        "all) of the one half, and to "
        f"these alone, {_times(t)}; the encoder stayed as it was. The "
        f"{judged} images of the other half judged both and the predictor as it was; differences are paired "
        f"by image and draw, with two-sided p-values corrected after Holm {t.cite('holm')}; intervals are "
        "not corrected."
    )


def _times(t: Telling) -> str:
    repeats = t.set("draws of labels", VERB, "repeats")
    return "once" if repeats == "1" else f"{repeats} times"


def _groups(t: Telling) -> str:
    if not t.material.evaluation.get("test_groups"):
        return ", of which no groups were known"
    return f", from {t.fact('test groups', 'curve', 'test_groups')} groups"


def _intervals(t: Telling) -> list[str]:
    told = str(t.material.evaluation.get("intervals") or "none")
    if told.startswith("none") or not t.setting(VERB, "bootstrap"):
        return ["No intervals are given."]
    unit = "groups" if t.material.evaluation.get("test_groups") else "images"
    resamples = t.set("bootstrap resamples", VERB, "bootstrap")
    return [(
        f"Intervals are 95\u00a0% percentile intervals of {resamples} bootstrap resamples of the {unit} "
        f"{t.cite('bootstrap')}{OTHER_RESAMPLES}."
    )]
