"""Operating points, chosen on held-out parts of the training labels and never on test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.learn.held_out import HeldOut
from hundredfold.learn.study import Study
from hundredfold.metrics import threshold

__all__ = ["COLUMNS", "thresholds"]

COLUMNS = (
    "encoder", "classifier", "n_per_class", "repeat", "class", "aim", "target", "threshold",
    "sensitivity", "specificity", "n_held_out",
)


def thresholds(study: Study, held: Mapping[tuple[str, int], HeldOut]) -> pd.DataFrame:
    """The threshold of each class, for every encoder, classifier and draw of one number of labels.

    On the scores that labels were given by fits that had seen neither them nor their groups, it just
    reaches the target.

    Args:
        study: an operating point is among its choices.
        held: (encoder, repeat) → what is said of the labels that were drawn at the headline's budget.

    Returns:
        the columns ``COLUMNS``: ``sensitivity`` and ``specificity`` are those of the held-out labels, which
        are as many of each class as were drawn; ``n_held_out`` counts those of the class. ``threshold`` is
        missing where none could be held out.
    """
    rows: list[dict[str, Any]] = []
    for (encoder, repeat), one in held.items():
        place = {"encoder": encoder, "n_per_class": study.headline, "repeat": repeat}
        for name, scores in zip(study.shallow, one.scores, strict=True):
            rows += [place | {"classifier": name} | row for row in _of_draw(study, one.codes, scores)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_draw(
    study: Study, codes: NDArray[np.int64], scores: NDArray[np.float32]
) -> Iterator[dict[str, Any]]:
    """The threshold of each class from the held-out scores ``[m, c]`` of one classifier."""
    if (point := study.choices.operating_point) is None:
        return
    for number, label in enumerate(study.trial.classes):
        named = {"class": label, "aim": point[0], "target": point[1]}
        yield named | _threshold(codes == number, scores[:, number], *point)


def _threshold(
    own: NDArray[np.bool_], scores: NDArray[np.float32], aim: Literal["sensitivity", "specificity"],
    target: float,
) -> dict[str, float]:
    judged = ~np.isnan(scores)
    own, scores = own[judged], scores[judged]
    if not own.any() or own.all():
        return {"threshold": np.nan, "sensitivity": np.nan, "specificity": np.nan, "n_held_out": own.sum()}
    found = threshold(own, scores, aim, target)
    called = scores >= np.float32(found)
    return {
        "threshold": found, "sensitivity": float(called[own].mean()),
        "specificity": float((~called)[~own].mean()), "n_held_out": int(own.sum()),
    }
