"""One draw of labels: transform and classifiers, fitted once, and what they say of the test images."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import has_fit_parameter

from hundredfold.files import atomic_write
from hundredfold.learn.classifiers import beside_more, judge, make_classifier
from hundredfold.learn.processes import in_processes
from hundredfold.learn.transforms import feature_transform
from hundredfold.process import one_thread

__all__ = ["Outcome", "Task", "fit_and_tell", "for_every_class", "outcomes", "solve"]

#: scikit-learn's doubt whether 21 labels of 21 classes are classes at all; they are.
MANY_CLASSES = "number of unique classes is greater than 50% of the number of samples"

Vectors: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What the classifiers fitted to one draw say of the test images.

    Attributes:
        predicted: ``[k, n]`` class numbers, a row a classifier.
        scores: float32 ``[k, n, c]``; see :func:`for_every_class` for a class that was not drawn from.
        unconverged: ``[k]`` whether the optimiser stopped before the end.
        rate: the learning rate that a network kept; NaN for one without labels to choose it by, and for
            classifiers on vectors.
    """

    predicted: NDArray[np.int32]
    scores: NDArray[np.float32]
    unconverged: NDArray[np.bool_]
    rate: float = nan

    def write(self, path: Path) -> None:
        """Write the arrays, whole or not at all."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file, predicted=self.predicted, scores=self.scores, unconverged=self.unconverged,
                rate=np.float64(self.rate),
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            rate = float(stored["rate"]) if "rate" in stored else nan  # one of before has none
            return cls(stored["predicted"], stored["scores"], stored["unconverged"], rate)


@dataclass(frozen=True)
class Task:
    """The labelled rows of one draw, for one encoder.

    Attributes:
        encoder: its name.
        rows: the labelled rows of the training side, ascending.
        classifiers: the names of those that are fitted to them together.
        key: equal if and only if everything that the outcome depends on is equal.
    """

    encoder: str
    rows: NDArray[np.int64]
    classifiers: tuple[str, ...]
    key: str

    @classmethod
    def of(
        cls, encoder: str, rows: NDArray[np.int64], classifiers: Sequence[str], *facts: object
    ) -> Self:
        """A task whose key covers all this and ``facts``."""
        text = "\0".join(map(str, (encoder, *classifiers, *facts, "")))
        key = hashlib.sha256(text.encode() + rows.astype("<i8").tobytes()).hexdigest()
        return cls(encoder, rows, tuple(classifiers), key)


def solve(
    train: NDArray[np.float32], labels: NDArray[np.int64], test: NDArray[np.float32],
    classifiers: Sequence[str], classes: int, *, groups: NDArray[np.int64] | None = None,
    preset: str = "default",
) -> Outcome:
    """Fit the transform once and each classifier to its result, and judge the test images.

    Args:
        train: ``[m, d]`` vectors of the labelled images.
        labels: ``[m]`` their class numbers.
        test: ``[n, d]`` vectors of the test images.
        classifiers: their names.
        classes: c, the number of classes.
        groups: ``[m]`` group numbers, for a classifier that holds some of its labels out.
        preset: whose settings; see :func:`~hundredfold.learn.classifiers.make_classifier`.

    Examples:
        >>> train, test = np.array([[0.0], [1.0]], dtype=np.float32), np.array([[0.2]], dtype=np.float32)
        >>> solve(train, np.array([0, 1]), test, ["svm", "knn"], classes=2).predicted.tolist()
        [[0], [0]]
    """
    transform = feature_transform(*train.shape)
    fit_and_tell(transform, train, labels)
    known = transform.transform(train)
    asked = transform.transform(test)
    predicted = np.empty((len(classifiers), len(test)), dtype=np.int32)
    scores = np.empty((len(classifiers), len(test), classes), dtype=np.float32)
    unconverged = np.zeros(len(classifiers), dtype=bool)
    for place, name in enumerate(classifiers):
        present = len(np.unique(labels))
        classifier = make_classifier(name, samples=len(train), classes=present, preset=preset)
        more = {"groups": groups} if has_fit_parameter(classifier, "groups") else {}
        unconverged[place] = not fit_and_tell(classifier, known, labels, **more)
        predicted[place], own = judge(classifier, asked)
        if present == 2 < classes:
            own = beside_more(classifier, own)
        scores[place] = for_every_class(own, classifier.classes_, classes)
    return Outcome(predicted, scores, unconverged)


def for_every_class(own: NDArray[Any], known: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Scores ``[n, c]`` from those of the classes that a classifier knows.

    One that it does not know has the same score for all images, which is above none that it gave: 0, or
    less where there are values below 0.

    Args:
        own: ``[n, k]``.
        known: ``[k]`` the class numbers of the columns.
        classes: c.

    Examples:
        >>> for_every_class(np.array([[-3.0, -1.0]]), np.array([0, 2]), 3).tolist()
        [[-3.0, -3.0, -1.0]]
    """
    scores = np.full((len(own), classes), np.min(own, initial=0.0), dtype=np.float32)
    scores[:, known] = own
    return scores


def fit_and_tell(classifier: Any, features: ArrayLike, labels: ArrayLike, **more: Any) -> bool:
    """Fit on one thread, and tell whether the optimiser came to its end; other warnings are passed on.

    Examples:
        >>> from sklearn.linear_model import LogisticRegression
        >>> fit_and_tell(LogisticRegression(max_iter=1), [[0.0], [1.0], [5.0]], [0, 1, 0])
        False
    """
    # PCA divides by the whole variance, which is none where all vectors are equal.
    with warnings.catch_warnings(record=True) as caught, np.errstate(invalid="ignore"), one_thread():
        warnings.simplefilter("always")
        classifier.fit(features, labels, **more)
    converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            converged = False
        elif MANY_CLASSES not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return converged


def outcomes(
    tasks: Sequence[Task], vectors: Mapping[str, tuple[Vectors, Vectors]],
    labels: NDArray[np.int64], classes: int, *, groups: NDArray[np.int64], preset: str, jobs: int,
) -> Iterator[tuple[str, Outcome]]:
    """Solve the tasks, see :func:`in_processes`; yields keys and outcomes as they come.

    Args:
        tasks: the draws, each solved once.
        vectors: encoder → vectors of the training side and of the test images.
        labels: class numbers of the training side.
        classes: the number of classes.
        groups: group numbers of the training side.
        preset: whose settings.
        jobs: processes; 1 works in this one.
    """
    tests = {name: test.shape for name, (_, test) in vectors.items()}  # [n, d]
    numbers = sum((len(task.rows) + tests[task.encoder][0]) * tests[task.encoder][1] for task in tasks)
    solve_one = partial(_solve_task, labels=labels, classes=classes, groups=groups, preset=preset)
    # The largest first: else one process would end alone with it.
    ordered = sorted(tasks, key=lambda task: -len(task.rows))
    work = ((task.key, partial(solve_one, task, vectors[task.encoder])) for task in ordered)
    yield from in_processes(work, count=len(tasks), numbers=numbers, jobs=jobs)


def _solve_task(
    task: Task, sides: tuple[Vectors, Vectors], *, labels: NDArray[np.int64], classes: int,
    groups: NDArray[np.int64], preset: str,
) -> Outcome:
    # Whole arrays come here, and are cut here: the processes share them, each once for all tasks.
    (train, test), rows = sides, task.rows
    return solve(
        train[rows], labels[rows], test, task.classifiers, classes, groups=groups[rows], preset=preset
    )
