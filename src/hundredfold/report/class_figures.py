"""The classes: recall, confusions, and where their features lie; one function a figure, from tidy tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from hundredfold.metrics import TINY
from hundredfold.report.style import CYCLE, INK, MUTED, RULE, WIDTH, apart, drawn, plain_axes
from hundredfold.report.tables import rows_of
from hundredfold.report.words import share, shown

__all__ = ["confusion_matrix", "embedding_map", "recall_by_class"]

Floats = NDArray[np.float64]

MARKERS = "osD^v"
NAMED_ISLANDS = 16
ANNOTATED_CLASSES = 24  # more cells than that hold no legible number


@drawn
def confusion_matrix(table: pd.DataFrame) -> Figure:
    """Rows: the true class and its test images; columns: the predicted one; cells: per cent of the row."""
    names = list(dict.fromkeys(table["label"]))
    grid = table.pivot(index="label", columns="predicted", values="share").loc[names, names].to_numpy(float)
    numbers = table.drop_duplicates("label").set_index("label").loc[names, "n_test"]
    side = float(np.clip(0.4 * len(names), 1.8, 5.6))
    figure = Figure(figsize=(side + 2.4, side + 1.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[side, 0.7], sharey=True)
    left.imshow(np.nan_to_num(grid), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _write_cells(left, grid)
    ticks = range(len(names))
    left.set_yticks(ticks, [shown(name, 24) for name in names], color=INK)
    left.set_xticks(
        ticks, [shown(name, 24) for name in names], rotation=55, ha="right", rotation_mode="anchor", color=INK
    )
    left.tick_params(length=0)
    left.set_xlabel("predicted class (cells: % of the true class)")
    left.set_ylabel("true class")
    left.spines[:].set_visible(False)
    right.barh(ticks, numbers, color=[RULE if n >= TINY else CYCLE[1] for n in numbers], height=0.72)
    for tick, number in enumerate(numbers):
        right.text(0.03, tick, f"{number:,}", transform=right.get_yaxis_transform(), va="center", fontsize=7)
    right.set_title("test images", fontsize=7.5, color=MUTED)
    right.axis("off")
    return figure


def _write_cells(axes: Axes, grid: Floats) -> None:
    if len(grid) > ANNOTATED_CLASSES:
        return
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value) and value >= 0.005:
            axes.text(
                column,
                row,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=7.5 if len(grid) < 16 else 6,
                color="white" if value > 0.55 else INK,
            )


@drawn
def recall_by_class(table: pd.DataFrame) -> Figure:
    """Recall of each class with its interval; hollow where there are few test images."""
    figure, axes = plain_axes(height=0.24 * len(table) + 0.75)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x")
    rows = np.arange(len(table))
    axes.hlines(rows, table["low"], table["high"], color=CYCLE[0], alpha=0.45, linewidth=3)
    few = (table["n_test"] < TINY).to_numpy()
    for mask, face in ((~few, CYCLE[0]), (few, "white")):
        axes.plot(
            table["value"].to_numpy(float)[mask],
            rows[mask],
            "o",
            markersize=5.5,
            markerfacecolor=face,
            markeredgecolor=CYCLE[0],
            markeredgewidth=1.3,
        )
    axes.set_yticks(rows, [f"{shown(row.label, 26)}  ({row.n_test:,})" for row in rows_of(table)], color=INK)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(0, 1.01)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == 0 else share(value, 1)))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("recall (share of the class's test images that are found)")
    return figure


@drawn
def embedding_map(table: pd.DataFrame) -> Figure:
    """Images as points, near where their features are alike; colour and marker: the class.

    Args:
        table: rows of :func:`~hundredfold.report.embedding_map.map_points`.
    """
    extent = np.ptp(table[["x", "y"]].to_numpy(float), axis=0)
    height = float(np.clip(WIDTH * extent[1] / max(extent[0], 1e-9), 3.0, 5.5))
    names = sorted(table["label"].unique())
    figure = Figure(figsize=(WIDTH, height + 0.19 * np.ceil(len(names) / 3)), layout="constrained")
    axes = figure.add_subplot()
    for position, name in enumerate(names):
        points = table[table["label"] == name]
        axes.scatter(
            points["x"],
            points["y"],
            s=11,
            color=CYCLE[position % len(CYCLE)],
            linewidths=0,
            alpha=0.75,
            marker=MARKERS[position // len(CYCLE) % len(MARKERS)],
            label=shown(name, 28),
            rasterized=True,
        )
    _name_islands(axes, table, names)
    axes.set_axis_off()
    axes.set_aspect("equal")
    figure.legend(
        loc="outside lower center",
        ncols=3,
        frameon=False,
        markerscale=1.8,
        handletextpad=0.2,
        columnspacing=1.2,
        fontsize=7.5,
    )
    return figure


def _name_islands(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    """Write each class where its points are densest, moved up or down off the other names."""
    if len(names) > NAMED_ISLANDS:
        return
    places = np.array(
        [_densest(table.loc[table["label"] == name, ["x", "y"]].to_numpy(float)) for name in names]
    )
    heights = apart([float(y) for y in places[:, 1]], 0.05 * np.ptp(table["y"]))
    for position, name in enumerate(names):
        text = axes.text(
            places[position, 0],
            heights[position],
            shown(name, 20),
            fontsize=7,
            fontweight="bold",
            ha="center",
            va="center",
            color=INK,
            zorder=5,
        )
        text.set_path_effects([withStroke(linewidth=2.2, foreground="white", alpha=0.85)])


def _densest(points: Floats) -> Floats:
    """The point with most others near it."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)  # [n, n]
    near = np.exp(-((distances / (distances.mean() / 3 + 1e-9)) ** 2))  # [n, n]
    densest: Floats = points[near.sum(axis=1).argmax()]
    return densest
