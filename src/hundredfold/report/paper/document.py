"""A text with headings, paragraphs, lists and tables, written as Markdown and shown on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hundredfold.report.paper.trace import Trace

__all__ = ["Block", "Document", "Item", "Items", "Section", "Table", "sources"]


@dataclass(frozen=True)
class Item:
    """An entry of a list, with an address if it is to be found somewhere."""

    text: str
    address: str = ""


@dataclass(frozen=True)
class Items:
    """A list, numbered or not."""

    items: Sequence[Item]
    numbered: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the columns from ``words`` on hold numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


#: a string is a paragraph
Block: TypeAlias = str | Items | Table


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A text: ``name`` is its file without the ending; ``lead`` says what it is for."""

    name: str
    title: str
    lead: str
    sections: Sequence[Section] = field(default_factory=tuple)

    def markdown(self) -> str:
        r"""The text as CommonMark with tables; names in it cannot become markup.

        Examples:
            >>> print(Document("note", "A note", "For you.", [Section("One", ["a *b* <c>"])]).markdown())
            # A note
            <BLANKLINE>
            For you.
            <BLANKLINE>
            ## One
            <BLANKLINE>
            a \*b\* \<c>
            <BLANKLINE>
        """
        parts = [f"# {_safe(self.title)}", _safe(self.lead)]
        for section in self.sections:
            parts += [f"## {_safe(section.title)}", *map(_block, section.blocks)]
        return "\n\n".join(parts) + "\n"


def sources(trace: Trace) -> list[Section]:
    """Two tables: where each number of a text stands, and the hash of each file."""
    numbers = [
        [entry.meaning, entry.written, entry.place.file, str(entry.place)] for entry in trace.entries
    ]
    if not numbers:
        return []
    return [Section("Where each number comes from", [
        ("Each number above as it is written there, with its file and place in the run: a pointer into JSON "
        "or YAML, or a column of a table and its rows. “mean of value” is over these rows; shares are "
        "rounded to the digits shown."),
        Table(["number", "written", "file", "place"], numbers, words=4),
        "The files as they were when this was written, each with its SHA-256 (sha256sum FILE).",
        Table(["file", "SHA-256"], [list(pair) for pair in trace.hashes()], words=2),
    ])]


def _block(block: Block) -> str:
    if isinstance(block, str):
        return _safe(block)
    if isinstance(block, Items):
        marks = (f"{number}." if block.numbered else "-" for number in range(1, len(block.items) + 1))
        return "\n".join(f"{mark} {_item(item)}" for mark, item in zip(marks, block.items, strict=True))
    rule = ["---"] * block.words + ["---:"] * (len(block.head) - block.words)
    lines = [[_cell(text) for text in row] for row in (block.head, *block.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [lines[0], rule, *lines[1:]])


def _item(item: Item) -> str:
    return f"{_safe(item.text)} <{item.address}>" if item.address else _safe(item.text)


def _cell(text: str) -> str:
    return _safe(text).replace("|", "\\|")


def _safe(text: str) -> str:
    """One line in which no name can begin emphasis, code, a tag, an entity, a link or a picture."""
    line = re.sub(r"([\\`*<]|(?<!\w)_|_(?!\w)|&(?=#?\w+;))", r"\\\1", " ".join(text.split(" \n")).strip())
    return re.sub(r"\](?=[(\[])", r"\\]", " ".join(line.splitlines()))
