"""Memory: the images that a predictor learned from, as it sees them, to compare new ones with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hundredfold.data.rows import write_rows
from hundredfold.data.splits import HELD_OUT, pieces_of
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.neighbours import Neighbours
from hundredfold.errors import ModelFileError
from hundredfold.files import atomic_write
from hundredfold.learn.posterior import log_posterior
from hundredfold.predict.looks import LOOKS, looks_of

__all__ = ["Memory", "brought_up", "hidden_group", "whole_pieces"]

VECTORS_FILE = "memory.safetensors"
ROWS_FILE = "memory.csv"
#: Images without a label that are remembered, so that a predictor of a million images stays small.
UNLABELLED = 5000
#: Images whose looks are measured, to describe how new ones differ.
LOOKED_AT = 5000
DIGITS = 16
#: Classifiers whose scores of three classes and more are logarithms of probabilities; those of the first two
#: were so before, but for a number an image, those of the SVM were none.
LOGARITHMS = ("lda", "last_layer", "svm")


@dataclass(frozen=True)
class Memory:
    """``m`` images of the training side: all that have a label, and at most 5,000 random ones of the others.

    No pixels are kept, and no test or audit image. Ids are names of files, as in every table of a run.

    Attributes:
        ids: object ``[m]``.
        codes: ``[m]`` class numbers; -1 for an image without a label.
        groups: object ``[m]``: a digest of the group's name, see :func:`hidden_group`; ``None`` where none is
            known.
        pieces: ``[m]`` numbers; images of one group, equal images and near-copies share one.
        vectors: float32 ``[m, d]``, the encoder's.
        scores: float32 ``[m, c]``: what fits said that had seen neither the image nor its piece, each by the
            classifier's own measure; NaN where none did.
        looks: float32 ``[m, 12]``: the numbers :data:`~hundredfold.predict.looks.LOOKS`; NaN where they were
            not measured. ``None`` where no pixels were at hand.
    """

    ids: NDArray[np.object_]
    codes: NDArray[np.int64]
    groups: NDArray[np.object_]
    pieces: NDArray[np.int64]
    vectors: NDArray[np.float32]
    scores: NDArray[np.float32]
    looks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which images have a label ``[m]``."""
        return self.codes >= 0

    @cached_property
    def neighbours(self) -> Neighbours:
        """All of them, to look for those that are nearest to new images."""
        return Neighbours(self.vectors)

    def fits(self, dimension: int, classes: int) -> bool:
        """Whether all parts are of so many images, of such vectors and classes."""
        count = len(self)
        return (
            self.vectors.shape == (count, dimension) and self.scores.shape == (count, classes)
            and len(self.codes) == len(self.groups) == len(self.pieces) == count
            and bool(((self.codes >= -1) & (self.codes < classes)).all())
        )

    @classmethod
    def of(
        cls, table: ImageTable, embeddings: Embeddings, classes: Sequence[str], *,
        scores: NDArray[np.float32] | None = None, seed: int = 0,
    ) -> Self:
        """Remember the training side of a table.

        Args:
            table: images, some with labels; those of the test and audit set are left out.
            embeddings: their vectors.
            classes: the names of the classes, in the order of their numbers.
            scores: ``[k, c]`` of the labelled images, in the order of their ids.
            seed: of the choice among images without a label.

        Raises:
            TableError: an image has no vector.
        """
        usable = table.usable
        usable = usable.by_id(sorted(usable.ids))  # so that no result depends on the order of a table's rows
        pieces, held = pieces_of(usable), usable.frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)
        known = usable.labelled & ~held
        others = np.flatnonzero(~known & ~np.isin(pieces, pieces[held]))
        chosen = np.random.default_rng(seed).permutation(others)[:UNLABELLED]
        kept = np.union1d(np.flatnonzero(known), chosen)
        rows, labelled = usable.select(np.isin(np.arange(len(usable)), kept)), known[kept]
        found = np.full((len(rows), len(classes)), np.nan, dtype=np.float32)
        if scores is not None:
            found[labelled] = scores
        numbers = {name: number for number, name in enumerate(classes)}
        codes = np.array([numbers.get(name, -1) for name in rows.frame["label"]], dtype=np.int64)
        groups = [hidden_group(one) for one in rows.frame["group"]]
        return cls(
            rows.ids, codes, np.array(groups, dtype=object),
            np.unique(pieces[kept], return_inverse=True)[1], embeddings.of(rows), found,
        )

    def looked_at(self, store: PixelStore, *, seed: int = 0) -> Self:
        """With the looks of at most 5,000 images, patients whole, of which ``store`` has the pixels."""
        rows = whole_pieces(self.pieces, LOOKED_AT, seed=seed)
        rows = rows[np.isin(self.ids[rows], list(store.ids))]
        if not len(rows):
            return self
        looks = np.full((len(self), len(LOOKS)), np.nan, dtype=np.float32)
        looks[rows] = looks_of(store, self.ids[rows])
        return replace(self, looks=looks)

    def save(self, folder: Path, classes: Sequence[str]) -> None:
        """Write ``memory.safetensors`` and, for people to read, ``memory.csv``: id, label, group."""
        names = np.array([*classes, None], dtype=object)
        rows = pd.DataFrame({"id": self.ids, "label": names[self.codes], "group": self.groups})
        write_rows(folder / ROWS_FILE, rows)
        arrays: dict[str, NDArray[Any]] = {
            "codes": self.codes, "pieces": self.pieces, "vectors": self.vectors, "scores": self.scores,
        }
        if self.looks is not None:
            arrays["looks"] = self.looks
        # safetensors writes memory as it lies, and says nothing of an array that does not lie row by row.
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        with atomic_write(folder / VECTORS_FILE) as path:
            path.write_bytes(data)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what :meth:`save` wrote; ``None`` where a predictor of before remembers nothing.

        Raises:
            ModelFileError: a file is damaged.
        """
        if not (folder / VECTORS_FILE).is_file():
            return None
        try:
            arrays = load((folder / VECTORS_FILE).read_bytes())
            rows = pd.read_csv(folder / ROWS_FILE, dtype=object, keep_default_na=False)
            groups = np.array([name or None for name in rows["group"]], dtype=object)
            return cls(
                rows["id"].to_numpy(dtype=object), arrays["codes"], groups, arrays["pieces"],
                arrays["vectors"], arrays["scores"], arrays.get("looks"),
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelFileError(
                f"cannot read what the predictor remembers: {type(error).__name__}", where=folder,
                remedy="Copy the predictor again from where it was made, or fit it again.",
            ) from error


def whole_pieces(pieces: NDArray[np.int64], most: int, *, seed: int) -> NDArray[np.int64]:
    """Rows of random pieces, each whole, of at most so many images together; of one piece in any case.

    Examples:
        >>> whole_pieces(np.array([0, 0, 1, 1, 2]), 5, seed=0).tolist()
        [0, 1, 2, 3, 4]
    """
    names, sizes = np.unique(pieces, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    fitting = order[np.cumsum(sizes[order]) <= most]
    return np.flatnonzero(np.isin(pieces, names[fitting if len(fitting) else order[:1]]))


def brought_up(memory: Memory, facts: Mapping[str, Any], folder: Path) -> Memory:
    """With the scores that its classifier gives today, where those of before tell these.

    Args:
        memory: as it was read.
        facts: of the predictor.
        folder: of the predictor, for the message.

    Raises:
        ModelFileError: it has scores of before that do not tell these: its probabilities, and thresholds that
            were chosen by what it remembers, would be wrong.
    """
    if facts.get("classifier") not in LOGARITHMS or len(facts.get("classes", ())) < 3:
        return memory
    now = log_posterior(memory.scores.astype(np.float64)).astype(np.float32)
    method = (facts.get("calibration") or {}).get("method", "temperature")
    told = method == "temperature" and facts["classifier"] != "svm"
    if not told and not np.allclose(now, memory.scores, atol=1e-3, equal_nan=True):
        raise ModelFileError(
            "the predictor was fitted with scores that this version does not give", where=folder,
            remedy="Fit the predictor again, with another --out.",
        )
    return replace(memory, scores=now)


def hidden_group(name: object) -> str | None:
    """A digest that tells groups apart without their names, which may be those of patients.

    Whoever can guess a name can check the guess, so a predictor is no place to publish.

    Examples:
        >>> hidden_group("patient 7"), hidden_group(None)
        ('380e1c6279a5068f', None)
    """
    if pd.isna(name):  # type: ignore[call-overload]
        return None
    return hashlib.sha256(str(name).encode()).hexdigest()[:DIGITS]
