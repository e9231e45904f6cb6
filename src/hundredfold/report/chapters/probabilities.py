"""Chapter "How far the probabilities can be believed": reliability diagram, calibration error, log loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from hundredfold.learn.calibrate import Calibration
from hundredfold.metrics import Reliability, reliability
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.clinical_figures import reliability_diagram
from hundredfold.report.judged import Judged, calibrations, judged
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline
from hundredfold.report.words import interval, share, shown

__all__ = ["probabilities_chapter"]

MEANING = (
    "A probability of .8 can be believed if such answers are right in 80\u00a0% of the images. What a "
    "classifier says of itself is mostly too sure, or too unsure; {how}, fitted {whose}to training labels "
    "that were held out by group, is to put that right. Test images had no part in it."
)
HOW = {
    "temperature": "one number", "platt": "a curve for each class", "isotonic": "a staircase for each class",
}
ALIKE = (
    "The classes count as if they were equally common, as predict gives the probabilities. State how common "
    "they are among your patients: hundredfold report RUN --prevalence CLASS=SHARE."
)
RESAMPLES = 500


def probabilities_chapter(material: Material, at: Headline) -> Chapter | None:
    """The headline's probabilities, before and after calibration; ``None`` where there are none."""
    found = judged(material, at)
    own = calibrations(material, at)
    if found is None or sorted(own) != list(range(len(found.predicted))) or len(np.unique(found.truth)) < 2:
        return None
    stated = found.prevalence if material.prevalence else None
    resamples = found.resamples(RESAMPLES)
    ways = {
        name: reliability(found.truth, said, resamples, shares=stated)
        for name, said in _probabilities(found, own, stated).items()
    }
    whose = "" if material.evaluation.get("external") else "for each draw "
    meaning = MEANING.format(how=HOW.get(own[0].method, "a calibration"), whose=whose)
    sentences = [meaning, ALIKE if stated is None else _stated(material), _told(ways["after"])]
    return Chapter("probabilities", "How far the probabilities can be believed", sentences, _items(ways))


def _probabilities(
    found: Judged, own: Mapping[int, Calibration], shares: NDArray[np.float64] | None
) -> dict[str, NDArray[np.float64]]:
    """Before: the classifier's own, or the softmax of its values; after: calibrated. ``[r, n, c]`` each."""
    after, before = [], []
    for repeat, scores in enumerate(found.scores.astype(np.float64)):
        after.append(own[repeat].probabilities(scores, shares))
        plain = scores if own[repeat].logarithms else softmax(scores, axis=1)
        plain = plain if shares is None else plain * shares
        before.append(plain / plain.sum(axis=1, keepdims=True))
    return {"before": np.stack(before), "after": np.stack(after)}


def _stated(material: Material) -> str:
    told = ", ".join(f"{shown(name)} {share(value, 3)}" for name, value in material.prevalence.items())
    return f"They are for prevalences as stated: {told}."


def _told(after: Reliability) -> str:
    return (
        f"On average a probability is {share(after.error.value)} from how often such answers are right; "
        f"probabilities without any fault would show {share(after.expected)} on so many images."
    )


def _items(ways: Mapping[str, Reliability]) -> list[Exhibit | Listing]:
    table = pd.concat([
        pd.DataFrame({
            "way": way, "sure": one.sure, "right": one.right[:, 0], "low": one.right[:, 1],
            "high": one.right[:, 2], "share": one.share,
        }) for way, one in ways.items()
    ], ignore_index=True)
    told = "; ".join(
        f"{row.sure:.2f}: {row.right:.2f}" for row in table[table["way"] == "after"].itertuples(index=False)
    )
    caption = (
        "On the dashed line probabilities are right; below it answers are too sure of themselves. Each point "
        "is about a tenth of the answers. Bars: 95 % intervals, where these are on images of 10 groups or "
        "more."
    )
    summary = pd.DataFrame([
        {"way": way, **{
            f"{name}{end}": value for name, estimate in (("error", one.error), ("loss", one.loss))
            for end, value in zip(("", "_low", "_high"), estimate, strict=True)
        }} for way, one in ways.items()
    ])
    rows: list[list[Cell | str]] = [
        [
            f"{way} calibration",
            Cell(share(one.error.value, 3), note=interval(one.error.low, one.error.high)),
            Cell(f"{one.loss.value:.3f}", note=interval(one.loss.low, one.loss.high)),
        ] for way, one in ways.items()
    ]
    return [
        Exhibit(
            "reliability", "Reliability diagram", caption,
            f"Share right at each mean probability, after calibration: {told}.",
            reliability_diagram(table), table,
        ),
        Listing(
            "calibration", "Before and after calibration",
            "Calibration error: mean distance of probability and share right. Log loss: less is better; it "
            "counts both how often and how surely an answer is wrong. Below each value: its 95 % interval.",
            ["probabilities", "calibration error", "log loss"], rows, summary,
        ),
    ]
