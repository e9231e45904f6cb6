"""Lines over labels and over steps, and differences: one function a figure, from tidy tables.

Every function gives a matplotlib figure and may be called from a notebook; ``width`` is in inches, and
:data:`~hundredfold.report.style.COLUMN` (85 mm) and :data:`~hundredfold.report.style.PAGE` (170 mm) are
those of journals. docs/figures.md shows how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hundredfold.report.style import (
    CYCLE,
    INK,
    MUTED,
    WIDTH,
    apart,
    drawn,
    legible,
    looks,
    plain_axes,
    room_in_points,
    small,
)
from hundredfold.report.tables import rows_of
from hundredfold.report.words import LEVEL, compact, in_lines, tick

__all__ = ["curve_panels", "differences", "learning_curves", "over_steps"]

MARKERS = "os^DvPX*"
DOTTED = (0, (4, 3))


class _End(NamedTuple):
    """Where a line ends, and what is written there."""

    x: float
    y: float
    words: str
    colour: str


@drawn
def learning_curves(
    points: pd.DataFrame, *, by: str, names: Mapping[str, str], ylabel: str, chance: float | None = None,
    references: Mapping[str, float] | None = None, published: pd.DataFrame | None = None,
    scale: pd.DataFrame | None = None, width: float = WIDTH,
) -> Figure:
    """Accuracy against labels per class (below) and images read for them (above), one line a ``by``.

    Args:
        points: rows of :func:`~hundredfold.report.tables.curve_points`.
        by: the column that tells the lines apart, "encoder", "classifier" or another.
        names: its values → the words at the lines' ends, in drawing order.
        ylabel: what the points measure.
        chance: accuracy of guessing, drawn if the axis reaches it.
        references: words → an accuracy to reach, drawn as a dashed line.
        published: lines to stand beside, ``by, n_per_class, value``; dashed, in the colour of their name.
        scale: points for which the axis of accuracy has room, so that figures side by side share one; by
            default those that are drawn.
        width: of the figure in inches.
    """
    every = [*names.values(), *(references or {}), *([] if chance is None else ["guessing"])]
    figure, axes = plain_axes(width, max(0.68 * width, _room_for(every) + 1.15))
    ends = _draw(
        axes, points, by, names, references=references or {}, chance=chance, published=published, scale=scale
    )
    _label_axis(axes, points if published is None else pd.concat([points, published]))
    axes.set_ylabel(ylabel)
    _name_ends(axes, ends)
    _thin_labels(axes)
    return figure


@drawn
def curve_panels(
    panels: Mapping[str, pd.DataFrame], *, by: str, names: Mapping[str, str], ylabel: str,
    references: Mapping[str, float] | None = None, width: float = WIDTH,
) -> Figure:
    """Learning curves side by side on one scale, such as all classes beside those with 250 labels or more.

    Args:
        panels: title → rows of :func:`~hundredfold.report.tables.curve_points`.
        by: the column that tells the lines apart.
        names: its values → the words at the lines' ends, in drawing order.
        ylabel: what the points measure.
        references: words → an accuracy to reach, drawn in every panel.
        width: of the figure in inches.
    """
    height = max(0.42 * width, _room_for([*names.values(), *(references or {})]) + 1.0)
    figure = Figure(figsize=(width, height), layout="constrained")
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    both = pd.concat(panels.values())
    for axes, (title, points) in zip(every, panels.items(), strict=True):
        axes.grid(axis="y")
        ends = _draw(axes, points, by, names, references=references or {})
        _label_axis(axes, points, above=False)
        axes.set_title(title, loc="left")
    every[0].set_ylabel(ylabel)
    every[0].set_ylim(*_limits(both, references or {}))
    _name_ends(every[-1], ends)
    for axes in every:
        _thin_labels(axes)
    return figure


def _draw(
    axes: Axes, points: pd.DataFrame, by: str, names: Mapping[str, str], *,
    references: Mapping[str, float], chance: float | None = None, published: pd.DataFrame | None = None,
    scale: pd.DataFrame | None = None,
) -> list[_End]:
    """The lines with their bands, the published ones, and the reference lines; tells where they end."""
    ends, published = [], points[:0] if published is None else published
    for position, (key, (colour, dashes)) in enumerate(zip(names, looks(list(names)), strict=True)):
        line = points[points[by].astype(str) == key].sort_values("n_per_class")
        other = published[published[by].astype(str) == key].sort_values("n_per_class")
        if line.empty and other.empty:
            continue
        _line_with_band(axes, line, colour, dashes, MARKERS[position % len(MARKERS)])
        axes.plot(
            other["n_per_class"].to_numpy(float), other["value"].to_numpy(float), color=colour,
            linestyle=DOTTED, linewidth=1.1, zorder=2.5,
        )
        last = (other if line.empty else line).iloc[-1]
        ends.append(_End(float(last["n_per_class"]), float(last["value"]), names[key], colour))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    every = pd.concat([points, published])
    low, high = _limits(every if scale is None else pd.concat([every, scale]), references)
    axes.set_ylim(low, high)
    guessing = {"guessing": chance} if chance is not None and chance > low else {}
    edge = float(every["n_per_class"].max())
    for words, value in {**references, **guessing}.items():
        axes.axhline(value, color=MUTED, linewidth=0.8, linestyle=DOTTED, zorder=1)
        ends.append(_End(edge, value, words, MUTED))
    return ends


def _line_with_band(axes: Axes, line: pd.DataFrame, colour: str, dashes: Any, marker: str) -> None:
    x, y = line["n_per_class"].to_numpy(float), line["value"].to_numpy(float)
    axes.plot(x, y, color=colour, linestyle=dashes, zorder=3)
    if (line["band"] != "").any():
        low, high = (line[end].to_numpy(float) for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0, zorder=2)
    capped = line["capped"].to_numpy(bool)
    for mask, face in ((~capped, colour), (capped, "white")):
        axes.plot(
            x[mask], y[mask], linestyle="none", marker=marker, markersize=4, markeredgewidth=1.1,
            markerfacecolor=face, markeredgecolor=colour, zorder=4,
        )


def _label_axis(axes: Axes, points: pd.DataFrame, *, above: bool = True) -> None:
    """Plain numbers at the budgets, on a logarithmic axis; above, what they cost to read, or add up to."""
    axes.set_xscale("log")
    budgets = sorted(float(budget) for budget in points["n_per_class"].unique())
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{budget:.0f}" for budget in budgets])
    axes.set_xlabel("labels per class")
    if not above:
        return
    points = points[points["n_labels"].notna()]
    known = "n_read" in points and points["n_read"].notna().all()
    totals = points.groupby("n_per_class")["n_read" if known else "n_labels"].mean().reindex(budgets)
    upper = axes.secondary_xaxis("top")
    upper.xaxis.set_major_locator(FixedLocator(budgets))
    upper.xaxis.set_minor_locator(NullLocator())
    upper.set_xticklabels([compact(total) if total > 0 else "" for total in totals], fontsize=small())
    upper.set_xlabel("images read at random until each class has them" if known else "labels in all",
                     fontsize=small(), color=MUTED)
    upper.spines["top"].set_visible(False)
    upper.tick_params(length=0)


def _thin_labels(axes: Axes) -> None:
    """Leave out the numbers on the axes that would touch the one to their right; the ticks stay."""
    width, _ = room_in_points(axes)
    first, last = axes.get_xlim()
    for one in (axes, *axes.child_axes):
        free = np.inf
        for label in reversed(one.get_xticklabels()):
            place = width * (np.log(label.get_position()[0]) - np.log(first)) / (np.log(last) - np.log(first))
            half = 0.33 * float(label.get_fontsize()) * len(label.get_text())
            if place + half > free:
                label.set_visible(False)
            else:
                free = place - half - 2


def _limits(points: pd.DataFrame, references: Mapping[str, float]) -> tuple[float, float]:
    values = np.append(points[["value", "low", "high"]].to_numpy(float).ravel(), list(references.values()))
    low, high = np.nanmin(values), np.nanmax(values)
    # a little beyond 1, so that a point there is whole
    return max(0.0, np.floor(low * 10 - 0.2) / 10), min(1.01, np.ceil(high * 10 + 0.2) / 10)


def _height_of(names: Sequence[str]) -> float:
    """Points that a name takes at the end of its line: as many as the tallest one."""
    lines = max([words.count("\n") + 1 for words in names], default=1)
    return (small() + 0.5) * (1.12 * lines + 0.12)


def _room_for(names: Sequence[str]) -> float:
    """Inches that all names take, one above the other."""
    return len(names) * _height_of(names) / 72


def _name_ends(axes: Axes, ends: Sequence[_End]) -> None:
    """Write each line's name at its end, moved off the others, with a thin line to where it belongs."""
    beside = axes.get_yaxis_transform()
    texts = [
        axes.text(1.045, end.y, end.words, color=legible(end.colour), va="center", fontsize=small() + 0.5,
                  fontweight="bold", linespacing=1.05, transform=beside, clip_on=False)
        for end in ends
    ]
    _, room = room_in_points(axes)
    low, high = axes.get_ylim()
    gap = _height_of([end.words for end in ends]) / room * (high - low)
    heights = apart([end.y for end in ends], gap, low + gap / 3, high - gap / 3)
    edge = axes.get_xlim()[1]
    for text, height, end in zip(texts, heights, ends, strict=True):
        text.set_y(height)
        axes.plot(
            [1.0, 1.035], [end.y, height], color=end.colour, linewidth=0.7, transform=beside, clip_on=False
        )
        axes.plot([end.x, edge], [end.y, end.y], color=end.colour, linewidth=0.7, alpha=0.6, zorder=1)
    axes.set_xlim(right=edge)


