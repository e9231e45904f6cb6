"""A learning curve as places in a drawing: numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hundredfold.annotate.outlook import Point

__all__ = ["Chart", "draw_curve"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 620, 300, 44, 604, 14, 246


@dataclass(frozen=True)
class Chart:
    """Where everything is in an SVG of ``width`` x ``height``.

    Args:
        line: path through the values.
        band: path around the intervals; empty without them.
        dots: the values.
        columns: (x, words) of the labels per class.
        rows: (y, words) of the accuracies.
    """

    line: str
    band: str
    dots: tuple[tuple[float, float], ...]
    columns: tuple[tuple[float, str], ...]
    rows: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def draw_curve(points: Sequence[Point]) -> Chart:
    """Labels per class to the right, as logarithms; accuracy upwards, from a round number below the least.

    Examples:
        >>> chart = draw_curve([Point(1, 0.5, 0.4, 0.6), Point(10, 0.8, 0.7, 0.9)])
        >>> chart.dots, [words for _, words in chart.rows]
        (((44.0, 207.3), (604.0, 91.3)), ['0.4', '0.6', '0.8', '1.0'])
    """
    ends = [end for point in points for end in (point.value, point.low, point.high) if not math.isnan(end)]
    step = 0.2 if min(ends) < 0.6 else 0.1
    least = min(math.floor(min(ends) / step + 1e-9) * step, 0.8)
    span = math.log(max(point.labels for point in points)) or 1.0

    def x(labels: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * math.log(labels) / span, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - least) / (1 - least), 1)

    dots = tuple((x(point.labels), y(point.value)) for point in points)
    known = [point for point in points if not math.isnan(point.low)]
    around = [(x(point.labels), y(point.high)) for point in known]
    around += [(x(point.labels), y(point.low)) for point in reversed(known)]
    levels = [least + step * number for number in range(round((1 - least) / step) + 1)]
    return Chart(
        _path(dots), f"{_path(around)} Z" if known else "", dots,
        tuple((x(point.labels), str(point.labels)) for point in points),
        tuple((y(level), f"{level:.1f}") for level in levels if level < 1 + 1e-9),
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in places)
