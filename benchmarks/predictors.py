"""A predictor of a scanned set as a user with few labels has it, for the benchmarks that judge predictors.

At most 100 labels a class, the other images of the training side without one, and the encoder as pre-training
begins with it (EfficientNet-Lite0 of ImageNet). It is fitted by ``hundredfold fit`` and kept in the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from label_efficiency.vectors import read_vectors, start_encoder
from numpy.typing import NDArray

import hundredfold
from hundredfold.data.splits import pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.learn.budgets import draw_labels
from hundredfold.predict.predictor import Predictor
from hundredfold.progress import bar
from hundredfold.rundir import RunDirectory

__all__ = ["Case", "case_of", "looked"]

LABELS, SEED, BATCH = 100, 0, 64
MODALITIES = {"busi_ultrasound": "ultrasound"}
Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    """A set: its run, its images with all their labels, their pieces, and the predictor."""

    name: str
    run: RunDirectory
    store: PixelStore
    images: ImageTable
    pieces: NDArray[np.int64]
    predictor: Predictor
    #: of the training side
    embeddings: Embeddings

    def pixels(self, ids: NDArray[np.object_]) -> NDArray[np.uint8]:
        """Images uint8 [n,s,s,3]."""
        return self.store[self.store.rows(ids)]

    def pieces_of(self, ids: NDArray[np.object_]) -> NDArray[np.int64]:
        """The piece (patient, or near-copies) that each image belongs to."""
        return self.pieces[pd.Index(self.images.ids).get_indexer(pd.Index(ids))]

    def unseen(self, count: int) -> ImageTable:
        """Random images of the test side, which nothing was fitted to."""
        ids = self.images.ids[(self.images.frame["split"] == "test").to_numpy(dtype=bool)]
        return self.images.by_id(np.random.default_rng(SEED).permutation(ids)[:count])


def case_of(folder: Path, weights: Path, cache: Path | None) -> Case:
    """Embed and fit what is not there yet; ``cache`` holds what ``label_efficiency/vectors.py`` wrote."""
    run = RunDirectory.open(folder)
    store, images = PixelStore.open(run.pixels), ImageTable.read(run / "images.parquet").usable
    if not (run / "embeddings" / "initial" / "embeddings.json").is_file():
        encoder = start_encoder(run, weights, MODALITIES.get(folder.name, "microscopy"))
        if not (run / "initial").is_dir():
            encoder.save(run / "initial")
        side = images.train
        known = {} if cache is None else read_vectors(cache / folder.name, "initial-plain")
        missing = np.array([name for name in side.ids if name not in known], dtype=object)
        if len(missing):
            known |= dict(zip(missing, looked(store[store.rows(missing)], encoder.encode), strict=True))
        facts = {**encoder.facts, "name": encoder.name, "hash": encoder.hash, "dimension": encoder.dimension}
        vectors = np.stack([known[name] for name in side.ids])
        Embeddings(
            side.ids, vectors, facts, side, pixel_size=store.size, pixels=store.recipe
        ).write(run / "embeddings" / "initial")
    if not (run / "predictor").is_dir():
        side = images.train
        chosen = side.ids[draw_labels(side.ids, side.frame["label"], LABELS, seed=SEED)]
        labels = side.by_id(chosen).frame[["id", "label"]].rename(columns={"id": "image"})
        labels.to_csv(run / "few.csv", index=False)
        hundredfold.fit(run.path, labels=run / "few.csv", out=run / "predictor")
    return Case(
        folder.name, run, store, images, pieces_of(images), Predictor.load(run / "predictor"),
        Embeddings.read(run / "embeddings" / "initial"),
    )


def looked(pixels: NDArray[np.uint8], look: Look) -> NDArray[np.float32]:
    """The vectors of images [n,s,s,3]."""
    parts = []
    with bar("Looking", len(pixels)) as progress:
        for start in range(0, len(pixels), BATCH):
            parts.append(look(pixels[start : start + BATCH]))
            progress.advance(len(parts[-1]))
    return np.concatenate(parts)
