"""What every published data set is: a layout, counts to check it against, and a way to read it."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from hundredfold.config import DatasetChoices
from hundredfold.data.rows import existing
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, TooManyRejectsError

__all__ = ["DataSet", "Reader", "Reading", "check_whole", "files_below", "locate", "parts_of", "with_part"]

DEPTH = 3
NAMED = 5


@dataclass(frozen=True)
class Reading:
    """What was found of a data set.

    Attributes:
        table: its images; ``split`` is missing where it is to be drawn.
        parts: a row a class or other part: ``part, published, found``, in images.
        modality: what may be done to the images when the paper's own augmentation is not asked for.
        split: where the split comes from, as a sentence.
        missing: names of published images that are not there, where the names are known.
        notes: what a reader of the results must know, as sentences.
        write: writes images that do not lie in files of their own yet below a folder; their ``path`` is
            relative to it.
    """

    table: ImageTable
    parts: pd.DataFrame
    modality: str
    split: str
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    write: Callable[[Path], None] = field(default=lambda _: None)

    @property
    def published(self) -> int:
        """How many images were published."""
        return int(self.parts["published"].sum())

    @property
    def lacking(self) -> int:
        """How many of them are not there."""
        return int((self.parts["published"] - self.parts["found"]).clip(lower=0).sum())


#: (the folder the user names, choices) → what was found.
Reader: TypeAlias = Callable[[Path, DatasetChoices], Reading]


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        name: as the user calls it.
        title: as its authors call it.
        source: where a user gets it.
        read: reads it.
    """

    name: str
    title: str
    source: str
    read: Reader


def parts_of(published: Mapping[str, int], labels: pd.Series) -> pd.DataFrame:
    """The classes of a data set with the images of each, published and found.

    Examples:
        >>> parts_of({"BAS": 441, "KSC": 42}, pd.Series(["BAS", "BAS"])).to_numpy().tolist()
        [['BAS', 441, 2], ['KSC', 42, 0]]
    """
    found = labels.value_counts().reindex(list(published), fill_value=0)
    names, counts = list(published), list(published.values())
    return pd.DataFrame({"part": names, "published": counts, "found": found.to_numpy()})


def with_part(parts: pd.DataFrame, part: str, published: int, found: int) -> pd.DataFrame:
    """The parts and one more."""
    more = pd.DataFrame({"part": [part], "published": [published], "found": [found]})
    return pd.concat([parts, more], ignore_index=True)


def check_whole(reading: Reading, *, images: Path, source: str, max_bad: float) -> str | None:
    """Compare what was found with what was published; gives a sentence if a tolerated part is missing.

    Raises:
        InputError: a part has more images than were published, or nothing was found.
        TooManyRejectsError: a larger share than ``max_bad`` is missing.
    """
    parts = reading.parts
    more = parts[parts["found"] > parts["published"]]
    if len(more):
        raise InputError(
            f"more images than were published: {_told(more)}", where=images,
            remedy="Remove what does not belong to the data set.",
        )
    if not parts["found"].sum():
        raise InputError("no image of the data set is there", where=images, remedy=f"Get it from {source}.")
    if not reading.lacking:
        return None
    fewer = parts[parts["found"] < parts["published"]]
    found = f"{reading.lacking:,} of {reading.published:,} published images are missing ({_told(fewer)})"
    if reading.lacking / reading.published <= max_bad:
        return f"{found}."
    named = f", for example {', '.join(reading.missing[:NAMED])}" if reading.missing else ""
    share = math.ceil(100 * reading.lacking / reading.published) / 100
    raise TooManyRejectsError(
        f"{found}{named}", where=images,
        remedy=f"Complete the download ({source}), or go on with what is there: --max-bad {share:g}.",
    )


def locate(images: Path, holds: Callable[[Path], bool], *, title: str, tree: str) -> Path:
    """The first folder, ``images`` or up to three levels below it, for which ``holds`` is true.

    Raises:
        InputError: there is none; the message shows the expected tree and what was found.
    """
    if existing(images, f"the folder of {title}").is_dir():
        found = next((folder for folder in folders_below(images) if holds(folder)), None)
        if found is not None:
            return found
        names = sorted(entry.name for entry in os.scandir(images) if not entry.name.startswith("."))
        there = ", ".join(names[:8]) + (" …" if len(names) > 8 else "") or "nothing"
    else:
        there = "a file"
    raise InputError(
        f"expected {title} as it is published, {tree}; found {there}", where=images,
        remedy="Unpack the archives, and name the folder they were unpacked in.",
    )


def folders_below(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """``folder`` and the folders below it, nearest first, by name; hidden ones are left out."""
    waiting = deque([(folder, 0)])
    while waiting:
        here, level = waiting.popleft()
        yield here
        if level < depth:
            inner = sorted(entry.name for entry in os.scandir(here) if entry.is_dir())
            waiting.extend((here / name, level + 1) for name in inner if not name.startswith("."))


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files below ``folder`` with one of the suffixes (small letters), sorted; hidden ones left out."""
    every = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [path for path in every if not path.name.startswith(".") and path.is_file()]


def _told(parts: pd.DataFrame) -> str:
    told = [f"{row.part} {row.found:,} of {row.published:,}" for row in parts.head(NAMED).itertuples()]
    return ", ".join([*told, *([f"{len(parts) - NAMED} more"] if len(parts) > NAMED else [])])
