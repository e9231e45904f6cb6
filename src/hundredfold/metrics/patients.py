"""From images to patients: one answer a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hundredfold.metrics.averages import Floats, Integers

__all__ = ["Patients"]


@dataclass(frozen=True)
class Patients:
    """What is said of p patients (groups) whose images all bear one label.

    Attributes:
        group: ``[p]`` their group numbers.
        truth: ``[p]`` their classes.
        scores: ``[r, p, c]`` the mean over a patient's images.
        by_mean: ``[r, p]`` the class with the highest mean score.
        by_vote: ``[r, p]`` the class that most of the images are taken for; of equal ones that with the
            higher mean score.
        images: ``[n]`` whether an image is of one of these patients.
        mixed: how many groups have images of several classes, and are left out.
    """

    group: Integers
    truth: Integers
    scores: Floats
    by_mean: Integers
    by_vote: Integers
    images: NDArray[np.bool_]
    mixed: int

    @classmethod
    def of(cls, truth: ArrayLike, predicted: ArrayLike, scores: ArrayLike, group: ArrayLike) -> Self:
        """Gather the images of each group.

        Args:
            truth: ``[n]`` class numbers.
            predicted: ``[r, n]`` class numbers.
            scores: ``[r, n, c]``.
            group: ``[n]`` group numbers; -1 for an image whose patient is not known, which is left out.

        Examples:
            >>> scores = [[[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]]]
            >>> found = Patients.of([1, 1, 1], [[0, 0, 1]], scores, [0, 0, 0])
            >>> found.by_vote.tolist(), found.by_mean.tolist()
            ([[0]], [[1]])
        """
        truth, group, scores = np.asarray(truth), np.asarray(group), np.asarray(scores, dtype=np.float64)
        known = group >= 0
        pairs = np.unique(np.stack([group[known], truth[known]]), axis=1)
        names, kinds = np.unique(pairs[0], return_counts=True)
        pure = names[kinds == 1]
        images = np.isin(group, pure)
        place = np.searchsorted(pure, group[images])  # [m] the patient of each image that is kept
        sizes = np.bincount(place, minlength=len(pure))
        mean = np.stack([_summed(row[images], place, len(pure)) for row in scores]) / sizes[:, None]
        answers = np.eye(scores.shape[2])[np.asarray(predicted)[:, images]]
        votes = np.stack([_summed(row, place, len(pure)) for row in answers])
        leading = votes == votes.max(axis=2, keepdims=True)
        by_vote = np.where(leading, mean, -np.inf).argmax(axis=2)
        classes = pairs[1][np.isin(pairs[0], pure)]
        return cls(pure, classes, mean, mean.argmax(axis=2), by_vote, images, int((kinds > 1).sum()))


def _summed(values: Floats, place: Integers, count: int) -> Floats:
    """Rows ``[m, c]`` summed by their patient: ``[p, c]``."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, place, values)
    return total
