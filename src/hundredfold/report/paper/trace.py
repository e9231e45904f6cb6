"""Numbers that a text tells, each with the file and the place where it is found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
import yaml

from hundredfold.files import hash_file
from hundredfold.report.material import read_metrics
from hundredfold.report.words import share

__all__ = ["FACTS", "Entry", "Place", "Trace", "count", "look_up", "percent", "plain", "share"]

Take: TypeAlias = Literal["value", "number", "sum", "mean", "kinds"]
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
#: what ``run.json`` said when a text was written: the report's own stage changes that file afterwards
FACTS = "facts.json"
MISSING = "there is no {at} in {file}"


@dataclass(frozen=True)
class Place:
    """Where a number stands.

    Attributes:
        file: relative to the run.
        at: in JSON and YAML a pointer (RFC 6901), in a table a column.
        take: ``value`` the one value there; ``number`` how many entries or rows; ``sum`` and ``mean`` over
            them; ``kinds`` how many different ones.
        rows: column → value, or several: the rows of a table that count; ``None`` stands for missing,
            ``True`` for not missing.
        by: what it is divided by: 60 makes minutes of seconds.

    Examples:
        >>> print(Place("facts.json", "/curve/test_images", "sum"))
        sum of /curve/test_images
        >>> print(Place("curve.parquet", "value", "mean", {"encoder": "initial", "class": None}))
        mean of value, rows {"encoder": "initial", "class": null}
    """

    file: str
    at: str
    take: Take = "value"
    rows: Mapping[str, object] = field(default_factory=dict)
    by: int = 1

    def __str__(self) -> str:
        chosen = f", rows {json.dumps(dict(self.rows), ensure_ascii=False)}" if self.rows else ""
        return f"{self.take} of {self.at}{f', divided by {self.by}' if self.by > 1 else ''}{chosen}"


@dataclass(frozen=True)
class Entry:
    """A number as it was told: what it is, how it is written, and its place."""

    meaning: str
    written: str
    place: Place


def look_up(folder: Path, place: Place) -> Any:
    """What stands at a place of the files in ``folder``.

    Raises:
        LookupError: nothing does, or several different values do where one was asked for.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "facts.json").write_text('{"test": {"a": 3, "b": 4}}')
        >>> look_up(folder, Place("facts.json", "/test/b"))
        4
        >>> look_up(folder, Place("facts.json", "/test", "sum"))
        7
    """
    if not (path := folder / place.file).is_file():
        raise LookupError(MISSING.format(at=place.at, file=place.file))
    held = _read(path, path.stat().st_mtime_ns)
    found = _of_table(held, place) if isinstance(held, pd.DataFrame) else _of_tree(held, place)
    return found if place.by == 1 else found / place.by


def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    return f"{round(float(value)):,}"


def plain(value: Any) -> str:
    """A setting's number.

    Examples:
        >>> plain(0.0005), plain(2e-06), plain(2048), plain(9.38)
        ('0.0005', '2×10⁻⁶', '2,048', '9.38')
    """
    number = float(value)
    if number.is_integer():
        return count(number)
    digits, power = f"{number:e}".split("e")
    if int(power) > -5:
        return f"{number:g}"
    return f"{float(digits):g}×10⁻{str(-int(power)).translate(RAISED)}"


def percent(value: Any) -> str:
    """A share as a percentage.

    Examples:
        >>> percent(1 / 3), percent(1), percent(0.0556)
        ('33.3\u00a0%', '100\u00a0%', '5.56\u00a0%')
    """
    return f"{100 * float(value):.3g}\u00a0%"


class Trace:
    """Reads the numbers of a text from the files of a run, and remembers where each was.

    Args:
        folder: the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []

    def get(self, place: Place) -> Any:
        """What stands there, not to be told as a number; ``None`` where nothing does."""
        try:
            found = look_up(self.folder, place)
        except LookupError:
            return None
        return None if isinstance(found, float) and found != found else found  # noqa: PLR0124 -- NaN

    def number(self, meaning: str, place: Place, write: Callable[[Any], str] = count) -> str:
        """A number to be told; ``–`` where there is none."""
        if (value := self.get(place)) is None:
            return "–"
        entry = Entry(meaning, write(value), place)
        if entry not in self.entries:
            self.entries.append(entry)
        return entry.written

    def hashes(self) -> Iterator[tuple[str, str]]:
        """The files that numbers were read from, each with its SHA-256."""
        for name in dict.fromkeys(entry.place.file for entry in self.entries):
            yield name, hash_file(self.folder / name)


@cache
def _read(path: Path, _changed: int) -> Any:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        return read_metrics(path)
    if path.suffix == ".csv":
        # A class may be called 007, or NA.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    text = path.read_text(encoding="utf-8")
    return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)


def _of_table(table: pd.DataFrame, place: Place) -> Any:
    for column, value in place.rows.items():
        if column not in table:
            raise LookupError(MISSING.format(at=column, file=place.file))
        table = table[_is(table[column], value)]
    if place.take == "number":
        return len(table)
    if place.at not in table or table.empty:
        raise LookupError(MISSING.format(at=place.at, file=place.file))
    values = table[place.at]
    if place.take == "kinds":
        return int(values.nunique())
    numbers = pd.to_numeric(values)
    if place.take != "value":
        return float(numbers.sum() if place.take == "sum" else numbers.mean())
    if numbers.nunique(dropna=False) > 1:
        raise LookupError(f"several values: {place}")
    return numbers.iloc[0].item()


def _is(column: pd.Series, value: object) -> pd.Series:
    if value is None or value is True:
        return column.isna() if value is None else column.notna()
    wanted = value if isinstance(value, list) else [value]
    return column.astype(str).isin([str(one) for one in wanted])


def _of_tree(tree: Any, place: Place) -> Any:
    for part in place.at.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise LookupError(MISSING.format(at=place.at, file=place.file)) from None
    if place.take == "number":
        return len(tree)
    values = list(tree.values()) if isinstance(tree, dict) else tree
    if place.take == "kinds":
        return len(set(values))
    if place.take == "sum":
        return sum(values)
    return sum(values) / len(values) if place.take == "mean" else tree
