"""The classes: recall, confusions, and where their features lie; one function a figure, from tidy tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from hundredfold.metrics import TINY
from hundredfold.report.style import CYCLE, INK, MUTED, RULE, WIDTH, apart, drawn, small
from hundredfold.report.words import percent_of, shown_apart, tick

__all__ = ["class_strips", "confusion_matrix", "embedding_map"]

Floats = NDArray[np.float64]

MARKERS = "osD^v"
NAMED_ISLANDS = 16
SMALLEST_CELL = 12.0  # points; below, a cell holds no legible number
SMALLEST_TEXT = 5.5


@drawn
def confusion_matrix(table: pd.DataFrame, *, width: float | None = None) -> Figure:
    """Rows: the true class and its test images; columns: the predicted one; cells: per cent of the row.

    Below the mean over the draws stands its standard deviation, in cells that are large enough for it, and
    else that of the recall beside the row.

    Args:
        table: rows of :func:`~hundredfold.report.tables.confusion`.
        width: of the figure in inches; by default what the number of classes asks for.
    """
    names = list(dict.fromkeys(table["label"]))
    grid, spread = (
        table.pivot(index="label", columns="predicted", values=part).loc[names, names].to_numpy(float)
        for part in ("share", "sd")
    )
    numbers = table.drop_duplicates("label").set_index("label").loc[names, "n_test"]
    side = float(np.clip(0.4 * len(names), 1.8, 5.6)) if width is None else width * 0.62
    figure = Figure(figsize=(width or side + 2.4, side + 1.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[side, 0.9], sharey=True)
    left.imshow(np.nan_to_num(grid), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    room = 72 * side / len(names)  # points a cell
    _write_cells(left, grid, spread, room)
    ticks, words = range(len(names)), shown_apart(names, 24)
    size = min(small() + 0.5, 0.75 * room)
    left.set_yticks(ticks, words, color=INK, fontsize=size)
    slope = 55 if room > 2 * small() else 90
    left.set_xticks(
        ticks, words, rotation=slope, ha="right", va="baseline" if slope == 55 else "center",
        rotation_mode="anchor", color=INK, fontsize=size,
    )
    left.tick_params(length=0)
    known = np.isfinite(spread).any()
    left.set_xlabel(f"predicted class\n(% of the true class{', mean ± sd over draws' if known else ''})")
    left.set_ylabel("true class")
    left.spines[:].set_visible(False)
    _write_rows(right, numbers.to_numpy(int), np.diagonal(grid), np.diagonal(spread), min(size, small()))
    return figure


def _write_rows(axes: Axes, numbers: NDArray[np.int64], recall: Floats, spread: Floats, size: float) -> None:
    """Beside each row: its test images as a bar with their number, and its recall with the sd over draws."""
    rows = range(len(numbers))
    axes.barh(rows, numbers, color=[RULE if n >= TINY else CYCLE[1] for n in numbers], height=0.72)
    for row, number, value, sd in zip(rows, numbers, recall, spread, strict=True):
        found = f"  ({percent_of(value)} ± {100 * sd:.0f})" if np.isfinite(value) and np.isfinite(sd) else ""
        axes.text(
            0.03, row, f"{number:,}{found}", transform=axes.get_yaxis_transform(), va="center", fontsize=size
        )
    title = "test images\n(recall, %)" if np.isfinite(spread).any() else "test images"
    axes.set_title(title, fontsize=small(), color=MUTED)
    axes.axis("off")


def _write_cells(axes: Axes, grid: Floats, spread: Floats, room: float) -> None:
    """Per cent in each cell of ``room`` points, with the sd below where two lines of 5 pt have room."""
    if room < SMALLEST_CELL:
        return
    two = room >= 3.2 * SMALLEST_TEXT and np.isfinite(spread).any()
    size = float(np.clip(room * (0.28 if two else 0.42), SMALLEST_TEXT, small()))
    for (row, column), value in np.ndenumerate(grid):
        if not np.isfinite(value) or value < 0.005:
            continue
        ink = "white" if value > 0.55 else INK
        words = percent_of(value)
        if two:
            words += f"\n±{100 * spread[row, column]:.0f}"
        axes.text(column, row, words, ha="center", va="center", fontsize=size, color=ink, linespacing=0.95)


@drawn
def class_strips(
    recall: pd.DataFrame, draws: pd.DataFrame | None = None, sizes: Mapping[str, int] | None = None, *,
    width: float = WIDTH,
) -> Figure:
    """Each class's training images, and beside them its recall: every draw, their mean, and its interval.

    Args:
        recall: rows of :func:`~hundredfold.report.tables.recall_points`; hollow where there are few test
        images.
        draws: rows of :func:`~hundredfold.report.tables.recall_draws`: one small point a draw of labels.
        sizes: class → labelled training images, as bars on a logarithmic axis.
        width: of the figure in inches.
    """
    height = (0.24 if width >= WIDTH else 0.19) * len(recall) + 0.75
    figure = Figure(figsize=(width, height), layout="constrained")
    ratios = [1, 2.4] if sizes else [1]
    panels = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
    told = zip(shown_apart(list(recall["label"]), 26), recall["n_test"], strict=True)
    names = [f"{name}  ({number:,})" for name, number in told]
    if sizes:
        _size_bars(panels[0], [int(sizes.get(name, 0)) for name in recall["label"]])
    _recall_strip(panels[-1], recall, draws)
    panels[0].set_yticks(np.arange(len(recall)), names, color=INK)
    panels[0].set_ylim(len(recall) - 0.4, -0.6)
    return figure


def _size_bars(axes: Axes, sizes: list[int]) -> None:
    axes.barh(np.arange(len(sizes)), sizes, color=RULE, height=0.72)
    for place, size in enumerate(sizes):
        axes.text(
            0.04, place, f"{size:,}", transform=axes.get_yaxis_transform(), va="center", fontsize=small()
        )
    axes.set_xscale("log")
    axes.set_xlim(0.7, 2 * max([*sizes, 1]))
    axes.xaxis.set_major_locator(NullLocator())  # the numbers stand in the bars
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("training\nimages (log)")


def _recall_strip(axes: Axes, recall: pd.DataFrame, draws: pd.DataFrame | None) -> None:
    axes.grid(axis="x")
    rows = np.arange(len(recall))
    axes.hlines(rows, recall["low"], recall["high"], color=CYCLE[0], alpha=0.3, linewidth=4)
    if draws is not None:
        place = {name: row for row, name in enumerate(recall["label"])}
        height = [place[label] + 0.28 for label in draws["label"]]
        axes.plot(draws["value"], height, "|", markersize=3.5, markeredgewidth=0.8, color=MUTED, zorder=2)
    few = (recall["n_test"] < TINY).to_numpy()
    for mask, face in ((~few, CYCLE[0]), (few, "white")):
        axes.plot(
            recall["value"].to_numpy(float)[mask], rows[mask], "o", markersize=5, markerfacecolor=face,
            markeredgecolor=CYCLE[0], markeredgewidth=1.3,
        )
    axes.set_xlim(-0.025, 1.025)  # points of 0 and 1 are whole, in a column too
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("recall\n(share found)")


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
    for position, (name, words) in enumerate(zip(names, shown_apart(names, 28), strict=True)):
        points = table[table["label"] == name]
        axes.scatter(
            points["x"],
            points["y"],
            s=11,
            color=CYCLE[position % len(CYCLE)],
            linewidths=0,
            alpha=0.75,
            marker=MARKERS[position // len(CYCLE) % len(MARKERS)],
            label=words,
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
    for position, words in enumerate(shown_apart(names, 20)):
        text = axes.text(
            places[position, 0],
            heights[position],
            words,
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
