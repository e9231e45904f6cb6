"""``auto``: the classifier that does best on held-out groups of the training labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hundredfold.learn.budgets import group_folds
from hundredfold.learn.draws import solve
from hundredfold.metrics import balanced_accuracy, group_codes
from hundredfold.progress import track

__all__ = ["choose_classifier"]

FOLDS = 5
CANDIDATES = ("svm", "knn", "logistic")  # those that take seconds


def choose_classifier(
    vectors: NDArray[np.float32], labels: Sequence[str] | NDArray[np.object_], *,
    ids: Sequence[str] | NDArray[np.object_], groups: Sequence[object] | None, seed: int = 0,
    names: Sequence[str] = CANDIDATES,
) -> tuple[str, dict[str, float]]:
    """The name of the best classifier, and the balanced accuracy of each, by cross-validation over groups.

    Of equal ones the first is taken. Where no two folds can be made (one group), the first
    is taken untested and no accuracy is given. The test images have no part in this.

    Args:
        vectors: ``[n, d]`` of the training images.
        labels: ``[n]`` their classes.
        ids: ``[n]`` their ids, which decide the folds.
        groups: ``[n]`` their groups, missing where unknown.
        seed: of the folds.
        names: classifiers to choose from.

    Examples:
        >>> x = np.repeat([[0.0], [5.0]], 6, axis=0) + np.linspace(0, 1, 12)[:, None]
        >>> choose_classifier(x, ["a"] * 6 + ["b"] * 6, ids=[*"abcdefghijkl"], groups=None)[0]
        'svm'
    """
    classes, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    count = min(FOLDS, _groups_of_the_largest_class(codes, groups))
    if count < 2 or len(names) < 2:
        return names[0], {}
    folds = group_folds(ids, codes, groups, folds=count, seed=seed)
    predicted = np.full((len(names), len(codes)), -1)
    for fold in track(range(count), "Choosing a classifier", unit="folds"):
        held = folds == fold
        if len(np.unique(codes[~held])) > 1 and held.any():
            outcome = solve(vectors[~held], codes[~held], vectors[held], names, len(classes))
            predicted[:, held] = outcome.predicted
    judged = predicted[0] >= 0
    if not judged.any():
        return names[0], {}
    accuracy = {
        name: balanced_accuracy(codes[judged], own[judged], len(classes))
        for name, own in zip(names, predicted, strict=True)
    }
    return max(accuracy, key=lambda name: accuracy[name]), accuracy


def _groups_of_the_largest_class(codes: NDArray[np.int64], groups: Sequence[object] | None) -> int:
    group = group_codes(groups, len(codes))
    return max(len(np.unique(group[codes == number])) for number in np.unique(codes))
