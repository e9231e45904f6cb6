"""Tables of a card: classes, figures with intervals, calibration, subgroups."""

from __future__ import annotations

from collections.abc import Mapping

from hundredfold.metrics import TINY, WITHOUT_TINY
from hundredfold.report.paper.document import Block, Table
from hundredfold.report.paper.telling import Telling, pointer
from hundredfold.report.paper.trace import Place, share
from hundredfold.report.tables import of_one_site
from hundredfold.report.words import AUDIT_SET, features_words, method_words, shown

__all__ = [
    "calibration_blocks", "data_blocks", "ended", "figure_blocks", "shares_words", "stated",
    "subgroup_blocks",
]

OWN = "as in the curve"
NAMES = {
    "balanced_accuracy": "balanced accuracy",
    WITHOUT_TINY: f"balanced accuracy without classes of fewer than {TINY} test images",
    "auroc": "AUROC, mean over the classes", "macro_f1": "macro F1",
}
NO_INTERVAL = "A dash: no interval, because fewer than ten groups (else images) are behind the figure."
NOT_TAKEN = "A dash: no intervals were taken (--bootstrap 0)."


def stated(t: Telling) -> str:
    """What the figures are of, on which images."""
    assert t.at is not None
    evaluation = t.material.evaluation
    which = {"audit": f" ({AUDIT_SET})"}.get(str(evaluation.get("test_set")), "")
    if t.outer:
        which = ", each judged by classifiers that had not learned from its group (test splits took turns)"
    budget = t.trace.number("labels per class", Place("curve.parquet", "n_per_class", rows=_rows(t)))
    tested = t.trace.number("test images", Place("curve.parquet", "n_test", rows=_rows(t)))
    told = (
        f"Figures of {method_words(t.at.classifier)} on {features_words(t.at.encoder)}, fitted to {budget} "
        f"label{'s' * (budget != '1')} per class (fewer where a class has fewer){_draws(t)}, on {tested} "
        f"test images{which}."
    )
    if (facts := t.material.predictor) is None:
        return told
    number = t.trace.number("labels of the predictor", Place(t.predictor, "/labels", "sum"))
    same = (facts["classifier"], facts["embeddings"]) == (t.at.classifier, t.at.encoder)
    if t.outer:
        apart = "; some of these test images are among them, so no figure is of itself"
    else:
        apart = "" if evaluation.get("leak") else "; these test images are not among them"
    return told + (
        f" The predictor is of this kind and learned from all {number} labels of the training side{apart}."
        if same else
        f" The predictor itself is {method_words(str(facts['classifier']))} on "
        f"{features_words(str(facts['embeddings']))}, fitted to {number} labels: no figure here is of its "
        "kind."
    )


def _draws(t: Telling) -> str:
    number = t.trace.number("draws of labels", Place("curve.parquet", "repeat", "kinds", _rows(t)))
    return ", drawn once" if number == "1" else f" and averaged over {number} draws of these labels"


def _rows(t: Telling, metric: str = "balanced_accuracy", label: str | None = None) -> Mapping[str, object]:
    assert t.at is not None
    return {
        "encoder": t.at.encoder, "classifier": t.at.classifier, "n_per_class": t.at.n_per_class,
        "metric": metric, "class": label,
    }


def data_blocks(t: Telling) -> list[Block]:
    """Images and groups, and the labelled images of each class on both sides."""
    blocks: list[Block] = []
    names = {
        "images": "images found", "usable": "images used", "labelled": "labelled images",
        "groups": "groups (patients, slides or examinations)", "grouped": "images with a known group",
        "duplicates": "images with exact copies", "near_copies": "images that are near-copies",
        "contradictions": "copies with several labels, which count as unlabelled",
    }
    rows = [[words, t.fact(words, "scan", name)] for name, words in names.items() if name in t.scan]
    rows += [
        [f"left out: {shown(reason)}", t.fact(f"left out, {shown(reason)}", "scan", "rejected", reason)]
        for reason in t.scan.get("rejected", {})
    ]
    if rows:
        blocks.append(Table(["what", "number"], rows))
    if (curve := t.material.evaluation) and not t.outer:
        blocks.append(Table(["class", "labelled training images", "test images"], [
            [shown(name), *(t.fact(f"{words}, {shown(name)}", "curve", key, name) for key, words in (
                ("train_images_by_class", "training images"), ("test_images", "test images"),
            ))] for name in curve["classes"]
        ]))
    elif t.material.predictor is not None and not curve:
        labels = t.material.predictor["labels"]
        blocks.append(Table(["class", "labels learned from"], [
            [shown(name), t.trace.number(
                f"labels, {shown(name)}", Place(t.predictor, pointer("labels", name))
            )] for name in labels
        ]))
    return blocks


def figure_blocks(t: Telling) -> list[Block]:
    """The metrics over all classes, the recall of each class, and each class against the rest."""
    assert t.at is not None
    assert t.material.curve is not None
    metrics = set(t.material.curve["metric"])
    head = ["figure", "value", "95 % interval, from", "to", "test images"]
    overall = [
        [words, *_figure(t, words, metric, None)] for metric, words in NAMES.items() if metric in metrics
    ]
    classes = [
        [shown(name), *_figure(t, f"recall, {shown(name)}", "recall", str(name))]
        for name in t.material.evaluation.get("classes", ())
    ]
    blocks: list[Block] = [stated(t), Table(head, overall)]
    if classes:
        blocks.append(Table(["recall of", *head[1:]], classes))
    return [*blocks, *_operating(t), NOT_TAKEN if t.setting("curve", "bootstrap") == 0 else NO_INTERVAL]


