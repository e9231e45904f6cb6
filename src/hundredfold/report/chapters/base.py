"""What a chapter is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

__all__ = ["Cell", "Chapter", "Exhibit", "Listing"]

@dataclass(frozen=True)
class Exhibit:
    """A figure with its words and its numbers.

    Args:
        name: of the files: ``NAME.png``, ``NAME.svg``, ``NAME.csv``.
        title: what the figure shows.
        caption: how to read it.
        alt: what it shows, for who cannot see it.
        figure: the figure.
        table: its numbers.
        photographic: made of photographs; embedded as JPEG.
        wide: takes the whole width of the page.
    """

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    table: pd.DataFrame
    photographic: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a smaller note under it, the length of a bar behind it (0 to 1), a colour."""

    text: str
    note: str = ""
    bar: float | None = None
    swatch: str | None = None


@dataclass(frozen=True)
class Listing:
    """A table on the page; ``table`` holds the same numbers in full and becomes ``NAME.csv``.

    ``words`` counts the columns on the left that hold words; the others hold numbers.
    """

    name: str
    title: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    table: pd.DataFrame
    words: int = 1
    wide: bool = False


@dataclass(frozen=True)
class Chapter:
    """A heading with sentences, figures and tables, in reading order; ``flowing``: down two columns."""

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    items: Sequence[Exhibit | Listing] = field(default_factory=tuple)
    flowing: bool = False
