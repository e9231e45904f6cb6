"""LabelSet: which image is what, whose, from where, and on which side."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from hundredfold.data.duplicates import withdraw_contradictions
from hundredfold.data.rows import read_rows
from hundredfold.data.table import SPLITS, ImageTable
from hundredfold.errors import LabelConflictError, LeakError, TableError
from hundredfold.url import Url

__all__ = ["LABEL_COLUMNS", "LabelSet", "matched_rows", "tidied"]

LABEL_COLUMNS = ("label", "group", "site", "split")
#: Images of a label that may be a misspelt one, how many times as many the other has, and how alike they are.
RARE, OFTENER, NEARLY = 3, 10, 0.85
CONFLICTS = {"label": LabelConflictError, "split": LeakError}


@dataclass(frozen=True)
class LabelSet:
    """One row an image that the labels name.

    Args:
        frame: the columns image (an id), label, group, site, split; the last four may be missing.
        unmatched: the names in the table that are no image's.
    """

    frame: pd.DataFrame
    unmatched: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, path: Path | Url, images: ImageTable, *, classes: Collection[str] | None = None) -> Self:
        """Read ``image,label[,group][,site][,split]`` from a CSV or Parquet file.

        ``image`` is the path relative to the folder of images; the name of a multi-frame DICOM
        file stands for all its frames. Rows that name no image are kept in ``unmatched``.

        Args:
            path: the table.
            images: the images it speaks of.
            classes: the only labels allowed, where they are known.

        Raises:
            InputError: no such file.
            TableError: a column is missing, no row names an image, a split or label is unknown.
            LabelConflictError: one image carries two labels.
            LeakError: one image stands in two splits.
        """
        rows = read_rows(path, required=("image", "label"), optional=LABEL_COLUMNS[1:])
        labels = cls.of(rows, images, where=path)
        if classes is not None:
            _check_classes(labels.classes, classes, path)
        return labels

    @classmethod
    def of(cls, rows: pd.DataFrame, images: ImageTable, *, where: Path | Url) -> Self:
        """Build the set from rows of text, as :meth:`read` does; ``where`` is named in errors."""
        rows = _tidied(rows, where)
        matched, unmatched = matched_rows(rows, images.ids)
        if matched.empty:
            raise TableError(
                f"none of the {len(rows):,} rows names an image: the first names {rows['image'].iloc[0]!r}, "
                f"the first image is {str(images.ids[0])!r}",
                where=where, remedy="Write paths relative to the folder of images into the column 'image'.",
            )
        _check_conflicts(matched, where)
        # first() takes the first cell of a column that is not missing
        frame = matched.groupby("image", sort=True, as_index=False).first()
        return cls(frame[["image", *LABEL_COLUMNS]], tuple(unmatched))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted(str(name) for name in self.frame["label"].dropna().unique())

    @property
    def look_alikes(self) -> list[tuple[str, ...]]:
        """Labels that may be meant as one.

        They differ only in case, spaces or punctuation, or a rare one is nearly spelt as a common one; digits
        must be the same, as ``grade 1`` is no misspelt ``grade 2``.

        Examples:
            >>> frame = pd.DataFrame({"image": ["a", "b", "c"], "label": ["NK cell", "nk_cell", "B cell"]})
            >>> LabelSet(frame).look_alikes
            [('NK cell', 'nk_cell')]
        """
        names = pd.Series(self.classes, dtype="str")
        plain = names.str.casefold().str.replace(r"[\W_]+", "", regex=True)
        found = [tuple(same) for _, same in names.groupby(plain) if len(same) > 1]
        return found + [pair for pair in self._misspelt() if not any(set(pair) <= set(one) for one in found)]

    def _misspelt(self) -> list[tuple[str, ...]]:
        """A common label and a rare one that is spelt nearly so."""
        sizes = self.frame["label"].dropna().astype(str).value_counts().sort_index()
        return [
            (str(common), str(rare))
            for rare in sizes.index[sizes <= RARE] for common in sizes.index[sizes >= OFTENER * sizes[rare]]
            if re.findall(r"\d+", rare) == re.findall(r"\d+", common)
            and difflib.SequenceMatcher(None, rare.casefold(), common.casefold()).ratio() >= NEARLY
        ]

    def apply(self, table: ImageTable) -> ImageTable:
        """The table with these labels.

        ``label`` becomes this set's, missing where the set has none; ``group``, ``site`` and
        ``split`` become this set's where it has them and stay the table's elsewhere, but no image leaves the
        audit set. A group of the
        table of which this set calls some images otherwise follows them, so that a patient stays one
        group. Exact duplicates with different labels lose their labels (see ``withdraw_contradictions``).

        Raises:
            LeakError: an image of the audit set is called train or test.
        """
        mine = self.frame.set_index("image").reindex(table.ids)
        columns = {
            name: pd.Series(mine[name].to_numpy(), dtype="str") for name in LABEL_COLUMNS
        }
        _check_audit(table, columns["split"])
        columns["group"] = columns["group"].fillna(_renamed(table.frame["group"], columns["group"]))
        kept = {name: columns[name].fillna(table.frame[name]) for name in LABEL_COLUMNS[1:]}
        return withdraw_contradictions(table.assign(label=columns["label"], **kept))


def _check_audit(table: ImageTable, after: pd.Series) -> None:
    moved = (table.frame["split"] == "audit").to_numpy(dtype=bool) & (after.notna() & (after != "audit"))
    if moved.any():
        raise LeakError(
            f"{int(moved.sum()):,} images of the audit set are called {after[moved].iloc[0]} by the labels",
            where=table.ids[moved][0],
            remedy="An audit image stays one: correct the column 'split' of the labels, or leave it out.",
        )


def _renamed(before: pd.Series, after: pd.Series) -> pd.Series:
    """For each image the one new name that others of its old group have, if there is one."""
    pairs = pd.DataFrame({"before": before, "after": after}).dropna().drop_duplicates()
    names = pairs.drop_duplicates("before", keep=False).set_index("before")["after"]
    return before.map(names).astype("str")


def _tidied(rows: pd.DataFrame, where: Path | Url) -> pd.DataFrame:
    nameless = np.flatnonzero(rows["image"].isna())
    if len(nameless):
        raise TableError(
            f"{len(nameless):,} rows name no image, the first is row {nameless[0] + 2:,}",
            where=where, remedy="Fill the column 'image' or remove the rows.",
        )
    tidy = pd.DataFrame({"image": rows["image"], "row": np.arange(2, len(rows) + 2)})
    for name in LABEL_COLUMNS:
        cells = rows[name] if name in rows else pd.Series(None, index=rows.index, dtype="str")
        tidy[name] = tidied(cells)
    tidy["split"] = tidy["split"].str.lower()
    wrong = tidy[tidy["split"].notna() & ~tidy["split"].isin(SPLITS)]
    if len(wrong):
        raise TableError(
            f"expected the split {', '.join(SPLITS)} or nothing, found {wrong['split'].iloc[0]!r} "
            f"in row {wrong['row'].iloc[0]:,}",
            where=where, remedy="Inner validation sets are drawn from the training side: call them train.",
        )
    return tidy


def tidied(cells: pd.Series) -> pd.Series:
    """Cells of text in one way of writing: an accent is a letter's own, or the same word would be two."""
    plain = cells.str.normalize("NFC").str.strip()
    return plain.mask(plain == "")


