"""A CSV or Parquet file → rows of text, however the file was saved."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import pandas as pd
from pyarrow import parquet

from hundredfold.data.elsewhere import opened_archives
from hundredfold.data.sidecars import rows_beside
from hundredfold.errors import InputError, TableError
from hundredfold.files import atomic_write
from hundredfold.url import Url, info_of, read_bytes

__all__ = ["TABLE_SUFFIXES", "csv_text", "existing", "read_rows", "write_rows"]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
PARQUET = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"
}


P = TypeVar("P", Path, Url, Path | Url)


def existing(path: P, what: str) -> P:
    """``path``, if it exists.

    Args:
        path: the path to look for.
        what: what it should be, with the article ("a folder of images").

    Raises:
        InputError: it does not exist; the message names the nearest names in the nearest folder.
    """
    if isinstance(path, Url):
        if info_of(path) is None:
            raise InputError(f"expected {what}, found nothing there", where=path, remedy="Check the URL.")
        return path
    if path.exists():
        return path
    parent = next(p for p in path.absolute().parents if p.is_dir())
    child = path.absolute().relative_to(parent).parts[0]
    near = difflib.get_close_matches(child, [p.name for p in parent.iterdir()], n=3, cutoff=0.5)
    names = ", ".join(repr(str(parent / name)) for name in near)
    hint = f"Did you mean {names}?" if near else f"{parent} has nothing with a similar name; check the path."
    raise InputError(f"expected {what}, found nothing there", where=path, remedy=hint)


def read_rows(path: Path | Url, *, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Read the named columns of a table as text; an empty cell is missing.

    A CSV may start with a byte-order mark, be separated by comma, semicolon or tab, end its lines
    in either way and quote line ends. Names of columns are matched without regard to case. Words
    like ``NA`` stay words, for they may be names of classes or files. Of an archive it is the labels
    beside its images (:mod:`hundredfold.data.sidecars`).

    Args:
        path: a CSV or Parquet file, or an archive, on this machine or behind a URL.
        required: columns that must be there.
        optional: columns that are read where they are.

    Returns:
        A frame of the columns found, in the order asked for, dtype ``str``.

    Raises:
        InputError: no such file.
        TableError: it cannot be read as a table, has no rows, or lacks a required column.
    """
    frame = _read(path)
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    _check_columns(frame, required, optional, path)
    if frame.empty:
        raise TableError("expected rows below the header, found none", where=path, remedy="Add the images.")
    wanted = [name for name in (*required, *optional) if name in frame]
    return pd.DataFrame({name: _as_text(frame[name]) for name in wanted}).reset_index(drop=True)


def write_rows(path: Path, frame: pd.DataFrame) -> None:
    r"""Write a frame as UTF-8 CSV with ``\n`` line ends, whole or not at all; missing is empty.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> write_rows(path, pd.DataFrame({"image": ["a b.png", "NA"], "label": ["x", None]}))
        >>> read_rows(path, required=["image"], optional=["label"]).values.tolist()
        [['a b.png', 'x'], ['NA', nan]]
    """
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", quoting=_quoting(frame))


def csv_text(frame: pd.DataFrame, *, header: bool) -> str:
    """Rows as :func:`write_rows` writes them, with a header or to follow others."""
    return frame.to_csv(index=False, header=header, lineterminator="\n", quoting=_quoting(frame))


def _quoting(frame: pd.DataFrame) -> Literal[0, 2]:
    # Python's csv module before 3.13 leaves a lone carriage return unquoted, which then ends the row.
    returns = any(frame[name].astype("str").str.contains("\r", regex=False).any() for name in list(frame))
    return csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL


