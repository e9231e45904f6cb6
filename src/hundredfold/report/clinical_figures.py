"""ROC and precision–recall curves, a panel a class, reliability and referral, from tidy tables."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from hundredfold.metrics import TINY
from hundredfold.report.style import CYCLE, INK, MUTED, WIDTH, drawn, legible, plain_axes, small
from hundredfold.report.words import in_lines, share, tick

__all__ = ["MOST_PANELS", "referral_curve", "reliability_diagram", "tradeoff_panels"]

MOST_PANELS = 24
TITLES = {"roc": ("1 − specificity", "sensitivity"), "pr": ("sensitivity (recall)", "precision (PPV)")}


@drawn
def tradeoff_panels(table: pd.DataFrame, points: pd.DataFrame, kind: Literal["roc", "pr"]) -> Figure:
    """The curve of each class with its band, the area under it, and where operating points lie.

    Args:
        table: rows of :func:`~hundredfold.report.judged.curve_table`; the classes in its order.
        points: class, x, y, and ``chosen``: filled for the classifier's own decision, a ring for a chosen
            threshold.
        kind: ROC, or precision against recall.
    """
    names = list(dict.fromkeys(table["class"]))
    columns = min(len(names), 3 if len(names) <= 6 else 4 if len(names) <= 12 else 5)
    rows = -(-len(names) // columns)
    width = WIDTH * (1.5 if len(names) > 2 else 1.0)
    figure = Figure(figsize=(width, rows * (width / columns + 0.25) + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name = names[place]
        _panel(axes, table[table["class"] == name], points[points["class"] == name], kind)
        axes.tick_params(labelbottom=place + columns >= len(names))  # nothing stands below
    figure.supxlabel(TITLES[kind][0], fontsize=8.5)
    figure.supylabel(TITLES[kind][1], fontsize=8.5)
    return figure


def _panel(axes: Axes, curve: pd.DataFrame, points: pd.DataFrame, kind: str) -> None:
    x, first = curve["x"].to_numpy(float), curve.iloc[0]
    axes.plot(x, curve["chance"], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    if curve["low"].notna().all():
        ends = (curve["low"].to_numpy(float), curve["high"].to_numpy(float))
        axes.fill_between(x, *ends, color=CYCLE[0], alpha=0.18, linewidth=0)
    axes.plot(x, curve["value"], color=CYCLE[0], linewidth=1.5)
    for chosen, face in ((False, CYCLE[1]), (True, "white")):
        own = points[points["chosen"] == chosen]
        axes.plot(own["x"], own["y"], "o", markersize=5, markerfacecolor=face, markeredgecolor=CYCLE[1],
                  markeredgewidth=1.3, zorder=4)
    few = "" if first["n_test"] >= TINY else ", few"
    area = f"{'AUC' if kind == 'roc' else 'AP'} {share(first['area'])}"
    if np.isfinite(first["area_low"]):
        area += f" ({share(first['area_low'])}–{share(first['area_high'])})"
    name = in_lines(first["class"], 18)
    axes.set_title(f"{name} ({first['n_test']:,}{few})\n{area}", fontsize=7.5, color=INK)
    axes.set_xlim(-0.04, 1.04)  # points of 0 and 1 are whole, with five panels in a row too
    axes.set_ylim(-0.04, 1.04)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axis.set_major_formatter(FuncFormatter(tick))
    axes.set_aspect("equal")


@drawn
def reliability_diagram(table: pd.DataFrame, *, width: float = 0.7 * WIDTH) -> Figure:
    """How often answers are right against how probable they were called.

    Args:
        table: ``way`` ("before", "after"), ``sure``, ``right``, ``low``, ``high``; a row a bin.
        width: of the figure in inches.
    """
    figure, axes = plain_axes(width, width)
    above: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}  # inside, a mark would be a value
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for way, colour, marker, place in (("before", CYCLE[1], "s", 0.03), ("after", CYCLE[0], "o", 0.55)):
        own = table[table["way"] == way]
        x, y = own["sure"].to_numpy(float), own["right"].to_numpy(float)
        axes.vlines(x, own["low"], own["high"], color=colour, alpha=0.35, linewidth=2)  # none where missing
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.4 if way == "after" else 0.8)
        axes.plot([place], [1.05], color=colour, marker=marker, markersize=4, **above)
        axes.text(place + 0.03, 1.05, f"{way} calibration", color=legible(colour), fontweight="bold",
                  va="center", fontsize=small() + 0.5, **above)
    axes.set_xlabel("probability of the most probable class")
    axes.set_ylabel("share that is right")
    for axis, limits in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        limits(0, 1.02)
        axis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axis.set_major_formatter(FuncFormatter(tick))
    axes.set_aspect("equal")
    return figure


@drawn
def referral_curve(table: pd.DataFrame, *, width: float = WIDTH) -> Figure:
    """How often labels are right where no person looks, against the share that a person looks at.

    Args:
        table: rows of :func:`~hundredfold.report.referral.referral_table`.
        width: of the figure in inches.
    """
    figure, axes = plain_axes(width, 0.66 * width)
    line, points = table[table["kind"] == "line"], table[table["kind"] == "sets"].dropna(subset="right")
    x = line["referred"].to_numpy(float)
    if line["low"].notna().all():
        axes.fill_between(x, line["low"], line["high"], color=CYCLE[0], alpha=0.18, linewidth=0)
    axes.plot(x, line["right"], color=CYCLE[0])
    axes.annotate("no person looks", (x[0], line["right"].iloc[0]), (5, -24),
                  textcoords="offset points", color=CYCLE[0], fontsize=small())
    axes.plot(points["referred"], points["right"], "o", color=CYCLE[1], markersize=5, zorder=4)
    for words, place in _together(points):
        axes.annotate(words, place, (5, -10), textcoords="offset points", color=legible(CYCLE[1]),
                      fontweight="bold",
                      fontsize=small() + 0.5)
    axes.set_xlim(-0.02, 1)
    axes.set_ylim(top=min(float(axes.get_ylim()[1]), 1.01))
    axes.set_xlabel("share of the images that a person looks at")
    axes.set_ylabel("share of the others whose label is right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(tick))
    return figure


def _together(points: pd.DataFrame) -> list[tuple[str, tuple[float, float]]]:
    """What stands beside the dots; dots that lie on each other have one label."""
    found: list[tuple[list[float], tuple[float, float]]] = []
    for level, x, y in points[["level", "referred", "right"]].itertuples(index=False, name=None):
        if found and abs(found[-1][1][0] - x) < 0.045:
            found[-1][0].append(level)
        else:
            found.append(([level], (x, y)))
    return [(f"{', '.join(f'{100 * level:g}' for level in levels)} %", place) for levels, place in found]
