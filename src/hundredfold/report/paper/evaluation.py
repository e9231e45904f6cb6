"""Paragraphs on classifiers, draws of labels, figures and their intervals, and software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hundredfold.report.contest import is_told_apart
from hundredfold.report.judged import calibrations
from hundredfold.report.paper.telling import Telling, and_
from hundredfold.report.paper.trace import FACTS, Place, percent, share
from hundredfold.report.tables import at_point
from hundredfold.report.words import features_words, method_words, shown

__all__ = [
    "CALIBRATIONS", "OTHER_RESAMPLES", "classifiers_paragraph", "figures_paragraph", "intervals_paragraph",
    "predictor_paragraph", "software_paragraph",
]

WORKS = {
    "svm": ("svm",), "knn": ("knn",), "lda": ("lda",), "logistic": (), "prototype": (), "last_layer": (),
}
DETAILS = {
    "svm": "a support vector machine with a radial kernel",
    "knn": "k nearest neighbours weighted by distance",
    "logistic": "logistic regression", "lda": "linear discriminant analysis with a shrunk covariance",
    "prototype": "the nearest class mean by angle", "last_layer": "one linear layer trained by AdamW",
}
NETWORK = "network"
BY_RULE = (
    "Which method and which number these are follows from training labels and a fixed rule, never from a "
    "test image."
)
CHOSEN = (
    "The method is the one that cross-validation by group chose on labelled images most of which were test "
    "images here, too, so these figures may be a little too good; the number follows a fixed rule."
)
NAMED = (
    "The classifier was named by a person (fit --classifier); if that person had seen how classifiers do on "
    "the test images, these figures may be too good. The number follows a fixed rule."
)
OTHER_RESAMPLES = (
    ", those of operating points and of differences of a thousand or more, those of ROC and precision-recall "
    "curves and of calibration of five hundred (the basic interval for the calibration error)"
)
CALIBRATIONS = {
    "temperature": ("one temperature", "temperature"),
    "platt": ("a logistic curve for each class", "multiclass"),
    "isotonic": ("isotonic regression for each class", "multiclass"),
}
VERSIONED = {
    "torch": ("PyTorch", "torch"), "timm": ("timm", "timm"), "scikit-learn": ("scikit-learn", "sklearn"),
    "numpy": ("NumPy", ""), "opencv-python-headless": ("OpenCV", ""), "pydicom": ("pydicom", ""),
}


def classifiers_paragraph(t: Telling) -> str:
    """Which classifiers learned from which labels, and how the one that is spoken of was chosen."""
    if t.at is None or t.material.curve is None:
        return ""
    every = [str(name) for name in t.material.curve["classifier"].unique()]
    return " ".join([*_frozen(t, every), *_end_to_end(every), *_draws(t), *_choice(t)])


def _frozen(t: Telling, every: Sequence[str]) -> list[str]:
    """The classifiers on vectors, and what the vectors underwent before."""
    if not (frozen := [name for name in every if name != NETWORK]):
        return []
    transform, names = f"A power transform {t.cite('yeojohnson')}", and_([_named(t, one) for one in frozen])
    assert t.material.curve is not None
    presets = set(t.material.curve["preset"])  # a comparison has runs of one or of both, and no such setting
    parts = [*([f"the settings of {t.cite('nielsen')}"] if "paper" in presets else []),
             *(["the software's default settings"] if presets - {"paper"} else [])]
    settings = " or ".join(parts) + (", each as in its own run" if len(parts) > 1 else "")
    return [(
        f"{transform} and a principal component analysis that kept all components were fitted to the "
        f"labelled images alone, then the classifier: {names}, with {settings}, classes weighted alike where "
        "the method allows it."
    )]


def _end_to_end(every: Sequence[str]) -> list[str]:
    if NETWORK not in every:
        return []
    beside = "Beside these, a" if len(every) > 1 else "A"
    return [f"{beside} network was trained end to end on the pixels of the same labelled images."]


def _named(t: Telling, name: str) -> str:
    works = WORKS.get(name, ())
    return f"{DETAILS.get(name, shown(name))} {t.cite(*works) if works else ''}".rstrip()


def _draws(t: Telling) -> list[str]:
    assert t.at is not None
    drawn = "Labelled images were drawn at random from the training side"
    if budgets := t.setting("curve", "budgets"):
        numbers = [t.set("labels per class", "curve", "budgets", place) for place in range(len(budgets))]
        repeats = t.set("draws of labels", "curve", "repeats")
        times = "once" if repeats == "1" else f"{repeats} times"
        drawn += (
            f", {', '.join(numbers)} of each class (of a class with fewer, all), {times}; the smaller draws "
            "are part of the larger ones, and"
        )
    here = t.trace.number("labels per class of the figures", Place("curve.parquet", "n_per_class", rows={
        "encoder": t.at.encoder, "classifier": t.at.classifier, "n_per_class": t.at.n_per_class,
        "metric": "balanced_accuracy", "class": None,
    }))
    same = "every method got the same images" if _same_draws(t) else "not all methods got the same images"
    return [f"{drawn}{'' if budgets else ';'} {same}.", (
        f"The figures given are those of {method_words(t.at.classifier)} on {features_words(t.at.encoder)} "
        f"at {here} label{'s' * (here != '1')} per class{_averaged(t)}. {_by_whom(t)}"
    )]


def _by_whom(t: Telling) -> str:
    """What chose the method that is spoken of, which is the predictor's if that was judged."""
    assert t.at is not None
    facts = t.material.predictor or {}
    if t.material.chosen_on_test(t.at):
        return CHOSEN
    own = (facts.get("embeddings"), facts.get("classifier")) == (t.at.encoder, t.at.classifier)
    return NAMED if own and _is_named(t) else BY_RULE


