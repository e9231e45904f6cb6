"""Is the encoder better than at the start? RankMe and kNN on the same plain images, nine times a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hundredfold.backbones.backbone import Backbone
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.neighbours import knn_balanced_accuracy
from hundredfold.ssl.monitor import rankme
from hundredfold.ssl.pool import Pool

__all__ = ["Watch", "is_watched", "sample_size"]

#: Measurements after the start.
PARTS = 8
#: Share of the run's work that the measurements may take, and the bounds of the sample that follows from it.
SHARE = 0.02
SMALLEST, LARGEST = 128, 1000
#: Labels that a kNN accuracy needs to mean anything.
FEW_LABELS = 20
BATCH = 64


@dataclass(frozen=True)
class Watch:
    """Measures a backbone on images that stay the same for the whole run, without augmentation.

    BatchNorm takes the backbone's running statistics. The encoder of a checkpoint has others, estimated anew
    from plain images, so its kNN accuracy may differ a little.

    Draws no random number and changes neither weights nor buffers, so that a watched run is bit-equal to one
    that is not.

    Args:
        pixels: the stored images.
        rows: the sample's rows in it; labelled images come first into the sample.
        labels: of the sample, ``None`` where there is none.
        pieces: of the sample: what shares a number (a patient, copies) casts no vote on each other.
        size: side in px at which the encoder will look at images.
    """

    pixels: PixelStore
    rows: NDArray[np.int64]
    labels: NDArray[Any]
    pieces: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, pool: Pool, *, size: int, count: int) -> Watch:
        """Draw the sample: up to ``count`` images, those with a training label first."""
        usable = np.zeros(len(pool), dtype=bool)
        usable[pool.labelled()] = True
        shuffled = np.random.default_rng(0).permutation(len(pool))
        chosen = np.sort(shuffled[np.argsort(~usable[shuffled], kind="stable")][:count])
        frame = pool.take(chosen, "id", "label", "group", "sha256", "cluster", "note")
        labels = frame["label"].astype(object).where(usable[chosen], None).to_numpy(dtype=object)
        return cls(pool.pixels, pool.rows[chosen], labels, pieces_of(ImageTable.of(frame)), size)

    def __call__(self, backbone: Backbone) -> dict[str, float]:
        """``rankme`` and ``watch_seconds``.

        From 20 labels on, of two classes or more, also ``knn_balanced_accuracy`` over ``knn_images``.
        """
        began = time.monotonic()
        encoder = Encoder(
            backbone, size=self.size, value_range=None, fit="pad", provenance={}, seen=frozenset()
        )
        parts = np.array_split(self.rows, max(1, len(self.rows) // BATCH))
        vectors = np.concatenate([encoder.encode(self.pixels[part]) for part in parts])  # [n, d]
        if not np.isfinite(vectors).all():  # the loss of the next step tells, with its images
            return {"watch_seconds": time.monotonic() - began}
        found = {"rankme": rankme(torch.from_numpy(vectors))}
        labelled = np.array([label is not None for label in self.labels])
        if labelled.sum() >= FEW_LABELS and len(set(self.labels[labelled])) > 1:
            found["knn_images"] = int(labelled.sum())
            found["knn_balanced_accuracy"] = knn_balanced_accuracy(
                vectors[labelled], self.labels[labelled], self.pieces[labelled]
            )
        return {**found, "watch_seconds": time.monotonic() - began}


def is_watched(step: int, steps: int) -> bool:
    """Whether the teacher is measured after this step: at an eighth, two eighths … of the run.

    Examples:
        >>> [step for step in range(80) if is_watched(step, 80)]
        [9, 19, 29, 39, 49, 59, 69, 79]
    """
    return (step + 1) * PARTS // steps > step * PARTS // steps


def sample_size(
    steps: int, batch_size: int, *, image_size: int, local_size: int, local_crops: int, watched_size: int
) -> int:
    """Images a measurement may take: all of them together 2 % of the run's work, within 128 and 1,000.

    Work is counted in forward passes of a global crop: a backward pass as two of them, pixels in proportion.

    Examples:
        >>> shapes = {"image_size": 80, "local_size": 40, "local_crops": 4, "watched_size": 112}
        >>> sample_size(300, 64, **shapes), sample_size(10_000, 64, **shapes), sample_size(10, 64, **shapes)
        (239, 1000, 128)
    """
    an_image = 2 + 3 * (2 + local_crops * (local_size / image_size) ** 2)
    allowed = SHARE * steps * batch_size * an_image / (1 + PARTS)
    return int(np.clip(allowed / (watched_size / image_size) ** 2, SMALLEST, LARGEST))
