"""A table of predictions that grows part by part beside its place, and appears there when it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Self

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from hundredfold.data.rows import csv_text
from hundredfold.errors import RunExistsError
from hundredfold.files import atomic_write, remove_folder, remove_leftovers, write_json
from hundredfold.lock import alone
from hundredfold.predict.made import beside, check_same
from hundredfold.predict.records import records

__all__ = ["FORMATS", "Parts"]

#: Written first: what the parts beside it were made of.
BEGUN = "begun.json"
KEEP_OR_GO = "Continue it with --resume, or delete that folder; nothing was changed."


class Parts:
    """The parts of a table, whole Parquet files in ``.NAME.parts`` beside its place.

    A kill leaves whole parts, so that whoever comes next goes on behind the last of them.

    Args:
        out: where the table shall be; its suffix says in which of the :data:`FORMATS`.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out.with_name(f".{out.name}.parts")
        self.count = 0

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from this table meanwhile.

        Raises:
            RunBusyError: another one makes it.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        return alone(self.out.with_name(f".{self.out.name}.lock"), self.out.name)

    def begin(self, claim: Mapping[str, Any], *, resume: bool) -> Self:
        """Lay claim to the place, or find how many parts there are.

        Args:
            claim: everything that the rows depend on; JSON can hold it.
            resume: go on with what is there.

        Raises:
            RunExistsError: there are parts, and ``resume`` is not set.
            SettingsError: they were made of something else.
        """
        path = self.folder / BEGUN
        if not path.is_file():
            remove_folder(self.folder)
            write_json(path, claim)
        elif not resume:
            raise RunExistsError("an interrupted table lies here", where=self.folder, remedy=KEEP_OR_GO)
        else:
            check_same(json.loads(path.read_text(encoding="utf-8")), claim, where=self.folder)
        remove_leftovers(self.folder)
        while self._path(self.count).is_file():
            self.count += 1
        return self

    def append(self, rows: pd.DataFrame) -> None:
        """Write the next part; it is on the disk when this returns."""
        with atomic_write(self._path(self.count)) as path:
            rows.to_parquet(path, index=False)
        self.count += 1

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The parts, all with the same columns and types."""
        schema = pa.unify_schemas([parquet.read_schema(self._path(number)) for number in range(self.count)])
        for number in range(self.count):
            yield parquet.read_table(self._path(number), schema=schema).to_pandas()

    def join(self, made: Mapping[str, Any]) -> None:
        """Write the whole table to its place, and beside it what it was made of.

        Few rows are in memory at a time, and where the table is, that file is.
        """
        write_json(beside(self.out), made)
        with atomic_write(self.out) as path, path.open("wb") as file:
            FORMATS[self.out.suffix.lower()](self, file)
        self.remove()

    def remove(self) -> None:
        """Delete what only an unfinished table needs."""
        remove_folder(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"


def _write_csv(parts: Parts, file: BinaryIO) -> None:
    texts = (csv_text(rows, header=number == 0) for number, rows in enumerate(parts))
    file.writelines(text.encode() for text in texts)


def _write_json_lines(parts: Parts, file: BinaryIO) -> None:
    for rows in parts:
        lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records(rows))
        file.writelines(f"{line}\n".encode() for line in lines)


def _write_parquet(parts: Parts, file: BinaryIO) -> None:
    writer: parquet.ParquetWriter | None = None
    for rows in parts:
        table = pa.Table.from_pandas(rows, preserve_index=False)
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table.cast(writer.schema))
    assert writer is not None  # a table has a part
    writer.close()


#: Suffix of a table → how it is written.
FORMATS: Mapping[str, Callable[[Parts, BinaryIO], None]] = {
    ".csv": _write_csv, ".parquet": _write_parquet, ".jsonl": _write_json_lines,
}