def _read(path: Path | Url) -> pd.DataFrame:
    # What is named as a table is none even if it is packed: a workbook of Excel is a zip.
    if path.suffix.lower() not in TABLE_SUFFIXES and (packed := opened_archives(path)):
        return pd.concat([rows_beside(*one, where=path) for one in packed], ignore_index=True)
    if isinstance(path, Url):
        content = read_bytes(path)
    elif existing(path, "a CSV or Parquet table").is_dir():
        raise TableError(
            "expected a CSV or Parquet table, found a folder", where=path, remedy="Name the file."
        )
    if path.suffix.lower() in PARQUET:
        return _read_parquet(io.BytesIO(content) if isinstance(path, Url) else path, path)
    return _read_csv(content if isinstance(path, Url) else path.read_bytes(), path)


def _read_csv(content: bytes, path: Path | Url) -> pd.DataFrame:
    text = _decoded(content, path)
    separator = _separator(text)
    with warnings.catch_warnings():
        # Cells beyond the header would be cut off with a warning only.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text, newline=""), sep=separator, dtype=str, index_col=False,
                keep_default_na=False, na_values=[""],
            )
        except pd.errors.EmptyDataError:
            raise TableError("expected a header and rows, found nothing", where=path) from None
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            cause = "a row has more cells than the header"
            cause = cause if isinstance(error, pd.errors.ParserWarning) else str(error).strip()
            raise TableError(
                f"cannot read the table: {cause}", where=path,
                remedy="Put names that hold a separator or a line end in double quotes.",
            ) from None
    header = _header(text, separator)
    if len(header) != len(frame.columns):
        raise TableError(
            "expected names of columns in the first line, found none that can be read", where=path,
            remedy="Begin the table with a line like image,label.",
        )
    frame.columns = header  # pandas renames the second of two equal names
    return frame


def _decoded(data: bytes, path: Path | Url) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise TableError(
            f"expected {encoding.upper()} text, found the byte 0x{data[error.start]:02x} at {error.start:,}",
            where=path, remedy="Save the table as 'CSV UTF-8' (not as an Excel file).",
        ) from None
    if "\0" in text:
        raise TableError(
            "expected a text table, found binary data", where=path, remedy="Save the table as 'CSV UTF-8'."
        )
    return text


def _separator(text: str) -> str:
    """The separator that cuts the header into most names; a comma where there is one name only."""
    return max(SEPARATORS, key=lambda mark: len(_header(text, mark)))


def _header(text: str, separator: str) -> list[str]:
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return next((record for record in records if any(record)), [])
    except csv.Error:  # a name of over 128 kB
        return []


def _read_parquet(file: Path | io.BytesIO, path: Path | Url) -> pd.DataFrame:
    try:
        # What pandas noted of types and index is not needed, and an index that was set is a column again.
        frame: pd.DataFrame = parquet.read_table(file).replace_schema_metadata(None).to_pandas()
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        raise TableError(
            f"cannot read the table: {(str(error).splitlines() or ['it is damaged'])[0]}", where=path,
            remedy="Is it a Parquet file?",
        ) from error
    return frame


def _check_columns(
    frame: pd.DataFrame, required: Sequence[str], optional: Sequence[str], path: Path | Url
) -> None:
    found = list(frame.columns)
    if missing := [name for name in required if name not in found]:
        raise TableError(
            f"expected the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"found {', '.join(map(repr, found)) or 'none'}",
            where=path, remedy=_rename(missing, found, required, optional),
        )
    twice = sorted({name for name in (*required, *optional) if found.count(name) > 1})
    if twice:
        raise TableError(f"the column {twice[0]!r} stands twice", where=path, remedy="Keep one of them.")


def _rename(
    missing: Sequence[str], found: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> str:
    header = ",".join(required) + "".join(f"[,{name}]" for name in optional)
    near = [(difflib.get_close_matches(name, found, n=1), name) for name in missing]
    hints = [f"rename {close[0]!r} to {name!r}" for close, name in near if close]
    advice = f" Perhaps {' and '.join(hints)}." if hints else ""
    return f"Name them in the first line: {header}.{advice}"


def _as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column.dtype):
        # Whole numbers beside missing cells arrive as floats; class 3 is not class "3.0".
        whole = column.dropna().mod(1).eq(0).all()
        column = column.astype("Int64") if whole else column
    text: pd.Series = column.astype("str")
    return text.mask(text == "")
