"""Images with the same pixels: one image to a split, and never two labels."""

from __future__ import annotations

import pandas as pd

from hundredfold.data.table import ImageTable

__all__ = ["CONTRADICTION", "exact_duplicates", "shown", "withdraw_contradictions"]

CONTRADICTION = "duplicate_with_other_label"


def shown(frame: pd.DataFrame) -> pd.Series:
    """The hash of the pixels of each row of a table, missing where the image is blank and shows nothing.

    Examples:
        >>> table = ImageTable.of({"id": ["a", "b"], "sha256": ["1", "2"], "note": ["constant", None]})
        >>> shown(table.frame).tolist()
        [nan, '2']
    """
    return frame["sha256"].mask(frame["note"].str.contains("constant", regex=False, na=False))


def exact_duplicates(table: ImageTable) -> pd.DataFrame:
    """The usable images whose decoded pixels equal another's.

    Returns:
        The columns cluster (from 0), id, label, split; sorted by cluster and id. A cluster takes
        the place of its smallest id.

    Examples:
        >>> table = ImageTable.of({"id": ["a", "b", "c"], "sha256": ["1", "2", "1"]})
        >>> exact_duplicates(table)[["cluster", "id"]].values.tolist()
        [[0, 'a'], [0, 'c']]
    """
    usable = table.usable.frame.dropna(subset="sha256").sort_values("id")
    same = usable[usable.duplicated("sha256", keep=False)]
    clusters = same.groupby("sha256", sort=False).ngroup()  # in order of appearance
    frame = same[["id", "label", "split"]].assign(cluster=clusters)
    return frame[["cluster", "id", "label", "split"]].sort_values(["cluster", "id"], ignore_index=True)


def withdraw_contradictions(table: ImageTable) -> ImageTable:
    """Take the labels from exact duplicates that carry different ones, and flag them in ``note``.

    The same pixels with two labels are a contradiction that no classifier can learn from, and
    which of the labels is wrong is not ours to guess. The images stay: they can be pre-trained on.

    Examples:
        >>> table = ImageTable.of({"id": ["a", "b"], "sha256": ["1", "1"], "label": ["cat", "dog"]})
        >>> withdraw_contradictions(table).frame[["label", "note"]].values.tolist()
        [[nan, 'duplicate_with_other_label'], [nan, 'duplicate_with_other_label']]
    """
    frame = table.frame
    told = frame[frame["problem"].isna() & frame["label"].notna() & frame["sha256"].notna()]
    classes = told.groupby("sha256")["label"].nunique()
    torn = told.index[told["sha256"].isin(classes.index[classes > 1])]
    if torn.empty:
        return table
    note = frame["note"].copy()
    joined = note[torn].fillna("").str.split("; ").map(lambda flags: [f for f in flags if f != CONTRADICTION])
    note[torn] = joined.map(lambda flags: "; ".join([*filter(None, flags), CONTRADICTION]))
    label: pd.Series = frame["label"].copy()
    label[torn] = None
    return table.assign(label=label, note=note)