def _is_named(t: Telling) -> bool:
    """Whether a person named the predictor's classifier."""
    return t.setting("fit", "classifier") not in (None, "auto")


def _averaged(t: Telling) -> str:
    return ", means over the draws" if _several_draws(t) else ""


def _several_draws(t: Telling) -> bool:
    """Whether the figures are of several draws of labels."""
    curve = t.material.curve
    return t.at is not None and curve is not None and at_point(curve, t.at)["repeat"].nunique() > 1


def _same_draws(t: Telling) -> bool:
    """Whether all methods had the same draws of labels; those of several runs may differ."""
    return len(set((t.material.state.get("compare", {}).get("draws") or {}).values())) < 2


def _choice(t: Telling) -> list[str]:
    if t.material.evaluation.get("chosen_by_split"):
        place = ("curve", "chosen_by_split", "balanced_accuracy")
        value = t.fact("accuracy of the methods chosen", *place, write=share)
        return [(
            "In nested cross-validation by group, a method was chosen for each test split on the labels "
            "drawn from the others alone; the methods so chosen reach a balanced accuracy of "
            f"{value}."
        )]
    choice = t.material.evaluation.get("choice")
    if not choice or len(choice.get("accuracy") or ()) < 2:
        return []
    return [
        (f"Cross-validation by group on the drawn labels alone chose {method_words(choice['classifier'])} on "
        f"{features_words(choice['encoder'])} (by balanced accuracy); test images had no part in this.")
    ]


def predictor_paragraph(t: Telling) -> str:
    """What was fitted for use, and how it gives probabilities."""
    facts = t.material.predictor
    if facts is None:
        return ""
    number = t.trace.number("labels of the predictor", Place(t.predictor, "/labels", "sum"))
    several = len(facts.get("cross_validation") or {}) > 1
    which = "the features, as" if _is_named(t) else "as"
    chosen = f", {which} cross-validation by group on these labels chose" if several else ""
    told = [
        (f"For use, {method_words(str(facts['classifier']))} on {features_words(str(facts['embeddings']))} "
        "was "
        f"fitted to all {number} labels of the training side{chosen}.")
    ]
    if calibration := facts.get("calibration"):
        words, work = CALIBRATIONS.get(calibration["method"], (shown(calibration["method"]), "temperature"))
        told.append(
            f"Its scores were turned into probabilities by {words} {t.cite(work)}, fitted to what it said of "
            "training labels held out by group, as if all classes were equally common."
        )
    else:
        told.append("It gives scores, which are no probabilities.")
    return " ".join([*told, *_beside(t, facts)])


def _beside(t: Telling, facts: Mapping[str, Any]) -> list[str]:
    """What it says beside class and probability."""
    told = []
    if facts.get("sets"):
        coverage = t.trace.number("coverage of the sets", Place(t.predictor, "/sets/coverage"), percent)
        told.append(
            "A set of classes beside each answer was calibrated on the same held-out labels to hold the "
            "true "
            f"class in {coverage} of images if all classes are equally common (split-conformal prediction "
            f"{t.cite('conformal')})."
        )
    if facts.get("novelty"):
        number = t.trace.number("images that novelty is measured by", Place(t.predictor, "/novelty/images"))
        told.append(
            "Images unlike those it learned from are told by the distance to the nearest of these in the "
            f"encoder's space, beside that of {number} known images from those of other groups."
        )
    return told