def matched_rows(rows: pd.DataFrame, ids: np.ndarray) -> tuple[pd.DataFrame, list[str]]:
    """Rows with ``image`` replaced by the id it means, and the names that mean none.

    Args:
        rows: a column ``image``, one ``row`` that numbers the rows, and others.
        ids: of the images; the name of a multi-frame file stands for all its frames.

    Examples:
        >>> rows = pd.DataFrame({"image": ["b.dcm", "x.png"], "row": [2, 3]})
        >>> found, unmatched = matched_rows(rows, np.array(["b.dcm#0", "b.dcm#1"]))
        >>> found["image"].tolist(), unmatched
        (['b.dcm#0', 'b.dcm#1'], ['x.png'])
    """
    exact = pd.DataFrame({"key": pd.Series(ids, dtype="str"), "id": pd.Series(ids, dtype="str")})
    files = exact.assign(key=exact["id"].str.replace(r"#\d+$", "", regex=True))
    # Beside an image `a`, `a#1` is no frame of it but another.
    names = pd.concat([exact, files[~files["key"].isin(exact["key"])]])
    found = rows.merge(names, left_on="image", right_on="key", how="left")
    rest = found["id"].isna()
    if rest.any():
        # The table may have been made on another system: composed accents, backslashes.
        plain = names["key"].map(_plain)
        alike = names.assign(key=plain)[names["key"].groupby(plain).transform("nunique") == 1]
        again = rows[rows["row"].isin(found.loc[rest, "row"])]
        again = again.assign(key=again["image"].map(_plain)).merge(alike, on="key", how="left")
        found = pd.concat([found[~rest], again]).sort_values("row", kind="stable")
    unmatched = found.loc[found["id"].isna(), "image"].drop_duplicates()
    matched = found.dropna(subset="id").drop(columns=["image", "key"]).rename(columns={"id": "image"})
    return matched, [str(name) for name in unmatched]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().replace("\\", "/").removeprefix("./")


def _check_conflicts(matched: pd.DataFrame, where: Path | Url) -> None:
    for column in LABEL_COLUMNS:
        told = matched.dropna(subset=column).drop_duplicates(["image", column])
        torn = told[told.duplicated("image", keep=False)].sort_values(["image", "row"])
        if torn.empty:
            continue
        count = torn["image"].nunique()
        first = torn[torn["image"] == torn["image"].iloc[0]]
        values = " and ".join(f"{row[column]!r} (row {row['row']:,})" for _, row in first.iterrows())
        raise CONFLICTS.get(column, TableError)(
            f"{count:,} image{'s have' if count > 1 else ' has'} more than one {column}: "
            f"{first['image'].iloc[0]!r} is {values}",
            where=where, remedy="Keep the right row of each; one image has one label, group, site and split.",
        )


def _check_classes(found: list[str], known: Collection[str], where: Path | Url) -> None:
    if unknown := sorted(set(found) - set(known)):
        near = difflib.get_close_matches(unknown[0], list(known), n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise TableError(
            f"{len(unknown)} labels are not in the list of classes, for example {unknown[0]!r}", where=where,
            remedy=f"{hint}Known: {', '.join(sorted(known))}. Add the class or correct the label.",
        )
