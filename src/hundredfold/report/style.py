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
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from hundredfold.files import atomic_write

__all__ = [
    "COLUMN",
    "CYCLE",
    "INK",
    "MUTED",
    "PAGE",
    "RULE",
    "WIDTH",
    "apart",
    "drawn",
    "embedded",
    "legible",
    "looks",
    "plain_axes",
    "room_in_points",
    "save_figure",
    "save_table",
    "small",
]

P = ParamSpec("P")

#: Okabe and Ito's colours, told apart with any colour vision, without the yellow that paper swallows.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A")
NAMED = {
    "pretrained": CYCLE[0], "adapted": CYCLE[2], "initial": CYCLE[1], "thumbnail": CYCLE[6],
    "shortcut": CYCLE[4],
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
INK, MUTED, RULE = "#1F2328", "#5F6670", "#D5D9DE"
WIDTH = 5.0  # inches; text of 8–9 pt then reads on a phone (370 px) and in half a page
#: one column and the whole page of most journals, in inches (85 and 170 mm)
COLUMN, PAGE = 85 / 25.4, 170 / 25.4
DPI = 200
CONTRAST = 4.5
KINDS: dict[str, dict[str, Any]] = {  # file ending → metadata, without dates
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

# Scripts that matplotlib's own font lacks are drawn where the machine has a font for them.
FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans Thai", "Noto Sans Devanagari", "Arial Unicode MS")


def _style(size: float = 8.5) -> dict[str, Any]:
    """Matplotlib's settings; ``size`` in points is that of plain text, from which the others follow."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)],
        "font.size": size,
        "axes.titlesize": size + 1,
        "axes.labelsize": size,
        "xtick.labelsize": size - 0.5,
        "ytick.labelsize": size - 0.5,
        "legend.fontsize": size - 0.5,
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
        "pdf.fonttype": 42,  # whole TrueType fonts, as journals ask for
        "image.interpolation": "none",
    }


@contextmanager
def house_style(size: float = 8.5) -> Iterator[None]:
    """Matplotlib's settings for our figures; a glyph no font has becomes a box, not a warning."""
    with mpl.rc_context(cast(Any, _style(size))), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def drawn(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the house style; one that is given a journal's ``width`` in the journal's 7 pt."""

    @wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style(7 if "width" in kwargs and kwargs["width"] != WIDTH else 8.5):
            return function(*args, **kwargs)

    return styled


def plain_axes(width: float = WIDTH, height: float = 3.3) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and quiet horizontal lines; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="y")
    return figure, axes


def room_in_points(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes in points, once everything around them has been laid out."""
    figure = cast(Figure, axes.figure)
    figure.draw_without_rendering()
    extent = axes.get_window_extent()
    return float(extent.width * 72 / figure.dpi), float(extent.height * 72 / figure.dpi)


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write ``NAME.png`` (200 dpi), ``NAME.svg`` and ``NAME.pdf``; the same figure gives the same bytes."""
    with house_style():
        figure.draw_without_rendering()  # axes of a fixed aspect find their room only in a second layout
        for kind, metadata in KINDS.items():
            with atomic_write(folder / f"{name}.{kind}") as path:
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


def looks(names: Sequence[str]) -> list[tuple[str, Any]]:
    """Colour and line style of each line: of the usual encoders always the same, of others what is left.

    Where there are more lines than colours, the colours come again dashed, then dotted.

    Examples:
        >>> looks(["initial", "mine"])
        [('#D55E00', '-'), ('#0072B2', '-')]
    """
    taken = {NAMED[name] for name in names if name in NAMED}
    free = [(colour, dash) for dash in DASHES for colour in CYCLE if dash != "-" or colour not in taken]
    others = iter(free * (len(names) // len(free) + 1))
    return [(NAMED[name], "-") if name in NAMED else next(others) for name in names]


def legible(colour: str) -> str:
    """The colour of a line, as dark as words in it must be on white (contrast 4.5, WCAG 2.2, 1.4.3).

    Examples:
        >>> legible("#0072B2"), legible("#E69F00")
        ('#0072b2', '#9d6d00')
    """
    rgb = np.array(to_rgb(colour))
    while 1.05 / (_luminance(rgb) + 0.05) < CONTRAST:
        rgb *= 0.99
    red, green, blue = rgb.tolist()
    return to_hex((red, green, blue))


def _luminance(rgb: NDArray[np.float64]) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def small() -> float:
    """The size in points of what is written beside the data, under the style that is being drawn in."""
    return float(mpl.rcParams["font.size"]) - 1


def apart(
    positions: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf
) -> list[float]:
    """Move labels apart so that neighbours keep ``gap``, each as little as the order allows.

    Where there is room for all, they stay between ``low`` and ``high``.

    Examples:
        >>> apart([0.5, 0.5, 0.9], 0.1)
        [0.45, 0.55, 0.9]
        >>> apart([0.98, 0.99], 0.1, high=1.0)
        [0.9, 1.0]
    """
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(positions))
    wanted = np.asarray(positions, dtype=float)[order] - steps
    moved = np.empty(len(positions))
    # A bounded isotonic regression is the plain one, clipped.
    moved[order] = np.clip(_isotonic(wanted), low, max(low, high - steps.max(initial=0))) + steps
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
