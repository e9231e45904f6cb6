"""Operating points, chosen on held-out parts of the training labels and never on test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.learn.budgets import group_folds
from hundredfold.learn.refits import Refit, refitted
from hundredfold.learn.study import Study, Vectors
from hundredfold.metrics import group_codes, threshold

__all__ = ["COLUMNS", "held_out_parts", "thresholds"]

COLUMNS = (
    "encoder", "classifier", "n_per_class", "repeat", "class", "aim", "target", "threshold",
    "sensitivity", "specificity", "n_held_out",
)
FOLDS = 5

Rows = NDArray[np.int64]


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


@dataclass(frozen=True)
class _Draw:
    """One draw's labels, and the parts in which they are held out."""

    repeat: int
    rows: Rows
    parts: list[NDArray[np.bool_]]


def thresholds(study: Study, train: Mapping[str, Vectors], *, jobs: int) -> pd.DataFrame:
    """The threshold of each class, for every encoder, classifier and draw of one number of labels.

    Five further fits for each draw, to four fifths of its labels each, give every label a score from a
    classifier that has not seen it, nor its group. On these the threshold just reaches the target.

    Args:
        study: the draws, and an operating point among its choices.
        train: encoder → vectors of the training side.
        jobs: processes.

    Returns:
        the columns ``COLUMNS``: ``sensitivity`` and ``specificity`` are those of the held-out labels, which
        are as many of each class as were drawn; ``n_held_out`` counts those of the class. ``threshold`` is
        missing where none could be held out.
    """
    trial, budget, names = study.trial, study.headline, study.shallow
    held = [_held_out(study, repeat) for repeat in range(study.choices.repeats)]
    refits = [
        Refit(encoder, draw.repeat, draw.rows[~part], vectors[draw.rows[part]])
        for encoder, vectors in train.items() for draw in held for part in draw.parts
    ]
    said = iter(refitted(refits, trial, train, names, jobs=jobs, title="Choosing thresholds"))
    rows: list[dict[str, Any]] = []
    for encoder in train:
        for draw in held:
            scores = np.full((len(names), len(draw.rows), len(trial.classes)), np.nan, np.float32)
            for part in draw.parts:
                scores[:, part] = next(said).scores
            place = {"encoder": encoder, "n_per_class": budget, "repeat": draw.repeat}
            for name, own in zip(names, scores, strict=True):
                rows += [place | {"classifier": name} | row for row in _of_draw(study, draw, own)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _held_out(study: Study, repeat: int) -> _Draw:
    trial, rows = study.trial, study.draws[study.headline, repeat]
    groups = trial.train.frame["group"].iloc[rows].tolist()
    parts = held_out_parts(trial.train.ids[rows], trial.train_codes[rows], groups, seed=study.seed)
    return _Draw(repeat, rows, parts)


def _of_draw(study: Study, draw: _Draw, scores: NDArray[np.float32]) -> Iterator[dict[str, Any]]:
    """The threshold of each class from the held-out scores ``[m, c]`` of one classifier."""
    if (point := study.choices.operating_point) is None:
        return
    codes = study.trial.train_codes[draw.rows]
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
