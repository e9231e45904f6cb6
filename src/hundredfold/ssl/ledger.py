"""``metrics.jsonl``: one row a step, read from the device many at a time, and checked before a checkpoint."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import torch
from torch import Tensor

from hundredfold.errors import TrainingError
from hundredfold.files import write_text
from hundredfold.ssl.logbook import Logbook, Outcome

__all__ = ["Ledger"]

Row = dict[str, Any]


class Ledger:
    """Keeps the rows of the steps since the last look at the device, then writes them.

    On a GPU the host runs ahead of the device; reading a number would make it wait. So losses stay on the
    device until :meth:`settle` reads them all in one copy.

    Args:
        path: the file.
        start: the first step of this call; rows from there on are dropped, for they are run again.
        batch_size: images a step, over all ranks.
        images: the ids of a step's images; named where its loss is not finite.
        reduce: the mean over all ranks of a vector.
        book: the loggers that get the rows too; ``None`` for none.
        write: whether this rank writes the file.
        note_fault: told of a step that went wrong and its images; says what can be done.

    ``kept`` holds the rows of the steps before ``start``.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> with Ledger(path, start=0, batch_size=8, images=lambda step: ["a.png"]) as ledger:
        ...     ledger.note({"step": 0, "loss": torch.tensor(6.9)})
        ...     ledger.note({"step": 1, "loss": torch.tensor(6.8)})
        ...     rows = ledger.settle()
        >>> [json.loads(line)["step"] for line in path.read_text().splitlines()]
        [0, 1]
    """

    def __init__(
        self, path: Path, *, start: int, batch_size: int, images: Callable[[int], list[str]],
        reduce: Callable[[Tensor], Tensor] = lambda numbers: numbers,
        book: Logbook | None = None, write: bool = True,
        note_fault: Callable[[int, list[str]], str] = lambda _step, _images: "Look at these images.",
    ) -> None:
        self.path, self.batch_size, self.images, self.note_fault = path, batch_size, images, note_fault
        self._reduce, self._book, self._write = reduce, book, write
        self._pending: list[Row] = []
        self._file: TextIO | None = None
        found, told = _read(path)
        self.kept = [row for row in found if row["step"] < start]
        if book is not None:
            book.begin(self.kept, last=told)

    def __enter__(self) -> Self:
        if self._write:
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.kept))
            self._file = self.path.open("a", encoding="utf-8")
        self.start_clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        finally:  # on a full disk the file cannot be closed in peace
            if self._book is not None:
                self._book.close(_outcome(error))

    def __len__(self) -> int:
        """Rows that are not written yet."""
        return len(self._pending)

    def start_clock(self) -> None:
        """Leave the time until now out of the seconds of the next steps."""
        self._began = time.monotonic()

    def note(self, row: Mapping[str, float | Tensor]) -> None:
        """Keep a row; its tensors hold one number each and stay where they are."""
        self._pending.append(dict(row))

    def settle(
        self, measure: Callable[[], Mapping[str, float]] | None = None,
        judge: Callable[[Row], Mapping[str, float]] = lambda _row: {},
    ) -> list[Row]:
        """Read, check and write the rows that are kept.

        Each gets ``seconds``, the mean wall-clock time of a step since the last call (the wait for its views
        included, checkpoints and the monitor's own measurements left out), and ``images_per_second``.

        Args:
            measure: gives further numbers for the last of these steps.
            judge: looks at each sound row, in order, before it is written, and gives numbers to add to it.

        Raises:
            TrainingError: a loss is not finite; names the first such step and its images. The rows before
                it are written.
        """
        rows, self._pending = self._numbers(), []
        if not rows:
            return rows
        seconds = (time.monotonic() - self._began) / len(rows)
        for row in rows:
            row |= {"seconds": seconds, "images_per_second": self.batch_size / max(seconds, 1e-9)}
        bad = next((i for i, row in enumerate(rows) if not math.isfinite(row["loss"])), None)
        if bad is None and measure is not None:
            rows[-1] |= measure()
        for row in rows[:bad]:
            row.update(judge(row))
        self._append(rows[:bad])
        if bad is not None:
            raise self.fault(f"the loss is {rows[bad]['loss']}", rows[bad]["step"])
        self.start_clock()
        return rows

    def _numbers(self) -> list[Row]:
        """The pending rows as plain numbers: one copy from the device, whatever their number."""
        rows = self._pending
        places = [(row, key) for row in rows for key, value in row.items() if isinstance(value, Tensor)]
        if places:
            numbers = self._reduce(torch.stack([row[key].detach() for row, key in places]))
            for (row, key), number in zip(places, numbers.tolist(), strict=True):
                row[key] = number
        return rows

    def _append(self, rows: list[Row]) -> None:
        """Write the rows and tell the loggers; the end of a line says that they were told of it."""
        for row in rows:
            self._write_text(json.dumps(row, allow_nan=False))
            if self._book is not None:
                self._book.log(row)
            self._write_text("\n")

    def _write_text(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)
            self._file.flush()

    def sync(self) -> None:
        """Bring what is written to the disk: after a power cut, too, the steps of a checkpoint have rows."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def fault(self, found: str, step: int) -> TrainingError:
        """The error of a step that went wrong."""
        names = self.images(step)
        shown = ", ".join(names[:8]) + (f" … {len(names)} images" if len(names) > 8 else "")
        remedy = self.note_fault(step, names) if self._write else "The first rank says what to do."
        return TrainingError(f"{found} at step {step}", where=shown, remedy=remedy)


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return "done"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _read(path: Path) -> tuple[list[Row], int]:
    """The rows of a metrics file, and the last step that the loggers were told of, or -1.

    A line that a kill cut short is left out; one that lacks but its end was not told.
    """
    rows, told = [], -1
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
        if line.endswith("\n"):
            told = max(told, rows[-1]["step"])
    return rows, told
