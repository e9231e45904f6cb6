"""How every figure looks, and how it is saved."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from hundredfold.rundir import atomic_write

__all__ = [
    "CYCLE",
    "INK",
    "MUTED",
    "RULE",
    "WIDTH",
    "apart",
    "colour_of",
    "drawn",
    "embedded",
    "plain_axes",
    "save_figure",
    "save_table",
]

P = ParamSpec("P")

#: Okabe and Ito's colours, told apart with any colour vision, without the yellow that paper swallows.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A")
NAMED = {"pretrained": CYCLE[0], "initial": CYCLE[1], "thumbnail": CYCLE[6]}
INK, MUTED, RULE = "#1F2328", "#5F6670", "#D5D9DE"
WIDTH = 5.0  # inches; text of 8–9 pt then reads on a phone (370 px) and in half a page
DPI = 200

# Scripts that matplotlib's own font lacks are drawn where the machine has a font for them.
FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans Thai", "Noto Sans Devanagari", "Arial Unicode MS")


def _style() -> dict[str, Any]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)],
        "font.size": 8.5,
        "axes.titlesize": 9.5,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "lines.linewidth": 1.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "text.parse_math": False,  # a class may be called "$x$"
        "svg.hashsalt": "hundredfold",
        "svg.fonttype": "path",
        "image.interpolation": "none",
    }


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's settings for our figures; a glyph no font has becomes a box, not a warning."""
    with mpl.rc_context(cast(Any, _style())), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def drawn(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the house style."""

    @wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            return function(*args, **kwargs)

    return styled


def plain_axes(width: float = WIDTH, height: float = 3.3) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and quiet horizontal lines; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="y")
    return figure, axes


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``NAME.png`` (200 dpi) and ``NAME.svg``; the same figure gives the same bytes."""
    undated = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    for kind, metadata in undated.items():
        with atomic_write(folder / f"{name}.{kind}") as path, house_style():
            figure.savefig(path, format=kind, dpi=DPI, metadata=cast(Any, metadata))


def save_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``NAME.csv`` with six significant digits."""
    with atomic_write(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def embedded(folder: Path, name: str, *, photographic: bool) -> str:
    """A saved figure as a ``data:`` address: its SVG, or of photographs a JPEG."""
    if not photographic:
        return _data_address("svg+xml", (folder / f"{name}.svg").read_bytes())
    buffer = io.BytesIO()
    with Image.open(folder / f"{name}.png") as picture:
        picture.convert("RGB").save(buffer, format="JPEG", quality=88, optimize=True)
    return _data_address("jpeg", buffer.getvalue())


def _data_address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def colour_of(name: str, position: int) -> str:
    """The colour of an encoder by its name, of anything else by its position."""
    return NAMED.get(name, CYCLE[position % len(CYCLE)])


def apart(positions: Sequence[float], gap: float) -> list[float]:
    """Move labels apart so that neighbours keep ``gap``, each as little as the order allows.

    Examples:
        >>> apart([0.5, 0.5, 0.9], 0.1)
        [0.45, 0.55, 0.9]
    """
    order = np.argsort(positions, kind="stable")
    wanted = np.asarray(positions, dtype=float)[order] - gap * np.arange(len(positions))
    moved = np.empty(len(positions))
    moved[order] = _isotonic(wanted) + gap * np.arange(len(positions))
    return [round(float(value), 6) for value in moved]


def _isotonic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest non-decreasing sequence (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (right, many), (left, few) = blocks.pop(), blocks.pop()
            blocks.append(((left * few + right * many) / (few + many), few + many))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
