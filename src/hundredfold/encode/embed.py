"""Embeddings: one vector an image, in shards that are written whole, never those of two encoders mixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.stain import Stain
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.protocol import EncoderLike
from hundredfold.encode.shards import Shards
from hundredfold.errors import (
    HundredfoldError,
    ModelFileError,
    RunExistsError,
    RunMissingError,
    SettingsError,
    TableError,
)
from hundredfold.files import write_json, write_text
from hundredfold.process import steady_process
from hundredfold.progress import bar

__all__ = ["Embeddings", "embed"]

#: Written first: which encoder and images the shards beside it belong to.
BEGUN = "begun.json"
#: Written last: the embeddings are complete.
DONE = "embeddings.json"


@dataclass(frozen=True)
class Embeddings:
    """The vectors of some images, made by one encoder.

    Args:
        ids: the images' ids, ``str`` [n].
        vectors: float32 [n,d].
        encoder: the facts of the encoder: name, hash, dimension, seen_count …
        images: the rows of ``ids``, in that order.
        seen: SHA-256 of the pixels of the images that the encoder was trained on.
        pixel_size: side in px of the stored images that were encoded; new images are stored alike.
        pixels: how those were made of the images' files: ``PixelStore.recipe``.

    Raises:
        ModelFileError: ids, vectors and images do not belong together.
    """

    ids: NDArray[np.object_]
    vectors: NDArray[np.float32]
    encoder: dict[str, Any]
    images: ImageTable
    seen: frozenset[str] = frozenset()
    pixel_size: int | None = None
    pixels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.vectors) == len(self.images) or any(self.ids != self.images.ids):
            raise ModelFileError(
                f"{len(self.ids):,} ids, {len(self.vectors):,} vectors and {len(self.images):,} images "
                "do not belong together",
                remedy="Embed the images again.",
            )

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, images: ImageTable) -> NDArray[np.float32]:
        """The vectors ``[k, d]`` of some images, in their order.

        Raises:
            TableError: an image has no vector.
        """
        rows = pd.Index(self.ids).get_indexer(pd.Index(images.ids))
        if (rows < 0).any():
            raise TableError(
                f"{int((rows < 0).sum()):,} of {len(images):,} images have no vector of "
                f"{self.encoder.get('name', 'this encoder')}",
                where=images.ids[rows < 0][0], remedy="Embed the images again, with the same table.",
            )
        return np.ascontiguousarray(self.vectors[rows], dtype=np.float32)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :func:`embed` or :meth:`write` wrote.

        Raises:
            RunMissingError: there are no embeddings in ``folder``, or they are not complete.
            ModelFileError: a shard is damaged, missing, or of another encoder.
        """
        if not (folder / DONE).is_file():
            begun = (folder / BEGUN).is_file()
            raise RunMissingError(
                "the embeddings are not complete" if begun else "expected embeddings, found none",
                where=folder, remedy=f"Run `hundredfold embed{' --resume' if begun else ''}`.",
            )
        facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
        images = ImageTable.read(folder / "images.parquet")
        shards = Shards.of(folder, images, facts["encoder"], size=facts["shard"])
        if shards.digest != facts["images_sha256"]:
            raise ModelFileError(
                "images.parquet lists other images than the embeddings were made of", where=folder,
                remedy="Embed the images again.",
            )
        seen = (folder / "seen.txt").read_text(encoding="utf-8").split()
        return cls(
            images.ids, shards.read_all(), facts["encoder"], images, frozenset(seen), facts["pixel_size"],
            facts.get("pixels", {}),
        )

    def write(self, folder: Path) -> None:
        """Write the embeddings to ``folder``, as :func:`embed` does.

        Raises:
            RunExistsError: there are embeddings in ``folder``.
        """
        shards = _begin(folder, self.images, self.encoder, self.seen, resume=False)
        for number in range(shards.count):
            shards.write(number, self.vectors[shards.rows(number)])
        _finish(shards, self.images, self.encoder, self.pixel_size, self.pixels)