def figures_paragraph(t: Telling) -> str:
    """Which figures were taken, and at which decision."""
    if t.at is None or t.material.curve is None:
        return ""
    metrics = set(t.material.curve["metric"])
    others = [words for name, words in {
        "auroc": "the area under the ROC curve, each class against the others, averaged over the classes",
        "macro_f1": "macro F1", "recall": "the recall of each class",
    }.items() if name in metrics]
    told = [
        f"The main figure was balanced accuracy, the mean of the recalls of all classes with test images "
        f"{t.cite('balanced')}; {and_(others)} are given beside it." if others else
        f"The figure was balanced accuracy {t.cite('balanced')}."
    ]
    for name in ("sensitivity", "specificity"):
        if t.setting("curve", name) is not None:
            target = t.set(f"{name} aimed at", "curve", name, write=share)
            told.append(
                f"For each class a threshold that reached a {name} of {target} was chosen on training labels "
                "held out by group."
            )
    draws = at_point(t.material.curve, t.at)["repeat"].nunique()
    if len(calibrations(t.material, t.at)) == draws:
        told.append(
            f"Probabilities came from one temperature per draw {t.cite('temperature')}, fitted to the draw's "
            "own "
            "labels, held out by group; their calibration error and log loss are those on the test images."
        )
    if t.material.strata is not None:
        by = and_([shown(name) for name in t.material.strata["by"].unique()])
        told.append(f"Balanced accuracy and recalls were also taken apart by {by}.")
    if is_told_apart(t.material, t.at):
        same = "images, draws" if _same_draws(t) else "images (draws resampled apart where they differed)"
        told.append(
            "Methods were compared in pairs by the difference of their balanced accuracies on the same "
            f"{same} and bootstrap resamples, with two-sided p-values corrected after Holm {t.cite('holm')}; "
            "intervals of differences are not corrected."
        )
    return " ".join(told)


def intervals_paragraph(t: Telling) -> str:
    """What the intervals are, or why there are none."""
    told = str(t.material.evaluation.get("intervals") or "")
    if not told or t.at is None:
        return ""
    if not t.setting("curve", "bootstrap"):
        return "No intervals were taken." if t.setting("curve", "bootstrap") == 0 else ""
    if told.startswith("none"):
        return (
            "No intervals are given, because the test images came from fewer than ten groups; ranges are "
            "those "
            "of the draws."
        )
    unit = "groups" if t.material.evaluation.get("test_groups") else "images"
    resamples = t.set("bootstrap resamples", "curve", "bootstrap")
    alone = (
        " Since no groups were known, images of one patient count as independent, and the intervals may be "
        "too "
        "narrow." if unit == "images" else ""
    )
    several = _several_draws(t)
    drawn = " and draws, drawn jointly" if several else ""
    once = "" if several else " What another draw of labels would change is not in them."
    return (
        f"Intervals are 95\u00a0% percentile intervals of {resamples} bootstrap resamples of test {unit}"
        f"{drawn} {t.cite('bootstrap')}{OTHER_RESAMPLES}; for shares of exactly 0 or 1, exact binomial "
        f"limits {t.cite('exact')}. A figure from fewer than ten {unit} has none.{once}{alone}"
    )


def software_paragraph(t: Telling) -> str:
    """Versions, as noted by the run."""
    software = t.material.state.get("software") or {}
    if not software:
        return ""

    def version(package: str) -> str:
        return t.trace.number(f"version of {package}", Place(FACTS, f"/software/{package}"), str)

    named = [
        f"{name} {version(package)}{' ' + t.cite(work) if work else ''}"
        for package, (name, work) in VERSIONED.items() if package in software
    ]
    own = f"hundredfold {version('hundredfold')} " if "hundredfold" in software else "hundredfold "
    python = f"Python {version('python')}, " if "python" in software else ""
    seed = t.set("random seed", "curve", "seed", write=str) if t.setting("curve", "seed") is not None else ""
    return (
        f"All was done with {own}({python}{', '.join(named)})."
        + (f" The random seed was {seed}." if seed else "")
    )
