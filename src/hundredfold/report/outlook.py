"""What labels cost and what more of them would bring, in sentences."""

from __future__ import annotations

import numpy as np

from hundredfold.learn.compare import resampled_curve
from hundredfold.learn.forecast import Forecast, Refusal, forecast
from hundredfold.learn.reads import expected_reads, reads_of_class
from hundredfold.metrics import MIN_GROUPS
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline
from hundredfold.report.words import shown

__all__ = ["ASSURANCE", "MORE", "outlook", "outlook_sentences"]

#: labels per class that a forecast is made for
MORE = 50
#: benchmarks/forecast.py
KNN = (
    "a kNN follows no power law while most of its labels are neighbours, and its intervals held 89 % of the "
    "hidden points of real curves, not 95 %"
)
AUDITED, TRAINED = "the audit images", "the labelled training images"
#: benchmarks/forecast.py: the width was chosen on these curves, so the second number is the honest one
ASSURANCE = (
    "in a range chosen so wide that it holds 99\u00a0% of the hidden ends of the curves of three real sets "
    "(chosen on two of them, 66 to 100\u00a0% of the third's)"
)


def outlook(material: Material, at: Headline) -> Forecast | Refusal | None:
    """The forecast for the headline's method; ``None`` without predictions or images."""
    if material.predictions is None or material.images is None or material.curve is None:
        return None
    if at.classifier == "knn":
        return Refusal(KNN)
    pieces = material.test_pieces
    if (count := pieces.nunique()) < MIN_GROUPS:
        return Refusal(f"the test images are of {count} groups, and fewer than {MIN_GROUPS} give no interval")
    budgets, values, samples = resampled_curve(material.predictions, pieces, (at.encoder, at.classifier))
    over_all = material.curve[material.curve["metric"] == "balanced_accuracy"]
    capped = over_all.groupby("n_per_class")["capped"].any().reindex(budgets, fill_value=True)
    return forecast(budgets, samples, values, capped=capped.to_numpy(), labels=MORE)


def outlook_sentences(material: Material, at: Headline) -> list[str]:
    """What the headline's labels cost in reads, and what more would bring."""
    found = outlook(material, at)
    told = "" if found is None else found.sentence
    if isinstance(found, Forecast):
        told = f"Forecast from the learning curve, {ASSURANCE}: {told}"
    return [sentence for sentence in (_reads(material, at), told) if sentence]


def _reads(material: Material, at: Headline) -> str:
    counts, beside, whose = _sizes(material)
    if not counts:
        return ""
    about = "about " if whose == AUDITED else ""  # what a sample tells of all
    total, n = sum(counts.values()) + beside, at.n_per_class
    rarest = min(counts, key=lambda name: counts[name])
    part = f"{shown(rarest)}, {_per_cent(counts[rarest] / total)} of {whose}"
    labels = f"{n:,} label{'s' if n > 1 else ''}"
    if counts[rarest] < n:
        return (
            f"{labels} of every class are not to be had by reading images at random: all {total:,} hold only "
            f"{about}{counts[rarest]:,} of the rarest class ({part})."
        )
    reads = expected_reads([*counts.values(), beside], [n] * len(counts) + [0])
    alone = reads_of_class(counts[rarest], total, n)
    told = f"Read at random, {labels} of every class cost about {_rounded(reads)} reads"
    if _rounded(reads) == _rounded(alone):
        return f"{told}, all of them for the rarest class ({part})."
    return f"{told}; those of the rarest class alone ({part}) about {_rounded(alone)}."


def _sizes(material: Material) -> tuple[dict[str, int], int, str]:
    """How many images of each class there are to be read, how many of no such class, and what tells it.

    An audit set was drawn at random from all; the other labels may be of images that were chosen.
    """
    if material.evaluation.get("test_set") != "audit" or material.images is None:
        sizes = material.evaluation.get("train_images_by_class") or {}
        beside = int(material.evaluation.get("train_images_left_out") or 0)
        return {name: int(size) for name, size in sizes.items() if size}, beside, TRAINED
    drawn = material.evaluation.get("test_images") or {}
    frame, pool = material.images.frame, len(material.images.pool)
    judged = sum(drawn.values())
    read = max(judged, int(frame.loc[frame["split"] == "audit", "label"].notna().sum()))
    there = {name: round(pool * size / read) for name, size in drawn.items() if size}
    return there, round(pool * (read - judged) / read) if read else 0, AUDITED


def _per_cent(part: float) -> str:
    return f"{100 * part:.0f}\u00a0%" if part >= 0.01 else f"{100 * part:.1g}\u00a0%"


def _rounded(count: float) -> str:
    """Two significant figures: more is not known."""
    digits = max(0, int(np.floor(np.log10(max(count, 1)))) - 1)
    return f"{round(count, -digits):,.0f}"
