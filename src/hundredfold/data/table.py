"""ImageTable: what images there are, who is whose, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from hundredfold.errors import TableError
from hundredfold.files import atomic_write

__all__ = ["COLUMNS", "SPLITS", "ImageTable", "TableFile"]

COLUMNS = (
    "id", "path", "label", "group", "site", "split", "width", "height", "sha256", "cluster", "problem",
    "note",
)
#: What tables of version 0.1 do not have.
LATER = ("cluster",)
NUMBERS = ("width", "height")
SPLITS = ("train", "test", "audit")
#: Rows of a file that are in memory at a time.
PART = 4096


@dataclass(frozen=True)
class ImageTable:
    """One row an image; a value, never changed in place.

    ``id`` is the path relative to the folder of images, with ``/`` (a DICOM frame is ``path#n``);
    ``path`` the file; ``label``, ``group`` (patient or slide), ``site`` and ``split`` (``train``,
    ``test``, ``audit``) may be missing; ``width``, ``height`` in px and ``sha256`` of the decoded
    pixels are missing until the image was decoded; ``cluster`` is the first of an image's near-copies,
    missing where it has none; ``problem`` is the reason code of an image that
    cannot be used, with the sentence in ``note``; ``note`` of a usable image joins flags by ``"; "``.

    Args:
        frame: a frame with exactly the columns ``COLUMNS``; use :meth:`of` to build one.

    Raises:
        TableError: a column is missing or an id stands twice.

    Examples:
        >>> table = ImageTable.of({"id": ["a.png", "b.png"], "label": ["cat", None]})
        >>> table.select(table.labelled).ids
        array(['a.png'], dtype=object)
        >>> len(table), table.by_id(["b.png", "a.png"]).ids
        (2, array(['b.png', 'a.png'], dtype=object))
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.frame]
        if missing:
            raise TableError(
                f"expected the columns {', '.join(COLUMNS)}; found no {', '.join(missing)}",
                remedy="Run `hundredfold scan` to make the table.",
            )
        if not self.frame["id"].is_unique:
            twice = self.frame["id"][self.frame["id"].duplicated()].iloc[0]
            raise TableError("an image stands twice in the table", where=twice, remedy="Keep one row of it.")

    @classmethod
    def of(cls, columns: pd.DataFrame | Mapping[str, Any]) -> Self:
        """Build a table from some of the columns, ``id`` among them; the others are missing."""
        given = pd.DataFrame(columns).reset_index(drop=True)
        return cls(pd.DataFrame({name: _column(given, name) for name in COLUMNS}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises:
            TableError: there is no such file, or it is no image table.
        """
        try:
            return cls.of(_known(pd.read_parquet(path)))
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors or OSErrors
            raise _unreadable(path, error) from error

    def write(self, path: Path) -> None:
        """Write the table to ``path`` as Parquet, whole or not at all."""
        with atomic_write(path) as temporary:
            self.frame.to_parquet(temporary, index=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> NDArray[np.object_]:
        """The ids, as an array of ``str`` [n]."""
        return self.frame["id"].to_numpy(dtype=object)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether each row has a label [n]."""
        return self.frame["label"].notna().to_numpy(dtype=bool)

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted."""
        return sorted(str(name) for name in self.frame["label"].dropna().unique())

    def select(self, mask: NDArray[np.bool_] | pd.Series) -> Self:
        """The rows where ``mask`` [n] holds."""
        return type(self)(self.frame[np.asarray(mask, dtype=bool)].reset_index(drop=True))

    def assign(self, **columns: Any) -> Self:
        """The same table with some columns replaced."""
        return type(self).of(self.frame.assign(**columns))

    def parts(self, *names: str) -> Iterator[pd.DataFrame]:
        """The named columns, in parts that follow each other: one here, many from a :class:`TableFile`."""
        yield self.frame[list(names)]

    def by_id(self, ids: Iterable[str]) -> Self:
        """The rows of ``ids``, in that order.

        Raises:
            TableError: an id is not in the table.
        """
        wanted = pd.Index(list(ids), dtype=object)
        rows = pd.Index(self.ids).get_indexer(wanted)
        if (rows < 0).any():
            unknown = wanted[rows < 0]
            raise TableError(
                f"{len(unknown):,} of {len(wanted):,} images are not in the table", where=unknown[0],
                remedy="Use the table of the same scan.",
            )
        return type(self)(self.frame.iloc[rows].reset_index(drop=True))

    @property
    def usable(self) -> Self:
        """The images without a problem."""
        return self.select(self.frame["problem"].isna())

    @property
    def pool(self) -> Self:
        """What pre-training may see: usable and on the training side, labelled or not."""
        return self.select(self.frame["problem"].isna() & (self.frame["split"] == "train"))

    @property
    def train(self) -> Self:
        """The usable, labelled images of the training side."""
        return self._side("train")

    @property
    def judging(self) -> str:
        """The split that accuracy is measured on: ``test``, or ``audit`` where no test image has a label."""
        sides = self.usable.frame.dropna(subset=["label"])["split"]
        return "audit" if sides.eq("audit").any() and not sides.eq("test").any() else "test"

    @property
    def test(self) -> Self:
        """The usable, labelled images that accuracy is measured on: see :attr:`judging`."""
        return self._side(self.judging)

    @property
    def rejects(self) -> pd.DataFrame:
        """The images with a problem: image, reason, sentence."""
        bad = self.frame[self.frame["problem"].notna()]
        return pd.DataFrame(
            {"image": bad["id"], "reason": bad["problem"], "sentence": bad["note"]}
        ).reset_index(drop=True)

    def _side(self, split: str) -> Self:
        frame = self.frame
        return self.select(frame["problem"].isna() & frame["label"].notna() & (frame["split"] == split))


@dataclass(frozen=True)
class TableFile:
    """What pre-training may see of an image table on disk, of which a few thousand rows are read at a time.

    Args:
        path: the file that :meth:`ImageTable.write` wrote.
        transductive: the usable images of the test side, too; never those of the audit set.

    Raises:
        TableError: there is no such file, or it is no image table.
    """

    path: Path
    transductive: bool = False

    def __post_init__(self) -> None:
        try:
            _known(pd.DataFrame(columns=parquet.read_schema(self.path).names))
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error

    def parts(self, *names: str) -> Iterator[pd.DataFrame]:
        """The named columns of the images that may be seen, in parts that follow each other."""
        with parquet.ParquetFile(self.path, memory_map=True) as file:
            for batch in file.iter_batches(PART, columns=[*{*names, "problem", "split"}]):
                frame = batch.to_pandas()
                known = frame["split"].ne("audit") if self.transductive else frame["split"].eq("train")
                fine = frame["problem"].isna() & known
                yield frame.loc[fine].reindex(columns=list(names))  # of those of before some lack


def _column(given: pd.DataFrame, name: str) -> pd.Series:
    dtype: Any = "Int32" if name in NUMBERS else "str"
    if name in given:
        column: pd.Series = given[name].astype(dtype)
    else:
        column = pd.Series(pd.NA if name in NUMBERS else None, index=given.index, dtype=dtype)
    return column


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    if missing := [name for name in COLUMNS if name not in frame and name not in LATER]:
        raise ValueError(f"no column {', '.join(missing)}")
    return frame


def _unreadable(path: Path, error: Exception) -> TableError:
    return TableError(
        f"cannot read the image table: {str(error).splitlines()[0]}", where=path,
        remedy="Run `hundredfold scan` again.",
    )
