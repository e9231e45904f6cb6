"""Progress on everything that takes over two seconds: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import ClassVar, TextIO, TypeVar

from hundredfold.ranks import is_first, rank

__all__ = ["Progress", "bar", "say", "track", "wipe"]

T = TypeVar("T")

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
BAR_SECONDS = 0.1


def say(text: str, *, stream: TextIO | None = None, every_rank: bool = False) -> None:
    """Print one line for the user, to the error stream, so that results can be piped.

    Of several ranks the first speaks; with ``every_rank`` the others too, each with its number.
    """
    if is_first() or every_rank:
        stream = stream or sys.stderr
        who = "" if is_first() else f"[rank {rank()}] "
        print(f"{wipe(stream)}{who}{text}", file=stream, flush=True)


def wipe(stream: TextIO) -> str:
    """What takes the bar off a terminal, so that a line may stand in its place; nothing without one."""
    there, width = Progress.drawn
    return f"\r{' ' * width}\r" if there is stream and width else ""


class Progress:
    """Counts what is done and shows it, at most ten times a second.

    Args:
        title: what is being done, as a verb in -ing ("Embedding").
        total: how many there are, or ``None`` if that is not known.
        unit: what is counted, in the plural ("images").
        start: how many were done before (a resumed run).
        stream: where to write; standard error by default.
    """

    #: The terminal on which a bar stands that will be drawn over, and the bar's width.
    drawn: ClassVar[tuple[TextIO | None, int]] = None, 0

    def __init__(
        self, title: str, total: int | None, unit: str = "images", *, start: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = start
        self._start = start
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._began = self._shown = time.monotonic()
        self._visible = False
        self._facts: dict[str, float | str] = {}
        self._width = 0

    def advance(self, count: int = 1, **facts: float | str) -> None:
        """Count ``count`` more; ``facts`` (loss, entropy …) are shown behind the rate."""
        self.done += count
        self._facts = facts or self._facts
        now = time.monotonic()
        pause = BAR_SECONDS if self._terminal else LINE_SECONDS
        if now - self._began >= QUIET_SECONDS and (not self._visible or now - self._shown >= pause):
            self._show(now, facts)

    def finish(self, **facts: float | str) -> None:
        """Leave the last state on the screen, with the last facts where none are given."""
        if self._visible or time.monotonic() - self._began >= QUIET_SECONDS:
            self._show(time.monotonic(), facts or self._facts, last=True)

    def _show(self, now: float, facts: dict[str, float | str], *, last: bool = False) -> None:
        self._shown, self._visible = now, True
        if not is_first():
            return
        line = self._line(now - self._began, facts)
        if self._terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot be drawn over
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
            Progress.drawn = self._stream, 0 if last else len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _line(self, elapsed: float, facts: dict[str, float | str]) -> str:
        rate = (self.done - self._start) / max(elapsed, 1e-9)
        parts = [f"{self.done:,} {self.unit}", f"{rate:,.1f} {self.unit}/s"]
        if self.total is not None:
            share = self.done / max(self.total, 1)
            parts[0] = f"{share:4.0%} {_bar(share)} {self.done:,}/{self.total:,} {self.unit}"
            if rate > 0 and self.done < self.total:
                parts.append(f"{_duration((self.total - self.done) / rate)} left")
        parts += [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items()]
        return f"{self.title}: " + " · ".join(parts)


@contextmanager
def bar(title: str, total: int | None, unit: str = "images", *, start: int = 0) -> Iterator[Progress]:
    """A :class:`Progress` that is finished at the end of the block."""
    progress = Progress(title, total, unit, start=start)
    try:
        yield progress
    finally:
        progress.finish()


def track(items: Iterable[T], title: str, total: int | None = None, unit: str = "images") -> Iterator[T]:
    """Yield the items and count them.

    Examples:
        >>> list(track([1, 2], "Counting"))
        [1, 2]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(title, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()


def _bar(share: float, width: int = 20) -> str:
    full = min(width, int(share * width))
    return "━" * full + "╌" * (width - full)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
