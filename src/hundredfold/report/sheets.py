"""Figures made of images: examples of each class, the views of pre-training, errors and their neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hundredfold.data.pixels import PixelStore
from hundredfold.report.style import CYCLE, INK, MUTED, WIDTH, drawn
from hundredfold.report.words import in_lines
from hundredfold.views.multicrop import MultiCrop, image_key

__all__ = ["class_sheet", "error_sheet", "view_sheet", "views_of"]

Pixels = NDArray[np.uint8]
TILE = 128  # px a picture; in a sheet of 5 inches that is over 150 px an inch
LARGEST_LOCAL = 6


@drawn
def class_sheet(examples: pd.DataFrame, store: PixelStore) -> Figure:
    """A row of images a class.

    Args:
        examples: rows ``label, id``, those of a class together.
        store: holds their pixels.
    """
    names = list(dict.fromkeys(examples["label"]))
    rows = [list(store[store.rows(list(examples.loc[examples["label"] == name, "id"]))]) for name in names]
    figure, grid = _grid(rows, left=1.15, top=0.0)
    for axes, name in zip(grid[:, 0], names, strict=True):
        _row_name(axes, in_lines(name, 17))
    return figure


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
    figure, grid = _grid(rows)
    locals_seen = len(rows[0]) - 3
    heads = ["image", "global 1", "global 2", *(f"local {n + 1}" for n in range(locals_seen))]
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=7.5, color=INK if head == "image" else MUTED, pad=3)
    return figure


@drawn
def error_sheet(table: pd.DataFrame, store: PixelStore) -> Figure:
    """A row an error: the test image, then the labelled training images its features are nearest to.

    Args:
        table: rows of :func:`~hundredfold.report.examples.errors_with_neighbours`.
        store: holds their pixels.
    """
    errors = list(table.groupby("error", sort=False))
    rows = [list(store[store.rows([str(error), *near["neighbour"]])]) for error, near in errors]
    figure, grid = _grid(rows, left=1.15, gap=0.27)
    for line, (_, near) in zip(grid, errors, strict=True):
        first = near.iloc[0]
        _row_name(
            line[0], f"is {in_lines(first['label'], 17)}\n\ntaken for\n{in_lines(first['predicted'], 17)}"
        )
        for axes, name in zip(line[1:], near["neighbour_label"], strict=False):
            agrees = name == first["label"]
            _below(
                axes,
                in_lines(name, 17),
                CYCLE[0] if agrees else CYCLE[1] if name == first["predicted"] else MUTED,
            )
    grid[0][0].set_title("test image", fontsize=7.5, pad=4)
    grid[0][1].set_title("nearest labelled training images →", fontsize=7.5, color=MUTED, loc="left", pad=4)
    return figure


def _grid(
    rows: Sequence[Sequence[Pixels]], *, left: float = 0.0, gap: float = 0.0, top: float = 0.22
) -> tuple[Figure, NDArray[np.object_]]:
    """Pictures in rows; ``left`` inches for the names of rows, ``gap`` under each and ``top`` for words."""
    across = max(len(row) for row in rows)
    side = (WIDTH - left) / across
    height = len(rows) * (side + gap) + top
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(len(rows), across, squeeze=False)
    pad = 0.02 * WIDTH / across
    for (row, column), axes in np.ndenumerate(grid):
        axes.set_axis_off()
        bottom = height - top - (row + 1) * side - row * gap
        axes.set_position(
            (
                (left + column * side + pad) / WIDTH,
                (bottom + pad) / height,
                (side - 2 * pad) / WIDTH,
                (side - 2 * pad) / height,
            )
        )
        if column < len(rows[row]):
            axes.imshow(_tile(rows[row][column]))
    return figure, grid


def _tile(pixels: Pixels) -> Pixels:
    smaller = pixels.shape[0] > TILE
    return np.asarray(
        cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC),
        dtype=np.uint8,
    )


def _row_name(axes: Axes, words: str) -> None:
    axes.text(-0.07, 0.5, words, ha="right", va="center", fontsize=7.5, transform=axes.transAxes)


def _below(axes: Axes, words: str, colour: str) -> None:
    axes.text(
        0.5,
        -0.03,
        words,
        ha="center",
        va="top",
        fontsize=6.5,
        color=colour,
        transform=axes.transAxes,
        linespacing=1.15,
    )