def _figure(t: Telling, words: str, metric: str, label: str | None) -> list[str]:
    rows = _rows(t, metric, label)
    return [
        t.trace.number(words, Place("curve.parquet", "value", "mean", rows), share),
        t.trace.number(f"{words}, lower end", Place("curve.parquet", "low", rows=rows), share),
        t.trace.number(f"{words}, upper end", Place("curve.parquet", "high", rows=rows), share),
        t.trace.number(f"{words}, test images", Place("curve.parquet", "n_test", rows=rows)),
    ]


def _operating(t: Telling) -> list[Block]:
    whose = "that the report was made for" if t.material.prevalence else "of the test set"
    blocks = _decided(t, "operating", (
        "Each class against all others, by the classifier's own decision; in brackets 95 % intervals. PPV "
        f"and NPV are for the shares of the classes {whose}, which stand beside them."
    ))
    chosen = next((name for name in ("sensitivity", "specificity") if t.setting("curve", name)), None)
    if blocks and chosen:
        target = t.set(f"{chosen} aimed at", "curve", chosen, write=share)
        blocks += _decided(t, "operating_chosen", (
            f"The same at thresholds that were to reach a {chosen} of {target}, chosen on training labels "
            "held out by group. The predictor does not apply them: its label is the classifier's own."
        ))
    return blocks


def _decided(t: Telling, name: str, told: str) -> list[Block]:
    if f"{name}.csv" not in t.fresh:
        return []
    file, values, rows = f"figures/{name}.csv", ("sensitivity", "specificity", "ppv", "npv"), []
    at = "" if name == "operating" else " at the threshold"
    for label in t.material.evaluation.get("classes", ()):
        own = {"class": label}
        cells = [ended(t, file, own, value, f"{value}{at}, {shown(label)}") for value in values]
        if any(cell != "–" for cell in cells):
            place = Place(file, "prevalence", rows=own)
            mix = t.trace.number(f"share{at}, {shown(label)}", place, _thousandth)
            rows.append([shown(label), *cells[:2], mix, *cells[2:]])
    head = ["class", "sensitivity", "specificity", "share of the images", "PPV", "NPV"]
    return [told, Table(head, rows)] if rows else []


def _thousandth(value: object) -> str:
    """A share with three digits, as prevalences are small."""
    return share(float(str(value)), 3)


def shares_words(t: Telling) -> str:
    """For which shares of the classes a figure on the test images is, that is not as in the test set."""
    if t.material.prevalence:
        return "for the shares of the table above, which the report was made for"
    return "as if all classes were equally common"


def ended(t: Telling, file: str, rows: Mapping[str, object], column: str, words: str) -> str:
    """A value with its interval in brackets, where there is one."""
    value = t.trace.number(words, Place(file, column, rows=rows), share)
    ends = [
        t.trace.number(f"{words}, {end} end", Place(file, f"{column}_{name}", rows=rows), share)
        for name, end in (("low", "lower"), ("high", "upper"))
    ]
    return value if "–" in ends else f"{value} ({ends[0]}–{ends[1]})"


def calibration_blocks(t: Telling) -> list[Block]:
    """Calibration error and log loss on the test images, and what the predictor gives."""
    facts, told = t.material.predictor, []
    if facts is not None:
        calibration = facts.get("calibration")
        told.append(
            "The predictor gives scores, which are no probabilities." if calibration is None else
            f"The predictor gives probabilities ({calibration['method']}), such as if all classes were "
            "equally "
            "common; --prevalence says how common they are."
        )
    if "calibration.csv" not in t.fresh:
        return [*told]
    file = "figures/calibration.csv"
    rows = [
        [f"{way} calibration", *(
            ended(t, file, {"way": way}, column, f"{words} {way} calibration")
            for column, words in (("error", "calibration error"), ("loss", "log loss"))
        )] for way in ("before", "after")
    ]
    above = f"On the test images, of the classifiers that the figures above are of, {shares_words(t)}:"
    return [*told, above, Table(
        ["probabilities", "calibration error", "log loss"], rows,
    )]


def subgroup_blocks(t: Telling) -> list[Block]:
    """Balanced accuracy by site and subgroup."""
    strata = t.material.strata
    if strata is None or t.at is None:
        return []
    own = strata[
        (strata["encoder"] == t.at.encoder) & (strata["classifier"] == t.at.classifier)
        & (strata["n_per_class"] == t.at.n_per_class) & (strata["metric"] == "balanced_accuracy")
    ]
    rows = []
    for row in own[["by", "stratum", "labels"]].drop_duplicates().to_dict("records"):
        name = f"{shown(row['by'])}: {shown(row['stratum'])}"
        name += "" if row["labels"] == OWN else ", without its labels"
        chosen: dict[str, object] = {str(key): value for key, value in row.items()} | dict(_rows(t))
        rows.append([name, *(
            t.trace.number(f"{words}, {name}", Place("strata.csv", column, rows=chosen), write)
            for column, words, write in (
                ("value", "balanced accuracy", share), ("low", "lower end", share),
                ("high", "upper end", share),
            )
        ), *(
            t.trace.number(f"{words}, {name}", Place("strata.csv", column, rows=chosen))
            for column, words in (("n_test", "test images"), ("n_groups", "groups"), ("n_classes", "classes"))
        )])
    head = ["subgroup", "balanced accuracy", "from", "to", "test images", "groups", "classes"]
    alone = of_one_site(t.material.evaluation.get("classes_of_one_site", {}))
    return [Table(head, rows), *alone] if rows else []
