"""The headline's scores as arrays, and the tidy tables that clinicians read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.learn.calibrate import Calibration
from hundredfold.learn.scores import SCORE
from hundredfold.metrics import (
    GRID,
    Estimate,
    OperatingPoint,
    Patients,
    Resamples,
    Tradeoff,
    interval_width,
    measure,
    operating_points,
    prevalences,
    tradeoff,
)
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline, at_point

__all__ = [
    "VALUES", "Judged", "calibrations", "curve_table", "judged", "operating_table", "patients_table",
    "tradeoffs", "widths",
]

RESAMPLES = 1000
#: A curve is re-drawn for each resample, repeat and class: fewer, so that 20,000 images take seconds.
CURVE_RESAMPLES = 500
VALUES = ("sensitivity", "specificity", "ppv", "npv")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What the headline's classifier says of the test images.

    Attributes:
        classes: ``[c]`` names.
        truth: ``[n]`` class numbers.
        predicted: ``[r, n]`` class numbers.
        scores: ``[r, n, c]``.
        patient: ``[n]`` group numbers, -1 where none is known.
        piece: ``[n]`` numbers of what is resampled together: groups, and near-copies where none is known.
        thresholds: ``[r, c]`` from which score on an image is called the class; NaN where none could be
            chosen; ``None`` if none were asked for.
        aim: what they were to reach ("sensitivity" or "specificity"), and how much of it.
        prevalence: ``[c]`` the share of each class for the predictive values.
        bootstrapped: whether there are to be intervals.
    """

    classes: Sequence[str]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float32]
    patient: NDArray[np.int64]
    piece: NDArray[np.int64]
    thresholds: Floats | None
    aim: tuple[str, float] | None
    prevalence: Floats
    bootstrapped: bool = True

    def resamples(self, count: int = RESAMPLES, *, times: int = 1) -> Resamples | None:
        """Resamples of the test groups and the repeats; an image without a group or copies is its own."""
        if not self.bootstrapped:
            return None
        return Resamples.draw(self.piece, len(self.predicted), count, seed=0, times=times)


