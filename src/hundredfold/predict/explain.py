"""Whom a new image resembles, and where its vector comes from; neither is evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from hundredfold.errors import SettingsError
from hundredfold.predict.memory import Memory, hidden_group
from hundredfold.predict.predictor import Predictor

__all__ = ["NOT_EVIDENCE", "Neighbour", "Resemblance", "overlay", "written"]

NOT_EVIDENCE = "not evidence"
SHOWN = 5
DECIMALS = 4
#: How bright a place is left that has no share; colours stay, for they may be findings.
DARKEST = 0.25

Pixels = NDArray[np.uint8]


class Neighbour(NamedTuple):
    """A labelled image that the predictor learned from, and the cosine of its vector and a new one's."""

    id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Resemblance:
    """The labelled images that a predictor remembers, to find the nearest among.

    Attributes:
        ids, labels, groups: of each of them [m]; groups as digests.
        unit: float32 ``[m, d]``, their vectors at length 1.
        mean: float32 ``[d]``, the mean vector of all that are remembered.
    """

    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    groups: NDArray[np.object_]
    unit: NDArray[np.float32]
    mean: NDArray[np.float32]

    @classmethod
    def of(cls, predictor: Predictor) -> Self:
        """Take them from a predictor.

        Raises:
            SettingsError: it remembers none, having been made before predictors did.
        """
        if predictor.memory is None:
            raise SettingsError(
                "the predictor remembers no images to compare new ones with", where="explain",
                remedy="Fit it again with this version, or leave --explain out.",
            )
        return cls.among(predictor.memory, predictor.classes)

    @classmethod
    def among(cls, memory: Memory, classes: Sequence[str]) -> Self:
        """Take those of a memory that have a label."""
        known = memory.labelled
        labels = np.array(classes, dtype=object)[memory.codes[known]]
        return cls(memory.ids[known], labels, memory.groups[known], _unit(memory.vectors[known]),
                   memory.vectors.mean(axis=0))

    def nearest(
        self, vectors: NDArray[np.float32], groups: Sequence[object], count: int = SHOWN
    ) -> list[list[Neighbour]]:
        """The nearest of each new image, the most alike first.

        Args:
            vectors: ``[b, d]``, made by the predictor's encoder.
            groups: ``[b]`` the new images' patients or slides, missing where unknown: images of the same
                group are left out, for they resemble each other whatever they show.
            count: how many; fewer where fewer are left.
        """
        alike = _unit(vectors) @ self.unit.T  # [b, m]
        own = [hidden_group(group) for group in groups]
        for row, group in zip(alike, own, strict=True):
            if group is not None:
                row[self.groups == group] = -np.inf
        order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
        return [
            [Neighbour(str(self.ids[m]), str(self.labels[m]), round(float(row[m]), DECIMALS))
             for m in places if np.isfinite(row[m])]
            for row, places in zip(alike, order, strict=True)
        ]


def written(found: Sequence[Neighbour]) -> str:
    """Neighbours as a cell of a table: JSON, a list of objects with ``id``, ``label`` and ``similarity``.

    Examples:
        >>> written([Neighbour("a.png", "round", 0.93)])
        '[{"id": "a.png", "label": "round", "similarity": 0.93}]'
    """
    return json.dumps([one._asdict() for one in found], ensure_ascii=False)


def overlay(pixels: Pixels, shares: NDArray[np.float32], side: int = 192) -> Pixels:
    """A picture uint8 ``[side, side, 3]``, lit by its map, with the words "not evidence" in it.

    Where the share is greatest it is as it was, elsewhere darker; the words are part of the picture, so that
    they stay with it wherever it is copied.

    Args:
        pixels: a square image uint8 ``[h, h, 3]``.
        shares: its map ``[g, g]``, of :func:`~hundredfold.encode.maps.place_maps`.
        side: of the picture in px.
    """
    picture = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    strength = np.clip(shares, 0, None) / max(float(shares.max()), 1e-12)
    light = cv2.resize(strength, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    lit = picture * (DARKEST + (1 - DARKEST) * light)
    done = np.ascontiguousarray(lit.round().astype(np.uint8))
    return _labelled(done, NOT_EVIDENCE)


def _labelled(picture: Pixels, words: str) -> Pixels:
    """White words on a dark band at the lower edge, as wide as the picture allows."""
    side, font = len(picture), cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(words, font, 1.0, 1)
    scale = min(0.5, 0.9 * side / width)
    band = round(height * scale) + 8
    picture[-band:] = picture[-band:] // 4
    place = (round((side - width * scale) / 2), side - 5)
    cv2.putText(picture, words, place, font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
