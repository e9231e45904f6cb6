"""What a classifier of the labels so far would call each image, refreshed while people label."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hundredfold.annotate.background import Background
from hundredfold.annotate.events import Proposal

__all__ = ["CLASSIFIER", "Proposer", "guess"]

#: The classifier whose probabilities come nearest to frequencies without a calibration.
CLASSIFIER = "logistic"
#: Labels of a class from which on it is learned, and new labels after which all is learned anew.
LEAST_OF_CLASS, EVERY = 3, 20


class Proposer:
    """Proposals of a classifier that learned from the labels given so far, on the vectors of the run.

    It learns in another process. Images that results are measured on are never learned from.

    Args:
        ids: of the images [n].
        vectors: theirs [n,d].
        encoder: hash of what made them.
        held_out: images never to be learned from.
        labels: gives image → class of what is labelled now.
        background: where it learns.
    """

    def __init__(
        self, ids: Sequence[str], vectors: NDArray[np.float32], encoder: str, *, held_out: Collection[str],
        labels: Callable[[], Mapping[str, str]], background: Background,
    ) -> None:
        self._rows = {str(image): row for row, image in enumerate(ids)}
        self._vectors, self._encoder, self._held_out = vectors, encoder, frozenset(held_out)
        self._labels, self._background = labels, background
        self._found: tuple[str, list[str], NDArray[np.float32]] | None = None
        self._learned = 0
        self._busy = False
        self._lock = threading.Lock()

    def __call__(self, image: str) -> Proposal | None:
        """The proposal for an image; ``None`` while there are too few labels."""
        found, row = self._found, self._rows.get(image)
        if found is None or row is None:
            return None
        model, classes, probabilities = found
        best = int(probabilities[row].argmax())
        return Proposal(classes[best], float(probabilities[row, best]), model)

    def refresh(self) -> None:
        """Learn anew if enough labels came since; returns at once."""
        with self._lock:
            if self._busy:
                return
            labels = self._usable()
            if abs(len(labels) - self._learned) < (EVERY if self._learned else 1):
                return
            self._busy, self._learned = True, len(labels)
        images = sorted(labels)
        told = [labels[image] for image in images]
        rows = np.array([self._rows[image] for image in images])
        facts = json.dumps([self._encoder, CLASSIFIER, images, told]).encode()
        model = hashlib.sha256(facts).hexdigest()[:16]
        future = self._background.submit(guess, self._vectors, rows, told)
        future.add_done_callback(lambda done: self._take(model, done))

    def _usable(self) -> dict[str, str]:
        """The labels to learn from: of classes with enough of them, if there are two such."""
        labels = {
            image: label for image, label in self._labels().items()
            if image in self._rows and image not in self._held_out
        }
        counts = Counter(labels.values())
        enough = {name for name, count in counts.items() if count >= LEAST_OF_CLASS}
        return {image: label for image, label in labels.items() if label in enough} if len(enough) > 1 else {}

    def _take(self, model: str, done: Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None:
            classes, probabilities = done.result()
            self._found = model, classes, probabilities
        self._busy = False


def guess(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], labels: Sequence[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Learn from the labels [k] of some rows, and give the classes and their probabilities [n,c] for all.

    Examples:
        >>> classes, found = guess(np.eye(4, dtype=np.float32)[[0, 1, 0, 1, 1]], np.arange(4), [*"abab"])
        >>> classes, found.shape, classes[found[4].argmax()]
        (['a', 'b'], (5, 2), 'b')
    """
    from hundredfold.learn.classifiers import make_pipeline

    classes = sorted(set(labels))
    pipeline = make_pipeline(
        CLASSIFIER, samples=len(rows), features=vectors.shape[1], classes=len(classes)
    )
    pipeline.fit(vectors[rows], np.asarray(labels))
    return [str(name) for name in pipeline.classes_], pipeline.predict_proba(vectors).astype(np.float32)
