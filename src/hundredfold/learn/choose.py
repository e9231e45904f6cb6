"""Which encoder and classifier to use: those that do best on held-out labels of the training side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hundredfold.learn.held_out import HeldOut
from hundredfold.metrics import balanced_accuracy

__all__ = ["CANDIDATES", "Choice", "choose"]

#: What ``fit`` chooses among before a curve: classifiers on frozen vectors that take seconds.
CANDIDATES = ("svm", "knn", "logistic", "lda")


class Choice(NamedTuple):
    """A method, and what each came to.

    ``accuracy``: "encoder/classifier" → balanced accuracy on held-out labels, the mean over the draws; empty
    where none could be held out.
    """

    encoder: str
    classifier: str
    accuracy: dict[str, float]


def choose(held: Mapping[tuple[str, int], HeldOut], classifiers: Sequence[str]) -> Choice:
    """The best method by the mean balanced accuracy over the draws; of equal ones the first.

    Test images have no part in this, so that what they say of the chosen method afterwards is fair. Where no
    label can be held out (one label a class, one group), the first encoder and classifier are taken.

    Args:
        held: (encoder, draw) → what is said of the labels; see
            :func:`~hundredfold.learn.held_out.held_out`.
        classifiers: their names, in the order of the rows of ``held``.
    """
    encoders = list(dict.fromkeys(encoder for encoder, _ in held))
    accuracy = {}
    for encoder in encoders:
        draws = [one for (name, _), one in held.items() if name == encoder and one.judged.any()]
        for place, classifier in enumerate(classifiers):
            if draws:
                found = [_accuracy(one, place) for one in draws]
                accuracy[encoder, classifier] = float(np.mean(found))
    best = max(accuracy, key=accuracy.__getitem__) if accuracy else (encoders[0], classifiers[0])
    return Choice(*best, {"/".join(method): round(value, 4) for method, value in accuracy.items()})


def _accuracy(one: HeldOut, place: int) -> float:
    judged, classes = one.judged, one.scores.shape[2]
    return balanced_accuracy(one.codes[judged], one.predicted[place, judged], classes)
