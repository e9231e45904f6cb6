"""Lines over labels and over steps: one function a figure, from tidy tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hundredfold.report.style import CYCLE, MUTED, apart, colour_of, drawn, plain_axes
from hundredfold.report.words import compact, share

__all__ = ["learning_curves", "over_steps"]

MARKERS = "os^Dv"


@drawn
def learning_curves(
    points: pd.DataFrame, *, by: str, names: Mapping[str, str], ylabel: str, chance: float | None = None
) -> Figure:
    """Accuracy against labels per class (below) and labels in all (above), one line a ``by``.

    Args:
        points: rows of :func:`~hundredfold.report.tables.curve_points`.
        by: the column that tells the lines apart, "encoder" or "classifier".
        names: its values → the words at the lines' ends, in drawing order.
        ylabel: what the points measure.
        chance: accuracy of guessing, drawn if the axis reaches it.
    """
    figure, axes = plain_axes(height=3.5)
    ends = []
    for position, (key, words) in enumerate(names.items()):
        line = points[points[by] == key].sort_values("n_per_class")
        if line.empty:
            continue
        colour = colour_of(key, position)
        _line_with_band(axes, line, colour, MARKERS[position % len(MARKERS)])
        ends.append((float(line["value"].iloc[-1]), words, colour))
    _label_axis(axes, points)
    axes.set_ylabel(ylabel)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: share(value, 1) if value else "0"))
    low, high = _limits(points)
    axes.set_ylim(low, high)
    if chance is not None and chance > low:
        axes.axhline(chance, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.text(
            0.995,
            chance,
            "guessing",
            color=MUTED,
            fontsize=7.5,
            ha="right",
            va="bottom",
            transform=axes.get_yaxis_transform(),
        )
    _name_ends(
        axes, ends, gap=(high - low) * (0.1 if any("\n" in words for words in names.values()) else 0.07)
    )
    return figure


def _line_with_band(axes: Axes, line: pd.DataFrame, colour: str, marker: str) -> None:
    x, y = line["n_per_class"].to_numpy(float), line["value"].to_numpy(float)
    axes.plot(x, y, color=colour, zorder=3)
    if (line["band"] != "").any():
        axes.fill_between(
            x,
            line["low"].to_numpy(float),
            line["high"].to_numpy(float),
            color=colour,
            alpha=0.16,
            linewidth=0,
            zorder=2,
        )
    capped = line["capped"].to_numpy(bool)
    for mask, face in ((~capped, colour), (capped, "white")):
        axes.plot(
            x[mask],
            y[mask],
            linestyle="none",
            marker=marker,
            markersize=4.5,
            markeredgewidth=1.2,
            markerfacecolor=face,
            markeredgecolor=colour,
            zorder=4,
        )


def _label_axis(axes: Axes, points: pd.DataFrame) -> None:
    totals = points.groupby("n_per_class")["n_labels"].mean()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(budget) for budget in totals.index]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{budget:g}" for budget in totals.index])
    axes.set_xlabel("labels per class")
    above = axes.secondary_xaxis("top")
    above.xaxis.set_major_locator(FixedLocator([float(budget) for budget in totals.index]))
    above.xaxis.set_minor_locator(NullLocator())
    above.set_xticklabels([compact(total) for total in totals], fontsize=7.5)
    above.set_xlabel("labels in all", fontsize=7.5, color=MUTED)
    above.spines["top"].set_visible(False)
    above.tick_params(length=0)


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    values = points[["value", "low", "high"]].to_numpy(float)
    low, high = np.nanmin(values), np.nanmax(values)
    # a little beyond 1, so that a point there is whole
    return max(0.0, np.floor(low * 10 - 0.2) / 10), min(1.01, np.ceil(high * 10 + 0.2) / 10)


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]], gap: float) -> None:
    heights = apart([value for value, _, _ in ends], gap)
    for height, (_, words, colour) in zip(heights, ends, strict=True):
        axes.text(
            1.02,
            height,
            words,
            color=colour,
            va="center",
            fontsize=8,
            fontweight="bold",
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )


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
        ends.append((float(y[-1]), words, colour))
    if limit is not None and metrics[limit[0]].notna().any():
        ceiling = float(metrics[limit[0]].dropna().iloc[-1])
        axes.axhline(ceiling, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        ends.append((ceiling, limit[1], MUTED))
    if floor is not None:
        highest = max([height for height, _, _ in ends], default=floor)
        axes.set_ylim(floor, max(axes.get_ylim()[1], floor + 1.08 * (highest - floor)))
    low, high = axes.get_ylim()
    _name_ends(axes, ends, gap=(high - low) * 0.09)
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure
