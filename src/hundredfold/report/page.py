"""How a page is put together: figures and tables as files, and one HTML file that has all of them inside."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hundredfold.files import write_text
from hundredfold.report.chapters.base import Cell, Exhibit, Listing
from hundredfold.report.paper.document import Table
from hundredfold.report.style import embedded, save_figure, save_table

__all__ = ["save_items", "write_page"]


def save_items(items: Iterable[Exhibit | Listing], figures: Path) -> None:
    """Write the numbers of every item as CSV, and its figure, if it is one."""
    for item in items:
        save_table(item.table, figures, item.name)
        if isinstance(item, Exhibit):
            save_figure(item.figure, figures, item.name)


def write_page(path: Path, figures: Path, **words: Any) -> Path:
    """Write one self-contained HTML file.

    Args:
        path: of the file.
        figures: where :func:`save_items` wrote those of the page.
        words: what ``templates/report.html`` asks for: name, kind, version, finding, cautions, first,
            chapters, texts, citations.
    """
    page = _environment(figures).get_template("report.html").render(**words)
    write_text(path, _encodable(page))
    return path


def _environment(figures: Path) -> Environment:
    environment = Environment(
        loader=PackageLoader("hundredfold.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["exhibit"] = lambda item: isinstance(item, Exhibit)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.filters["embedded"] = lambda item: embedded(
        figures, item.name, photographic=item.photographic
    )
    environment.filters["cell"] = lambda cell: cell if isinstance(cell, Cell) else Cell(cell)
    return environment


def _encodable(page: str) -> str:
    """Without the half characters that a file name of another encoding can hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", page)