def judged(material: Material, at: Headline) -> Judged | None:
    """The arrays of the headline's point; ``None`` where its scores were not kept.

    Raises:
        SettingsError: a stated prevalence is of no class with test images, or they do not make 1.
    """
    rows = material.scores_at(at)
    if rows is None or rows.empty:
        return None
    classes = [str(name).removeprefix(SCORE) for name in rows if str(name).startswith(SCORE)]
    repeats, names = int(rows["repeat"].nunique()), pd.Index(classes)
    first = rows.iloc[: len(rows) // repeats]
    truth = names.get_indexer(pd.Index(first["label"].astype(str))).astype(np.int64)
    predicted = names.get_indexer(pd.Index(rows["predicted"].astype(str))).astype(np.int64)
    return Judged(
        classes, truth, predicted.reshape(repeats, -1),
        rows[[f"{SCORE}{name}" for name in classes]].to_numpy(np.float32).reshape(repeats, -1, len(classes)),
        first["group"].to_numpy(np.int64), first["piece"].to_numpy(np.int64),
        *_thresholds(material.thresholds, at, classes),
        prevalences(np.bincount(truth, minlength=len(classes)), classes, material.prevalence),
        bootstrapped=all(
            material.settings.get(verb, {}).get("bootstrap") != 0 for verb in ("curve", "evaluate")
        ),
    )


def calibrations(material: Material, at: Headline) -> dict[int, Calibration]:
    """Repeat → what makes probabilities of the headline's scores; that of too few labels is missing."""
    wanted = {"encoder": at.encoder, "classifier": at.classifier, "n_per_class": at.n_per_class}
    return {
        int(one["repeat"]): Calibration.of(one) for one in material.calibrations
        if all(one[name] == value for name, value in wanted.items())
    }


def _thresholds(
    table: pd.DataFrame | None, at: Headline, classes: Sequence[str]
) -> tuple[Floats | None, tuple[str, float] | None]:
    if table is None or (own := at_point(table, at)).empty:
        return None, None
    wide = own.pivot(index="repeat", columns="class", values="threshold")
    aim = (str(own["aim"].iloc[0]), float(own["target"].iloc[0]))
    return wide.reindex(columns=list(classes)).to_numpy(np.float64), aim


def operating_table(found: Judged, *, chosen: bool) -> pd.DataFrame:
    """Sensitivity, specificity, PPV and NPV of each class, each with its interval, and what they are of.

    Args:
        found: what was said of the test images.
        chosen: at the thresholds that were chosen, else by the classifier's own decision. A class without
            a threshold in some draw is left out.
    """
    called = found.predicted[..., None] == np.arange(len(found.classes))  # [r, n, c]
    known: NDArray[np.bool_] = np.ones(len(found.classes), bool)
    if chosen and found.thresholds is not None:
        called = found.scores >= found.thresholds.astype(np.float32)[:, None]
        known = np.isfinite(found.thresholds.sum(axis=0))
    points = operating_points(found.truth, called, found.resamples(), found.prevalence)
    return pd.DataFrame([_row(found, point) for point in points if known[point.class_number]])


def _row(found: Judged, point: OperatingPoint) -> dict[str, Any]:
    row: dict[str, Any] = {
        "class": found.classes[point.class_number], "n_test": point.n_test, "n_rest": point.n_rest,
        "prevalence": point.prevalence,
    }
    for name in VALUES:
        estimate: Estimate = getattr(point, name)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def tradeoffs(found: Judged) -> list[Tradeoff]:
    """The ROC and precision–recall curves of each class with test images and others."""
    resamples = found.resamples(CURVE_RESAMPLES)
    return [
        tradeoff(found.truth, found.scores, int(number), resamples, found.prevalence)
        for number in np.unique(found.truth) if (found.truth != number).any()
    ]


def curve_table(found: Judged, curves: Sequence[Tradeoff], kind: str) -> pd.DataFrame:
    """One kind of curve, "roc" or "pr", a row a point.

    The columns are class, x, value, low, high, area, area_low, area_high, chance, n_test.
    """
    parts = []
    for one in curves:
        values = one.sensitivity if kind == "roc" else one.precision
        area = one.area if kind == "roc" else one.average_precision
        parts.append(pd.DataFrame({
            "class": found.classes[one.class_number], "x": GRID, "value": values[:, 0], "low": values[:, 1],
            "high": values[:, 2], "area": area.value, "area_low": area.low, "area_high": area.high,
            "chance": GRID if kind == "roc" else found.prevalence[one.class_number], "n_test": one.n_test,
        }))
    return pd.concat(parts, ignore_index=True)


def patients_table(found: Judged) -> tuple[pd.DataFrame, Patients]:
    """Images and their patients side by side, a row for all classes and one a class.

    The columns are class (missing for all), n_patients, n_images, and for ``image``, ``mean`` and ``vote``
    the value (balanced accuracy, or recall of the class) with ``_low`` and ``_high``. Only patients whose
    images all bear one label are counted, and their images.
    """
    patients = Patients.of(found.truth, found.predicted, found.scores, found.patient)
    images = patients.images
    # Patients linked by near-copies are one piece, as for the images.
    piece = np.unique(found.piece[images], return_inverse=True)[1]
    of_patient = piece[np.unique(found.patient[images], return_index=True)[1]]
    drawn = None
    if found.bootstrapped and len(patients.group):
        drawn = Resamples.draw(piece, len(found.predicted), RESAMPLES, seed=0)
    levels: dict[str, tuple[Any, Any, Any, Any]] = {
        "image": (found.truth[images], found.predicted[:, images], found.scores[:, images], piece),
        "mean": (patients.truth, patients.by_mean, patients.scores, of_patient),
        "vote": (patients.truth, patients.by_vote, patients.scores, of_patient),
    }
    rows: dict[int | None, dict[str, Any]] = {}
    for level, (truth, predicted, scores, groups) in levels.items():
        if not len(truth):
            continue
        # the same resamples of the same pieces, whatever the level
        of = None if drawn is None else Resamples(groups, drawn.group_counts, drawn.repeat_counts)
        for one in measure(truth, predicted, scores, of):
            if one.metric in ("balanced_accuracy", "recall"):
                row = rows.setdefault(one.class_number, {
                    "class": None if one.class_number is None else found.classes[one.class_number],
                    "n_patients": 0, "n_images": 0,
                })
                row["n_images" if level == "image" else "n_patients"] = one.n_test
                row |= {level: float(np.mean(one.values)), f"{level}_low": one.low, f"{level}_high": one.high}
    return pd.DataFrame(list(rows.values())), patients


def widths(found: Judged) -> tuple[float, float]:
    """How wide the interval of the balanced accuracy is, and with twice the test groups; NaN if none."""
    width = [
        np.nan if (drawn := found.resamples(times=times)) is None
        else interval_width(found.truth, found.predicted, len(found.classes), drawn)
        for times in (1, 2)
    ]
    return width[0], width[1]
