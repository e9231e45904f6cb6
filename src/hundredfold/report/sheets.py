"""Figures made of images: examples of each class, the views of pre-training, errors and their neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hundredfold.data.near_duplicates import laid
from hundredfold.data.store import PixelStore
from hundredfold.report.style import CYCLE, INK, MUTED, WIDTH, drawn, legible
from hundredfold.report.tables import rows_of
from hundredfold.report.words import in_lines, shown
from hundredfold.views.multicrop import MultiCrop, image_key

__all__ = [
    "TILE", "class_sheet", "error_sheet", "named_sheet", "pair_sheet", "view_sheet", "views_of", "why_sheet",
]

Pixels = NDArray[np.uint8]
TILE = 128  # px a picture; in a sheet of 5 inches that is over 150 px an inch
MARGIN = 0.02  # inches around a picture
LARGEST_LOCAL = 6


@drawn
def class_sheet(examples: pd.DataFrame, store: PixelStore) -> Figure:
    """A row of images a class.

    Args:
        examples: rows ``label, id``, those of a class together.
        store: holds their pixels.
    """
    names = list(dict.fromkeys(examples["label"]))
    ids = {name: list(examples.loc[examples["label"] == name, "id"]) for name in names}
    return named_sheet({name: list(store[store.rows(some)]) for name, some in ids.items()})


@drawn
def named_sheet(rows: Mapping[str, Sequence[Pixels]]) -> Figure:
    """A row of images a name."""
    sheet = _Sheet.of(list(rows.values()), left=1.15)
    for row, name in enumerate(rows):
        sheet.beside(row, in_lines(name, 17))
    return sheet.figure


def views_of(ids: Sequence[str], store: PixelStore, views: MultiCrop) -> list[list[Pixels]]:
    """For each image: itself, its two global crops and its first local crops, in the first epoch."""
    rows = []
    for name, pixels in zip(ids, store[store.rows(list(ids))], strict=True):
        large, small = views(pixels, image_key(name), 0)
        rows.append([pixels, *large, *small[:LARGEST_LOCAL]])
    return rows


@drawn
def view_sheet(rows: Sequence[Sequence[Pixels]]) -> Figure:
    """What pre-training sees: a row an image, first the image, then its crops."""
    sheet = _Sheet.of(rows, top=0.22)
    heads = ["image", "global 1", "global 2", *(f"local {n + 1}" for n in range(len(rows[0]) - 3))]
    for column, head in enumerate(heads):
        sheet.above(column, head, INK if head == "image" else MUTED)
    return sheet.figure


@drawn
def error_sheet(table: pd.DataFrame, store: PixelStore) -> Figure:
    """A row an error: the test image, then the labelled images of other groups its features are nearest to.

    Args:
        table: rows of :func:`~hundredfold.report.examples.resembled`.
        store: holds their pixels.
    """
    errors = list(table.groupby("image", sort=False))
    rows = [list(store[store.rows([str(error), *near["neighbour"]])]) for error, near in errors]
    sheet = _Sheet.of(rows, left=1.15, gap=0.27, top=0.22)
    for row, (_, near) in enumerate(errors):
        label, predicted = near[["label", "predicted"]].iloc[0]
        sheet.beside(row, f"is {in_lines(label, 17)}\n\ntaken for\n{in_lines(predicted, 17)}")
        for column, name in enumerate(near["neighbour_label"], start=1):
            colour = CYCLE[0] if name == label else CYCLE[1] if name == predicted else MUTED
            sheet.below(row, column, in_lines(name, 17), colour)
    sheet.above(0, "test image", INK)
    sheet.above(1, "nearest labelled images of other groups →", MUTED, at_left=True)
    return sheet.figure


@drawn
def why_sheet(table: pd.DataFrame, store: PixelStore, veiled: Sequence[Pixels]) -> Figure:
    """A row an image: itself, its map if there is one, and the labelled images that it resembles most.

    Args:
        table: rows of :func:`~hundredfold.report.examples.resembled`.
        store: holds their pixels.
        veiled: the images with their maps, in their order; empty where there are none.
    """
    images = list(table.groupby("image", sort=False))
    rows = [list(store[store.rows([str(image), *near["neighbour"]])]) for image, near in images]
    if len(veiled):
        rows = [[row[0], veil, *row[1:]] for row, veil in zip(rows, veiled, strict=True)]
    first = 2 if len(veiled) else 1
    sheet = _Sheet.of(rows, left=1.15, gap=0.27, top=0.22)
    for row, (_, near) in enumerate(images):
        label, predicted = near[["label", "predicted"]].iloc[0]
        wrong = f"is {in_lines(label, 17)}\n\ntaken for\n{in_lines(predicted, 17)}"
        sheet.beside(row, f"{in_lines(label, 17)}\n\nright" if label == predicted else wrong)
        if len(veiled):
            sheet.below(row, 1, "not evidence", MUTED)
        for column, name in enumerate(near["neighbour_label"], start=first):
            colour = CYCLE[0] if name == label else CYCLE[1] if name == predicted else MUTED
            sheet.below(row, column, in_lines(name, 12), colour)
    sheet.above(0, "test image", INK)
    if len(veiled):
        sheet.above(1, "map", MUTED)
    sheet.above(first, "nearest labelled images of other groups →", MUTED, at_left=True)
    return sheet.figure


@drawn
def pair_sheet(pairs: pd.DataFrame, store: PixelStore) -> Figure:
    """Three pairs a row, the first of each laid as its near-copy lies; below them their labels.

    Args:
        pairs: rows of ``near_copies.csv``.
        store: holds their pixels.
    """
    tiles, words = [], []
    for pair in rows_of(pairs):
        first, second = store[store.rows([pair.first, pair.second])]
        tiles += [laid(first, pair.turns, mirrored=pair.mirrored), second]
        labels = (pair.first_label, pair.second_label)
        words += ["no label" if pd.isna(label) else shown(label, 17) for label in labels]
    sheet = _Sheet.of([tiles[start : start + 6] for start in range(0, len(tiles), 6)], gap=0.17)
    for place, word in enumerate(words):
        partner = words[place + 1 if place % 2 == 0 else place - 1]
        sheet.below(place // 6, place % 6, word, MUTED if word == partner else CYCLE[1])
    return sheet.figure


@dataclass(frozen=True)
class _Sheet:
    """Pictures in rows on one pair of axes whose unit is the inch, counted from the upper left.

    Attributes:
        figure: what is drawn on.
        axes: its only axes.
        side: of a picture.
        left: room for words beside the rows.
        gap: room for words under each row.
        top: room for words over the first.
    """

    figure: Figure
    axes: Axes
    side: float
    left: float
    gap: float
    top: float

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[Pixels]], *, left: float = 0.0, gap: float = 0.0, top: float = 0.0
    ) -> _Sheet:
        side = (WIDTH - left) / max(len(row) for row in rows)
        height = len(rows) * (side + gap) + top
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        sheet = cls(figure, axes, side, left, gap, top)
        for row, pictures in enumerate(rows):
            for column, pixels in enumerate(pictures):
                x, y = sheet._corner(row, column)
                extent = (x + MARGIN, x + side - MARGIN, y + side - MARGIN, y + MARGIN)
                axes.imshow(_tile(pixels), extent=extent, aspect="auto")
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        return sheet

    def _corner(self, row: int, column: int) -> tuple[float, float]:
        return self.left + column * self.side, self.top + row * (self.side + self.gap)

    def beside(self, row: int, words: str) -> None:
        x, y = self._corner(row, 0)
        self.axes.text(x - 0.06, y + self.side / 2, words, ha="right", va="center", fontsize=7.5)

    def above(self, column: int, words: str, colour: str, *, at_left: bool = False) -> None:
        x, y = self._corner(0, column)
        place = x + MARGIN if at_left else x + self.side / 2
        self.axes.text(place, y - 0.04, words, ha="left" if at_left else "center", fontsize=7.5, color=colour)

    def below(self, row: int, column: int, words: str, colour: str) -> None:
        x, y = self._corner(row, column)
        self.axes.text(
            x + self.side / 2,
            y + self.side + 0.01,
            words,
            ha="center",
            va="top",
            fontsize=6.5,
            color=legible(colour),
            linespacing=1.15,
        )


def _tile(pixels: Pixels) -> Pixels:
    smaller = pixels.shape[0] > TILE
    return np.asarray(
        cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC),
        dtype=np.uint8,
    )
