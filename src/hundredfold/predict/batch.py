"""A batch of new images against what a predictor remembers: is it like that, and if not, in what way?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from hundredfold.errors import ModelFileError
from hundredfold.predict.answers import Answers
from hundredfold.predict.drift import DRAWS, Drift, drift
from hundredfold.predict.looks import looks_of_images
from hundredfold.predict.memory import LOOKED_AT, Memory, whole_pieces
from hundredfold.predict.predictor import Predictor
from hundredfold.predict.shifts import SHIFTS
from hundredfold.progress import bar

__all__ = ["CLASSES", "IMAGES", "LOOKS_KIND", "Batch", "Known", "compared"]

#: Kinds of numbers: the encoder's with the looks, the looks alone, which class is predicted.
IMAGES, LOOKS_KIND, CLASSES = "images", "looks", "classes"
#: Most principal components of the vectors; one for four patients at most.
COMPONENTS, PATIENTS_EACH = 128, 4
#: Images that are shifted to see where a shift leads, and those that go through the encoder at once.
SHIFTED, AT_ONCE = 100, 64
#: A shift that moves images by less than this share of their spread does nothing to them: grey has no hue.
NOTHING = 1e-3


@dataclass(frozen=True)
class Batch:
    """New images and how they compare: ``drift`` is ``None`` where too few patients are known."""

    answers: Answers
    drift: Drift | None
    known: Known


class Known:
    """The known images in the numbers that batches are compared in.

    Args:
        predictor: remembers them.
        seed: of the choice where there are many.

    Raises:
        ModelFileError: it remembers nothing.
    """

    def __init__(self, predictor: Predictor, *, seed: int = 0) -> None:
        if predictor.memory is None:
            raise ModelFileError(
                "the predictor does not remember what it learned from",
                remedy="Fit it again with this version.",
            )
        self.predictor, memory = predictor, predictor.memory
        rows = _rows(memory, seed)
        self.ids = memory.ids[rows]
        self.pieces = np.unique(memory.pieces[rows], return_inverse=True)[1].astype(np.int64)
        self.groups = len({name for name in memory.groups[rows] if name is not None})
        self.unlabelled = int((~memory.labelled[rows]).sum())
        self.looks = None if memory.looks is None else memory.looks[rows]
        vectors = memory.vectors[rows]
        parts = max(1, min(COMPONENTS, int(self.pieces.max()) // PATIENTS_EACH, *vectors.shape))
        self._basis = PCA(parts, svd_solver="randomized", random_state=seed).fit(vectors)
        self.numbers = self.of(vectors, self.looks, _said(predictor, memory, rows))

    def __len__(self) -> int:
        return len(self.pieces)

    def of(
        self, vectors: NDArray[np.float32], looks: NDArray[np.float32] | None,
        scores: NDArray[np.floating[Any]],
    ) -> dict[str, NDArray[np.float64]]:
        """Kind → numbers ``[n, p]`` of images with these vectors, looks and scores of the classes."""
        found = {IMAGES: self.images(vectors, looks)}
        if self.looks is not None and looks is not None:
            found[LOOKS_KIND] = looks.astype(np.float64)
        found[CLASSES] = np.eye(scores.shape[1])[scores.argmax(axis=1)]
        return found

    def images(
        self, vectors: NDArray[np.float32], looks: NDArray[np.float32] | None
    ) -> NDArray[np.float64]:
        """The numbers of the first kind ``[n, p]``."""
        features = self._basis.transform(vectors).astype(np.float64)
        return features if self.looks is None or looks is None else np.hstack([features, looks])

    def seen(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The same of pixels uint8 ``[n, s, s, 3]``."""
        vectors = self.predictor.encoder.encode(pixels)
        return self.images(vectors, None if self.looks is None else looks_of_images(pixels))

    def shifts(
        self, pixels: NDArray[np.uint8], numbers: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Where each shift moves such images, in :attr:`images`; those that do nothing to them are left out.

        Args:
            pixels: ``[n, s, s, 3]``.
            numbers: theirs, ``[n, p]``.
        """
        spread = np.maximum(self.numbers[IMAGES].std(axis=0), 1e-9)
        found = {}
        with bar("Looking for shifts", len(SHIFTS)) as progress:
            for name, shift in SHIFTS.items():
                changed = self.seen(np.stack([shift.change(one) for one in pixels]))
                moved = (changed - numbers).mean(axis=0)
                if np.abs(moved / spread).max() > NOTHING:
                    found[name] = moved
                progress.advance(1)
        return found


def compared(
    known: Known, pixels: NDArray[np.uint8], groups: NDArray[np.int64] | None = None, *,
    draws: int = DRAWS, seed: int = 0,
) -> Batch:
    """Compare new images with the known ones.

    Args:
        known: those.
        pixels: the new images uint8 ``[n, s, s, 3]``, at the predictor's size.
        groups: ``[n]`` which of them share a patient, where that is known.
        draws: clean batches that they are compared with.
        seed: of every random choice.
    """
    answers = _answered(known.predictor, pixels)
    looks = None if known.looks is None else looks_of_images(pixels)
    new = known.of(answers.vectors, looks, answers.scores)
    some = np.random.default_rng(seed).permutation(len(pixels))[:SHIFTED]
    moves: Mapping[str, Mapping[str, NDArray[np.float64]]] = {
        IMAGES: known.shifts(pixels[some], new[IMAGES][some])
    }
    found = drift(known.numbers, known.pieces, new, groups, shifts=moves, draws=draws, seed=seed)
    return Batch(answers, found, known)


def _rows(memory: Memory, seed: int) -> NDArray[np.int64]:
    """Those whose looks are remembered; where no pixels were at hand, as many."""
    if memory.looks is not None:
        return np.flatnonzero(~np.isnan(memory.looks).any(axis=1))
    return whole_pieces(memory.pieces, LOOKED_AT, seed=seed)


def _said(predictor: Predictor, memory: Memory, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores of the classes: of labelled images those of fits that had not seen them, where there are any."""
    scores = memory.scores[rows].copy()
    missing = np.isnan(scores).any(axis=1)
    if missing.any():
        scores[missing] = predictor.judge(memory.vectors[rows][missing]).scores
    return scores


def _answered(predictor: Predictor, pixels: NDArray[np.uint8]) -> Answers:
    vectors = []
    with bar("Looking at the new images", len(pixels)) as progress:
        for start in range(0, len(pixels), AT_ONCE):
            vectors.append(predictor.encoder.encode(pixels[start : start + AT_ONCE]))
            progress.advance(len(vectors[-1]))
    return predictor.judge(np.concatenate(vectors))
