"""Rows of predictions as JSON says them: in lines of a file, and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from hundredfold.predict.columns import BETWEEN, NEIGHBOURS, PROBABILITY, SCORE, SETS

__all__ = ["records"]

#: Columns of lists → how one is read from its cell.
_LISTS: Mapping[str, Callable[[str], list[Any]]] = {
    SETS: lambda cell: cell.split(BETWEEN), NEIGHBOURS: json.loads,
}
#: How the columns of the classes begin → what they are together.
TOGETHER: Mapping[str, str] = {PROBABILITY: "probabilities", SCORE: "scores"}


def records(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One object a row: its cells by column, missing ones ``None``; those of the classes in one object.

    A set of classes is a list, and so are neighbours.

    Examples:
        >>> rows = pd.DataFrame({"label": ["a", None], "p:a": [0.9, None], "p:b": [0.1, None]})
        >>> for record in records(rows):
        ...     print(record)
        {'label': 'a', 'probabilities': {'a': 0.9, 'b': 0.1}}
        {'label': None, 'probabilities': None}
    """
    cells = rows.astype(object).where(rows.notna(), None)
    for row in cells.to_dict("records"):
        yield _nested({str(name): value for name, value in row.items()})


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in row.items():
        mark = next((mark for mark in TOGETHER if name.startswith(mark)), None)
        if mark is None:
            record[name] = _LISTS[name](value) if name in _LISTS and value else value
        elif value is None:
            record.setdefault(TOGETHER[mark], None)
        else:
            record.setdefault(TOGETHER[mark], {})[name.removeprefix(mark)] = value
    return record
