"""Answers: all that a predictor says of some images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """What a predictor says of ``b`` images; classes are in the order of ``Predictor.classes``.

    Attributes:
        labels: str ``[b]``: the classifier's own decision, or the most probable class where it was told how
            common the classes are.
        scores: ``[b, c]``, the classifier's own, the higher the likelier.
        probabilities: ``[b, c]``; ``None`` where there were too few labels for them.
        vectors: float32 ``[b, d]``, the encoder's.
        sets: whether each class cannot be ruled out ``[b, c]``; ``None`` where there were too few labels.
        novelty: ``[b]``: the share of known images that are less unusual, see
            :class:`~hundredfold.predict.novelty.Novelty`; ``None`` where too few are known.
    """

    labels: NDArray[np.str_]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    vectors: NDArray[np.float32]
    sets: NDArray[np.bool_] | None = None
    novelty: NDArray[np.float64] | None = None