@steady_process()
def embed(
    encoder: EncoderLike, store: PixelStore, table: ImageTable, folder: Path, *, batch: int, resume: bool
) -> Embeddings:
    """Encode every usable image of ``table`` and write the vectors to ``folder``.

    Shards (``part-00000.parquet`` …: id, vector) are written one by one and whole, so that ``resume``
    continues at the first one that is missing. Beside them: ``images.parquet``, ``seen.txt`` (one SHA-256 a
    line), and last ``embeddings.json``.

    Args:
        encoder: gives the vectors.
        store: holds the pixels of the images.
        table: the images; those with a problem are left out.
        folder: where to write.
        batch: images encoded at once.
        resume: continue what is in ``folder``.

    Raises:
        RunExistsError: there are embeddings in ``folder`` and ``resume`` is not set.
        SettingsError: those in ``folder`` are of another encoder or of other images, or the store's pixels
            were scaled, or their colours normalised, otherwise than the encoder expects.
        HundredfoldError: the encoder gives values that are not finite.
    """
    _check_pixels(encoder, store)
    images = table.usable
    facts = {**encoder.facts, "name": encoder.name, "hash": encoder.hash, "dimension": encoder.dimension}
    shards = _begin(folder, images, facts, encoder.seen, resume=resume)
    rows = store.rows(images.ids)
    missing = [number for number in range(shards.count) if not shards.valid(number)]
    done = len(images) - sum(len(rows[shards.rows(number)]) for number in missing)
    with bar(f"Embedding with {encoder.name}", len(images), start=done) as progress:
        for number in missing:
            part = rows[shards.rows(number)]
            vectors = np.empty((len(part), encoder.dimension), dtype=np.float32)
            for start in range(0, len(part), batch):
                some = part[start : start + batch]
                vectors[start : start + len(some)] = encoder.encode(store[some])
                progress.advance(len(some))
            _check_finite(vectors, encoder.name)
            shards.write(number, vectors)
    _finish(shards, images, facts, store.size, store.recipe)
    return Embeddings.read(folder)


def _begin(
    folder: Path, images: ImageTable, encoder: dict[str, Any], seen: frozenset[str], *, resume: bool
) -> Shards:
    """Lay claim to the folder, or find that it is claimed for the same encoder and images."""
    shards = Shards.of(folder, images, encoder)
    claim = {"encoder": encoder["hash"], "images_sha256": shards.digest, "shard": shards.size}
    path = folder / BEGUN
    if path.exists():
        if not resume:
            raise RunExistsError(
                "there are embeddings already", where=folder,
                remedy="Continue them with --resume, or choose another --out.",
            )
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != claim:
            what = "another encoder" if found.get("encoder") != claim["encoder"] else "other images"
            raise SettingsError(
                f"the embeddings begun here are of {what}", where=folder,
                remedy="Vectors are never mixed: choose another --out, or remove this folder.",
            )
        return shards
    write_text(folder / "seen.txt", "".join(f"{sha256}\n" for sha256 in sorted(seen)))
    write_json(path, claim)
    return shards


def _finish(
    shards: Shards, images: ImageTable, encoder: dict[str, Any], pixel_size: int | None,
    pixels: Mapping[str, Any],
) -> None:
    images.write(shards.folder / "images.parquet")
    write_json(shards.folder / DONE, {
        "schema_version": 1, "images": len(images), "dimension": shards.dimension, "shard": shards.size,
        "pixel_size": pixel_size, "pixels": dict(pixels), "images_sha256": shards.digest, "encoder": encoder,
    })


def _check_pixels(encoder: EncoderLike, store: PixelStore) -> None:
    ranges = {encoder.value_range, store.value_range} - {None}
    learned = encoder.value_range is not None or encoder.window is not None
    if (encoder.stain is not None or encoder.seen) and encoder.stain != store.stain:
        raise SettingsError(
            f"the encoder expects colours normalised by {_told(encoder.stain)}; found {_told(store.stain)}",
            where=store.folder,
            remedy="Embed the folder of images instead of the run: its colours are then normalised as the "
            "encoder expects.",
        )
    if len(ranges) > 1 or (learned and encoder.window != store.window):
        raise SettingsError(
            f"the encoder expects pixels scaled by {encoder.value_range}, CT through the window "
            f"{encoder.window}; found {store.value_range}, {store.window}",
            where=store.folder,
            remedy="Embed the folder of images instead of the run: it is then scaled as the encoder expects.",
        )


def _told(stain: Stain | None) -> str:
    return "none" if stain is None else f"{stain.method}, reference {stain.reference}"


def _check_finite(vectors: NDArray[np.float32], name: str) -> None:
    if (bad := int((~np.isfinite(vectors)).any(axis=1).sum())) > 0:
        raise HundredfoldError(
            f"the encoder gave values that are not finite for {bad} images", where=name,
            remedy="Its weights are damaged; train it again or choose another.",
        )
