"""What classifiers say of labels they have not seen: cross-validation by group within a draw's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hundredfold.learn.budgets import group_folds
from hundredfold.learn.refits import Refit, refitted
from hundredfold.learn.study import Study, Vectors
from hundredfold.learn.trial import Trial
from hundredfold.metrics import group_codes

__all__ = ["HeldOut", "held_out", "held_out_in", "held_out_parts"]

FOLDS = 5

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """What is said of the labels of one draw, each by a fit that has seen neither it nor its group.

    Attributes:
        codes: ``[m]`` their class numbers.
        predicted: ``[k, m]`` class numbers, a row a classifier; -1 for a label that could not be held out.
        scores: float32 ``[k, m, c]``; NaN there.
    """

    codes: Rows
    predicted: NDArray[np.int32]
    scores: NDArray[np.float32]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Which labels were held out ``[m]``."""
        return np.asarray(self.predicted[0] >= 0)


def held_out(
    trial: Trial, train: Mapping[str, Vectors], draws: Sequence[Rows], classifiers: Sequence[str], *,
    preset: str, seed: int, jobs: int, title: str,
) -> dict[tuple[str, int], HeldOut]:
    """Five further fits for each draw, to four fifths of its labels each: (encoder, draw) → what they say.

    Args:
        trial: the training side; test images have no part in this.
        train: encoder → vectors of the training side.
        draws: labelled rows of the training side.
        classifiers: on frozen vectors.
        preset: whose settings.
        seed: of the parts.
        jobs: processes.
        title: of the bar.
    """
    ids, codes, groups = trial.train.ids, trial.train_codes, trial.train_groups
    parts = [held_out_parts(ids[rows], codes[rows], groups[rows].tolist(), seed=seed) for rows in draws]
    refits = [
        Refit(encoder, number, rows[~part], vectors[rows[part]])
        for encoder, vectors in train.items() for number, rows in enumerate(draws) for part in parts[number]
    ]
    said = iter(refitted(refits, trial, train, classifiers, preset=preset, jobs=jobs, title=title))
    found = {}
    for encoder in train:
        for number, rows in enumerate(draws):
            predicted = np.full((len(classifiers), len(rows)), -1, dtype=np.int32)
            scores = np.full((*predicted.shape, len(trial.classes)), np.nan, dtype=np.float32)
            for part in parts[number]:
                outcome = next(said)
                predicted[:, part], scores[:, part] = outcome.predicted, outcome.scores
            found[encoder, number] = HeldOut(codes[rows], predicted, scores)
    return found


def held_out_in(
    study: Study, vectors: Mapping[str, tuple[Vectors, Vectors]], budget: int, *, jobs: int
) -> dict[tuple[str, int], HeldOut]:
    """The same for the draws of a study at one budget, by its classifiers on frozen vectors.

    A network would have to be trained five times more for every draw.

    Args:
        study: its draws and classifiers.
        vectors: encoder → vectors of the training side and of the test images, which have no part in this.
        budget: labels per class.
        jobs: processes.
    """
    if not study.shallow:
        return {}
    train = {name: sides[0] for name, sides in vectors.items()}
    draws = [study.draws[budget, repeat] for repeat in range(study.choices.repeats)]
    return held_out(
        study.trial, train, draws, study.shallow, preset=study.choices.preset, seed=study.seed, jobs=jobs,
        title="Cross-validating",
    )


def held_out_parts(
    ids: Sequence[str] | NDArray[np.object_], labels: Rows, groups: Sequence[object] | None, *, seed: int
) -> list[NDArray[np.bool_]]:
    """At most five parts ``[m]`` of few labels, each to be judged by a fit to the others.

    No group is in a part and out of it, and every class keeps a label to learn from: the groups of a class
    that would lose all of them stay in, and are judged in no part. So every fit knows the same classes, and
    its scores are of one kind.

    Args:
        ids: ``[m]`` of the labelled images, which decide the parts.
        labels: ``[m]`` class numbers.
        groups: ``[m]`` their groups, missing where unknown.
        seed: another seed, other parts.

    Examples:
        >>> parts = held_out_parts(list("abcdef"), np.array([0, 0, 0, 1, 1, 2]), None, seed=0)
        >>> sum(part.astype(int) for part in parts).tolist()
        [1, 1, 1, 1, 1, 0]
    """
    group = group_codes(groups, len(labels))
    most = max(len(np.unique(group[labels == number])) for number in np.unique(labels))
    if most < 2:
        return []
    folds = group_folds(ids, labels, groups, folds=min(FOLDS, most), seed=seed)
    parts = []
    for fold in range(min(FOLDS, most)):
        held = folds == fold
        for number in np.setdiff1d(labels, labels[~held]):
            held &= ~np.isin(group, group[labels == number])
        if held.any():
            parts.append(held)
    return parts
