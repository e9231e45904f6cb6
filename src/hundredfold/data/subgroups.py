"""Further columns of the labels whose values are judged apart: sex, age band, device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hundredfold.data.labels import LABEL_COLUMNS, matched_rows, tidied
from hundredfold.data.rows import read_rows
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError, TableError
from hundredfold.url import Url

__all__ = ["NOT_STATED", "read_subgroups"]

#: The value of an image whose cell is empty.
NOT_STATED = "(not stated)"
#: A column with more values tells patients apart, not kinds of patients.
MOST_VALUES = 20


def read_subgroups(path: Path | Url, images: ImageTable, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns for every image, ``[n, k]`` text in the order of ``images``; empty is "(not stated)".

    Args:
        path: the table of labels.
        images: the images it speaks of.
        columns: names as in its header, in any case.

    Raises:
        SettingsError: a column has a meaning of its own (label, group …).
        TableError: there is no such column, an image has two values, or there are so many values that the
            column must be a name or number of patients, which is to be in no result.
    """
    names = [name.strip().lower() for name in columns]
    if own := [name for name in names if name in ("image", *LABEL_COLUMNS)]:
        raise SettingsError(
            f"expected further columns of the labels, found {own[0]!r}", where="subgroups",
            remedy="Sites are judged apart anyway." if own[0] == "site" else "Leave it out.",
        )
    if not names:
        return pd.DataFrame(index=range(len(images)))
    rows = read_rows(path, required=("image", *names))
    rows["row"] = np.arange(2, len(rows) + 2)
    found = matched_rows(rows.dropna(subset="image"), images.ids)[0]
    table = pd.DataFrame({name: _values(found, name, path) for name in names})
    return table.reindex(images.ids).fillna(NOT_STATED).reset_index(drop=True)


def _values(found: pd.DataFrame, name: str, path: Path | Url) -> pd.Series:
    """Image → value of one column."""
    told = found[["image", "row"]].assign(value=tidied(found[name])).dropna()
    told = told.drop_duplicates(["image", "value"])
    torn = told[told.duplicated("image", keep=False)]
    if len(torn):
        first = torn[torn["image"] == torn["image"].iloc[0]]
        values = " and ".join(f"{value!r} (row {row:,})" for value, row in zip(first["value"], first["row"],
                                                                             strict=True))
        raise TableError(
            f"{torn['image'].nunique():,} images have more than one {name}: {first['image'].iloc[0]!r} is "
            f"{values}", where=path, remedy="Keep the right row of each.",
        )
    if (count := told["value"].nunique()) > MOST_VALUES:
        raise TableError(
            f"the column {name!r} has {count:,} values, and a subgroup at most {MOST_VALUES}", where=path,
            remedy="Name columns of kinds of patients (sex, age band), never one that tells patients apart.",
        )
    return told.set_index("image")["value"]
