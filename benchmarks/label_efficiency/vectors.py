"""The vectors that ``beyond.py`` compares: the same images, looked at in several ways.

::

    python benchmarks/label_efficiency/vectors.py RUN --weights lite0.safetensors --out DIR

RUN was scanned, and perhaps pre-trained. Its test images are left alone. The encoder before pre-training
(``initial``), that after it (``pretrained``) and ``thumbnail`` look at the whole training side. The two with
a network also look at the images that ``beyond.py`` takes for labelled, at most 160 a class, in every one of
the ``WAYS``: with BatchNorm's statistics taken anew as the encoder always looks, and to save time with two
views in place of eight at other sizes, at the centre, and at the maps of the last stages. Each way is written
to ``DIR/ENCODER-WAY.npz``, and one that is there is kept.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainChoices
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder
from hundredfold.encode.opening import load_encoder
from hundredfold.encode.protocol import EncoderLike, resize
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.learn.budgets import draw_labels
from hundredfold.progress import bar, say
from hundredfold.rundir import RunDirectory
from hundredfold.ssl.adapt import take_statistics
from hundredfold.ssl.device import default_image_size
from hundredfold.ssl.pretraining import encoder_size, encoder_symmetry

__all__ = ["LABELLED", "WAYS", "labelled", "read_vectors"]

BACKBONE = "efficientnet_lite0"
LABELLED, SEED = 160, 3  # of each class; the others of the training side stand for images without a label
ADAPTED, BATCH = 2048, 64
STAGES = 3  # last stages before the features proper

Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def _copy(encoder: Encoder, *, factor: float = 1.0, stages: int = 0) -> Encoder:
    """Two views an image where there are eight, at a multiple of the size."""
    size = encoder.size if factor == 1 else round(factor * encoder.size / 8) * 8
    symmetry = "none" if encoder.symmetry == "none" else "mirror"
    return encoder.altered(size=size, symmetry=symmetry, stages=stages)


def _centre(encoder: Encoder) -> Look:
    two = _copy(encoder)

    def look(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        margin = batch.shape[1] // 8
        return two.encode(np.ascontiguousarray(batch[:, margin:-margin, margin:-margin]))

    return look


#: What is done to an encoder; those called adapted have its statistics taken anew from these images before.
WAYS: Mapping[str, Callable[[Encoder], Look]] = {
    "adapted": lambda encoder: encoder.encode,
    "layers": lambda encoder: _copy(encoder, stages=STAGES).encode,
    "smaller": lambda encoder: _copy(encoder, factor=0.7).encode,
    "centre": _centre,
    "larger": lambda encoder: _copy(encoder, factor=1.4).encode,
    "whole_layers": lambda encoder: encoder.altered(stages=STAGES).encode,
    "adapted_layers": lambda encoder: encoder.altered(stages=STAGES).encode,
}


def labelled(side: ImageTable) -> ImageTable:
    """The images that are taken for labelled: at most ``LABELLED`` random ones a class."""
    known = side.select(side.labelled)
    return known.by_id(known.ids[draw_labels(known.ids, known.frame["label"], LABELLED, seed=SEED)])


def read_vectors(folder: Path, name: str) -> dict[str, NDArray[np.float32]]:
    """Image → vector."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
        return dict(zip(stored["ids"].tolist(), stored["vectors"], strict=True))


def start_encoder(run: RunDirectory, weights: Path, modality: str) -> Encoder:
    """The encoder as ``pretrain`` would begin with it."""
    store = PixelStore.open(run.pixels)
    return Encoder(
        create_backbone(BACKBONE, weights=str(weights)),
        size=encoder_size(default_image_size(store.size, "cpu"), store.size), value_range=store.value_range,
        fit=store.fit, provenance={"method": "none", "weights": f"file:{weights.name}"}, seen=frozenset(),
        symmetry=encoder_symmetry(PretrainChoices.of(modality=modality)),
    )


def adapted(encoder: Encoder, store: PixelStore, side: ImageTable) -> Encoder:
    """A copy with BatchNorm's statistics of these images; those without a label come first."""
    other, known = copy.copy(encoder), set(labelled(side).ids)
    other.backbone = copy.deepcopy(encoder.backbone)
    other.__dict__.pop("lean", None)  # made of the statistics before
    order = sorted(np.random.default_rng(SEED).permutation(side.ids), key=known.__contains__)[:ADAPTED]
    parts = np.array_split(store.rows(np.array(order)), max(1, len(order) // BATCH))
    take_statistics(other.backbone, (resize(store[part], encoder.size) for part in parts))
    return other


class Gallery:
    """Where the vectors of a run go."""

    def __init__(self, run: RunDirectory, out: Path) -> None:
        self.run, self.out = run, out
        self.store = PixelStore.open(run.pixels)
        self.side = ImageTable.read(run / "images.parquet").train
        out.mkdir(parents=True, exist_ok=True)
        self.side.write(out / "side.parquet")

    def whole(self, name: str, encoder: EncoderLike) -> None:
        """The vectors of the training side; those that the run has are taken."""
        folder = self.run / "embeddings" / name
        found = Embeddings.read(folder) if (folder / "embeddings.json").is_file() else None
        if found is not None and found.encoder["hash"] == encoder.hash:
            rows = dict(zip(found.ids, range(len(found)), strict=True))
            vectors = found.vectors[[rows[one] for one in self.side.ids]]
            self._write(f"{name}-plain", lambda: (self.side, vectors))
        else:
            self._write(f"{name}-plain", lambda: (self.side, self._looked(self.side, encoder.encode)))

    def ways(self, name: str, encoder: Encoder, ways: Sequence[str]) -> None:
        """The vectors of the labelled images, in these ways."""
        for way in ways:
            self._write(f"{name}-{way}", partial(self._in_way, encoder, way))

    def _in_way(self, encoder: Encoder, way: str) -> tuple[ImageTable, NDArray[np.float32]]:
        few = labelled(self.side)
        own = adapted(encoder, self.store, self.side) if way.startswith("adapted") else encoder
        return few, self._looked(few, WAYS[way](own))

    def _write(self, name: str, work: Callable[[], tuple[ImageTable, NDArray[np.float32]]]) -> None:
        path = self.out / f"{name}.npz"
        if path.exists():
            return
        table, vectors = work()
        part = path.with_suffix(".part.npz")
        np.savez(part, ids=table.ids.astype(str), vectors=vectors)
        part.rename(path)
        say(f"{path}: {vectors.shape}")

    def _looked(self, table: ImageTable, look: Look) -> NDArray[np.float32]:
        rows, parts = self.store.rows(table.ids), []
        with bar("Looking", len(rows)) as progress:
            for start in range(0, len(rows), BATCH):
                parts.append(look(self.store[rows[start : start + BATCH]]))
                progress.advance(len(parts[-1]))
        return np.concatenate(parts)


def main() -> None:
    """Look at the images of one run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--modality", default="microscopy")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    run = RunDirectory.open(given.run)
    gallery = Gallery(run, given.out)
    start = start_encoder(run, given.weights, given.modality)
    gallery.whole("thumbnail", ThumbnailEncoder())
    gallery.whole("initial", start)
    gallery.ways("initial", start, given.ways)
    if (run / "encoder").is_dir():
        trained = cast("Encoder", load_encoder(run / "encoder"))
        gallery.whole("pretrained", trained)
        gallery.ways("pretrained", trained, given.ways)


if __name__ == "__main__":
    main()
