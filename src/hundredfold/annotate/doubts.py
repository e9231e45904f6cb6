"""Labels that a classifier of all the others finds hard to believe: slips of the finger, mostly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = ["Doubt", "doubtful"]

FOLDS, MOST = 5, 200


class Doubt(NamedTuple):
    """A label that is to be looked at again.

    Args:
        row: of the image.
        label: what the others would call it.
        probability: how likely they find that.
    """

    row: int
    label: str
    probability: float


def doubtful(
    pipeline: Any, vectors: NDArray[np.float32], labels: ArrayLike, groups: ArrayLike | None = None
) -> list[Doubt]:
    """The labels that are probably wrong, the least believable first; at most 200.

    Every image is judged by a classifier that learned from other groups only. Which labels are then too
    unlikely follows from how sure the classifier usually is of each class. Where all others of a class are of
    the image's own group, nobody can speak for its label, and it is not doubted.

    Args:
        pipeline: an unfitted classifier with probabilities.
        vectors: of the labelled images [k,d].
        labels: theirs [k], of each class three or more.
        groups: theirs [k], where known.

    Source:
        Northcutt, Jiang, Chuang 2021, "Confident Learning", JAIR 70, 1373–1411 (arXiv 1911.00068).
    """
    from cleanlab.filter import find_label_issues

    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    found = _by_others(pipeline, vectors, codes, groups)
    known = ~np.isnan(found[np.arange(len(codes)), codes])  # images whose class the others taught
    places, found = np.flatnonzero(known), np.nan_to_num(found)
    issues = find_label_issues(
        codes[known], found[known], filter_by="confident_learning",
        return_indices_ranked_by="self_confidence", n_jobs=1,
    ) if len(np.unique(codes[known])) > 1 else []
    best = found.argmax(axis=1)
    return [
        Doubt(int(row), str(names[best[row]]), float(found[row, best[row]]))
        for row in places[issues][:MOST] if best[row] != codes[row]
    ]


def _by_others(
    pipeline: Any, vectors: NDArray[np.float32], codes: NDArray[np.int64], groups: ArrayLike | None
) -> NDArray[np.float64]:
    """Probabilities [k,c] by classifiers that learned from other groups; NaN for a class these lack."""
    from sklearn.base import clone
    from sklearn.model_selection import StratifiedGroupKFold

    own = pd.Series(np.arange(len(codes)).astype(str))
    kin = own if groups is None else pd.Series(np.asarray(groups, dtype=object)).fillna("image " + own)
    found = np.full((len(codes), int(codes.max()) + 1), np.nan)
    folds = min(FOLDS, int(np.bincount(codes).min()), kin.nunique())
    if folds < 2:
        return found
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(vectors, codes, kin)
    for learned, judged in split:
        if len(judged) and len(np.unique(codes[learned])) > 1:
            machine = clone(pipeline).fit(vectors[learned], codes[learned])
            found[np.ix_(judged, machine.classes_)] = machine.predict_proba(vectors[judged])
    return found
