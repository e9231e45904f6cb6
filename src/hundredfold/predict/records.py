"""Rows of predictions as JSON says them: in lines of a file, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from hundredfold.predict.columns import BETWEEN, PROBABILITY, SCORE, SETS

__all__ = ["records"]

#: How the columns of the classes begin → what they are together.
TOGETHER: Mapping[str, str] = {PROBABILITY: "probabilities", SCORE: "scores"}


def records(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One object a row: its cells by column, missing ones ``None``; those of the classes in one object.

    A set of classes is a list.

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
            record[name] = value.split(BETWEEN) if name == SETS and value else value
        elif value is None:
            record.setdefault(TOGETHER[mark], None)
        else:
            record.setdefault(TOGETHER[mark], {})[name.removeprefix(mark)] = value
    return record
