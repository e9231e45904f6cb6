"""Balanced accuracy of the SVM at 100 labels per class, for weights of any origin, by our protocol.

The weights of another program are looked at in four ways, so that none is held against it: as it left them
(images at the size of its crops), by our encoder's protocol (our size, vectors averaged over the turned and
mirrored images), so with BatchNorm's statistics taken anew from plain training images, and so with the means
of the last stages' maps, which our encoder takes in, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import hundredfold
from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.protocol import resize
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.adapt import take_statistics
from hundredfold.ssl.device import default_image_size
from hundredfold.ssl.pretraining import encoder_size, encoder_stages, encoder_symmetry

__all__ = ["WAYS", "crop_sizes", "encoder_of", "score"]

LABELS, DRAWS = 100, 5
WAYS = (
    "as it is", "our protocol", "our protocol, statistics re-estimated", "our protocol, with the last stages",
)
ESTIMATED, BATCH = 2048, 64


def crop_sizes(split: RunDirectory) -> tuple[int, int]:
    """Sides in px of the global and the local crops: our default for these images on a CPU."""
    size = default_image_size(PixelStore.open(split.pixels).size, "cpu")
    return size, size // 2


def encoder_of(
    weights: Path, way: str, split: RunDirectory, backbone_name: str, start: Path, *,
    modality: str = "microscopy",
) -> Encoder:
    """The encoder that ``weights`` make, looked at in one of the ``WAYS``.

    Args:
        weights: timm's names; a file without a normalisation is given that of ``start``.
        way: one of ``WAYS``.
        split: the scanned run.
        backbone_name: timm's.
        start: the start weights.
        modality: by which the views follow that a vector is the mean of.
    """
    backbone = create_backbone(backbone_name, weights=str(start))
    if weights != start:
        other = create_backbone(backbone_name, weights=str(weights))
        backbone.model.load_state_dict(other.model.state_dict())
    store, pool = PixelStore.open(split.pixels), ImageTable.read(split / "images.parquet").pool
    size = crop_sizes(split)[0]
    ours = way != WAYS[0]
    if ours:
        size = encoder_size(size, store.size)
    if way == WAYS[2]:
        take_statistics(backbone, _plain(store, pool, size))
    settings = PretrainSettings(images=Path(), out=Path(), modality=modality)
    return Encoder(
        backbone, size=size, value_range=store.value_range, fit=store.fit, provenance={"way": way},
        seen=frozenset() if weights == start else frozenset(pool.frame["sha256"]),
        symmetry=encoder_symmetry(settings) if ours else "none",
        stages=encoder_stages(settings, backbone) if way == WAYS[3] else 0,
    )


def score(encoder: Path, split: RunDirectory, labels: Path, out: Path) -> list[float]:
    """Balanced accuracy on the test images, a number a draw; what was done before is kept."""
    hundredfold.embed(split.path, encoder=str(encoder), out=out, resume=True)
    hundredfold.curve(
        out, labels=labels, out=out, budgets=(LABELS,), classifiers=("svm",), preset="paper",
        repeats=DRAWS, bootstrap=0, resume=True,
    )
    rows = pd.read_parquet(out / "curve.parquet")
    rows = rows[(rows["metric"] == "balanced_accuracy") & rows["class"].isna()].sort_values("repeat")
    return [round(float(value), 5) for value in rows["value"]]


def _plain(store: PixelStore, pool: ImageTable, size: int) -> Iterator[NDArray[np.uint8]]:
    chosen = np.random.default_rng(0).permutation(pool.ids)[:ESTIMATED]
    for part in np.array_split(store.rows(chosen), max(1, len(chosen) // BATCH)):
        yield resize(store[part], size)
