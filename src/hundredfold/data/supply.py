"""Where the bytes of images come from, as far as listing and decoding must know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hundredfold.data.file import stamp

__all__ = ["LOCAL", "Ready", "Supply"]

#: The place of an image among those that are wanted → what a decoder is told of its file
#: (:func:`hundredfold.data.file.content`).
Ready: TypeAlias = Callable[[int], Mapping[str, Any]]


class Supply(Protocol):
    """The files of a source: a folder, an archive, a bucket. A path is what a table says of an image."""

    def stamp(self, path: str) -> str:
        """What changes if the file at ``path`` does, without reading it."""

    def head(self, path: str, size: int) -> bytes | None:
        """The first bytes of a file, as many as ``size``; ``None`` where it would have to be fetched."""

    def ready(self, paths: Sequence[str], *, again: bool = False) -> AbstractContextManager[Ready]:
        """Get files ready for decoding, in this order; what is not at hand is fetched ahead.

        Args:
            paths: of the files, in the order in which they will be asked for.
            again: whether they will be wanted once more, so that what was fetched had better be kept.
        """


class _Local:
    """Files of this machine, which a decoder reads by itself."""

    def stamp(self, path: str) -> str:
        return stamp(path)

    def head(self, path: str, size: int) -> bytes:
        try:
            with Path(path).open("rb") as file:
                return file.read(size)
        except OSError:
            return b""

    def ready(
        self, paths: Sequence[str], *, again: bool = False  # noqa: ARG002 - nothing has to be kept
    ) -> AbstractContextManager[Ready]:
        return nullcontext(lambda place: {"path": str(Path(paths[place]).absolute())})


LOCAL: Supply = _Local()
