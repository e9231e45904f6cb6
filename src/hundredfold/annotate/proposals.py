"""What a classifier of the labels so far would call each image, refreshed while people label."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hundredfold.annotate.background import Background, changed
from hundredfold.annotate.doubts import doubtful
from hundredfold.annotate.events import Proposal

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["CLASSIFIER", "Guess", "Proposer", "Suspect", "guess"]

#: The classifier whose probabilities come nearest to frequencies without a calibration.
CLASSIFIER = "logistic"
#: Labels of a class from which on it is learned, and new labels after which all is learned anew.
LEAST_OF_CLASS, EVERY = 3, 20
#: Standard deviations from the mean that a feature may say something with.
MOST_DEVIATIONS = 5.0


class Suspect(NamedTuple):
    """An image whose label is probably wrong.

    Args:
        image: its id.
        label: that it had when the classifier learned.
        rather: what the classifier would call it, knowing all labels but those of its patient and copies.
    """

    image: str
    label: str
    rather: Proposal


@dataclass(frozen=True)
class Guess:
    """What a classifier says of all images.

    Args:
        model: hash of the encoder, the classifier and the labels it learned from.
        classes: that it knows.
        best: number of the likeliest class of each image [n].
        probability: of that class [n].
        suspects: (image, label, what it would rather be called, how likely), the worst first.
    """

    model: str
    classes: list[str]
    best: NDArray[np.int16]
    probability: NDArray[np.float32]
    suspects: list[tuple[str, str, str, float]]


class Proposer:
    """Proposals of a classifier that learned from the labels given so far, on the vectors of the run.

    It learns in another process. Images that results are measured on are never learned from.

    Args:
        folder: of the embeddings.
        ids: of their images, in their order.
        held_out: images never to be learned from.
        labels: gives image → class of what is labelled now.
        background: where it learns.
    """

    def __init__(
        self, folder: Path, ids: Collection[str], *, held_out: Collection[str],
        labels: Callable[[], Mapping[str, str]], background: Background,
    ) -> None:
        self._folder, self._held_out = folder, frozenset(held_out)
        self._rows = {str(image): row for row, image in enumerate(ids)}
        self._labels, self._background = labels, background
        self._found: Guess | None = None
        self._from: dict[str, str] = {}  # what it was learned from, or is being
        self._busy = False
        self._lock = threading.Lock()

    def __call__(self, image: str) -> Proposal | None:
        """The proposal for an image; ``None`` while there are too few labels, and of one it learned from."""
        found, row = self._found, self._rows.get(image)
        if found is None or row is None or image in self._from:
            return None
        return Proposal(found.classes[found.best[row]], float(found.probability[row]), found.model)

    def suspects(self) -> list[Suspect]:
        """Images whose label the classifier finds hard to believe, the worst first."""
        found = self._found
        return [] if found is None else [
            Suspect(image, label, Proposal(rather, probability, found.model))
            for image, label, rather, probability in found.suspects
        ]

    def refresh(self) -> None:
        """Learn anew if enough labels came since; returns at once."""
        with self._lock:
            if self._busy:
                return
            labels = self._usable()
            if changed(labels, self._from) < (EVERY if self._from else 1):
                return
            self._busy, self._from = True, labels
        self._background.submit(guess, self._folder, labels).add_done_callback(self._take)

    def _usable(self) -> dict[str, str]:
        """The labels to learn from: of classes with enough of them, if there are two such."""
        labels = {
            image: label for image, label in self._labels().items()
            if image in self._rows and image not in self._held_out
        }
        counts = Counter(labels.values())
        enough = {name for name, count in counts.items() if count >= LEAST_OF_CLASS}
        return {image: label for image, label in labels.items() if label in enough} if len(enough) > 1 else {}

    def _take(self, done: Future[Guess]) -> None:
        good = not done.cancelled() and done.exception() is None
        if good:
            self._found = done.result()
        self._busy = False
        if good:
            self.refresh()  # labels may have come meanwhile


def guess(folder: Path, labels: Mapping[str, str]) -> Guess:
    """Learn from some labels, judge all images, and look for labels that are hard to believe.

    Called in a process of its own, which reads the vectors itself.

    Args:
        folder: of the embeddings.
        labels: image → class, of each class three or more.
    """
    from sklearn.base import clone

    from hundredfold.data.splits import pieces_of
    from hundredfold.encode.embed import Embeddings

    embeddings = Embeddings.read(folder)
    vectors, ids = embeddings.vectors, embeddings.ids.astype(str)
    rows = np.flatnonzero(np.isin(ids, list(labels)))
    told = np.array([labels[image] for image in ids[rows]])
    pipeline = _steady(samples=len(rows), features=vectors.shape[1], classes=len(set(told)))
    doubts = doubtful(clone(pipeline), vectors[rows], told, pieces_of(embeddings.images)[rows])
    found = pipeline.fit(vectors[rows], told).predict_proba(vectors)
    facts = json.dumps([embeddings.encoder.get("hash"), CLASSIFIER, sorted(labels.items())])
    return Guess(
        hashlib.sha256(facts.encode()).hexdigest()[:16],
        [str(name) for name in pipeline.classes_], found.argmax(axis=1).astype(np.int16),
        found.max(axis=1).astype(np.float32),
        [(str(ids[rows[d.row]]), str(told[d.row]), d.label, d.probability) for d in doubts],
    )


def _steady(*, samples: int, features: int, classes: int) -> Pipeline:
    """The package's pipeline, but no feature of an image counts for more than ``MOST_DEVIATIONS``.

    The power that makes a feature of few images Gaussian may throw one of the others far out, and the
    classifier is then certain of a class for no reason that anybody sees.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from hundredfold.learn.classifiers import make_pipeline

    power, *rest = make_pipeline(CLASSIFIER, samples=samples, features=features, classes=classes).steps
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -MOST_DEVIATIONS, "a_max": MOST_DEVIATIONS})
    return Pipeline([power, ("clip", clip), *rest])