@drawn
def differences(table: pd.DataFrame, *, width: float = WIDTH) -> Figure:
    """Differences with their intervals, a row each; filled where they are told from chance.

    Args:
        table: rows of :func:`~hundredfold.learn.compare.compare`, with a column ``name``.
        width: of the figure in inches.
    """
    letters = round(7 * width)
    figure, axes = plain_axes(width, 0.3 * len(table) + 0.75)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x")
    rows = np.arange(len(table))
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.hlines(rows, table["low"], table["high"], color=CYCLE[0], alpha=0.45, linewidth=3)
    for row, place in zip(rows_of(table), rows, strict=True):
        face = CYCLE[0] if row.p_holm < LEVEL else "white"
        axes.plot(row.difference, place, "o", markersize=5.5, color=CYCLE[0], markerfacecolor=face)
    axes.set_yticks(rows, [in_lines(name, letters) for name in table["name"]], color=INK)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(max(4, round(width))))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("difference\n(balanced accuracy)")
    return figure


@drawn
def over_steps(
    metrics: pd.DataFrame,
    *,
    lines: Mapping[str, str],
    ylabel: str,
    limit: tuple[str, str] | None = None,
    smooth: bool = False,
    floor: float | None = None,
) -> Figure:
    """Columns of ``metrics.jsonl`` against the training step.

    Args:
        metrics: a row a step.
        lines: column → the words at its end.
        ylabel: the quantity and its unit.
        limit: a column that is constant and its words, drawn as a dashed line.
        smooth: draw each step pale and a running median over 2 % of the steps strong.
        floor: the lower end of the axis.
    """
    figure, axes = plain_axes(height=2.7)
    ends = []
    for position, (column, words) in enumerate(lines.items()):
        known = metrics[metrics[column].notna()]
        if known.empty:
            continue
        x, y = known["step"].to_numpy(float), known[column].to_numpy(float)
        colour = CYCLE[position]
        if smooth and len(y) > 20:
            axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.7)
            y = pd.Series(y).rolling(max(5, len(y) // 50), center=True, min_periods=1).median().to_numpy()
        axes.plot(x, y, color=colour, marker="o" if len(y) < 30 else None, markersize=3)
        ends.append(_End(float(x[-1]), float(y[-1]), words, colour))
    if limit is not None and metrics[limit[0]].notna().any():
        ceiling = float(metrics[limit[0]].dropna().iloc[-1])
        axes.axhline(ceiling, color=MUTED, linewidth=0.8, linestyle=DOTTED)
        ends.append(_End(float(metrics["step"].max()), ceiling, limit[1], MUTED))
    if floor is not None:
        highest = max([end.y for end in ends], default=floor)
        axes.set_ylim(floor, max(axes.get_ylim()[1], floor + 1.08 * (highest - floor)))
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _name_ends(axes, ends)
    return figure
