"""A folder of images behind a URL."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Self, cast

from hundredfold.data.ahead import Scratch, ahead
from hundredfold.data.archive import Origin
from hundredfold.data.image import MAX_BYTES
from hundredfold.data.supply import Ready
from hundredfold.errors import ImageError
from hundredfold.url import Url, info_of, speaking, tag_of

__all__ = ["Bucket", "fetched", "origin_behind"]

#: Bytes that are asked for at once of an archive that is read in order.
BLOCK = 1 << 22


class Bucket:
    """The files below a URL, listed once.

    Args:
        url: of the folder.
    """

    def __init__(self, url: Url) -> None:
        self.url, self._scratch = url, Scratch()
        with speaking(url) as files:
            found = files.find(url, detail=True)
            root = str(files._strip_protocol(url)).rstrip("/")  # noqa: SLF001 - there is no other way to ask
        below = ((str(name)[len(root) + 1 :], info) for name, info in found.items())
        #: relative path → size and tag
        self.listed = {name: _known(info) for name, info in below if name and not name.endswith("/")}

    def named(self, name: str) -> str:
        """The path by which a table names a file."""
        return f"{self.url}/{name}"

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path[len(self.url) + 1 :] in self.listed

    def stamp(self, path: str) -> str:
        """Size, tag and place of a file; one of which only the size is told never stays the same."""
        size, tag = self.listed[path[len(self.url) + 1 :]]
        return f"{size} {_digest(tag or secrets.token_hex())} {_digest(path)}"

    def head(self, path: str, size: int) -> None:
        """Nothing: a file comes as a whole."""

    def ready(self, paths: Sequence[str], *, again: bool = False) -> AbstractContextManager[Ready]:
        """Fetch the files, each if it is the one that was listed."""
        count = Counter(paths)

        def fetch(place: int) -> tuple[str, bytes, Mapping[str, Any]]:
            path = paths[place]
            known = self.listed[path[len(self.url) + 1 :]]
            if known[0] > MAX_BYTES:
                raise ImageError("too_large", f"the file has over {MAX_BYTES:,} bytes")
            data = self._scratch.get(
                path, lambda: fetched(Url(path), known, 0, known[0]), again=again, shared=count[path] > 1
            )
            return path, data, {}

        return ahead(len(paths), fetch)


def fetched(url: Url, known: tuple[int, str], start: int, end: int) -> bytes:
    """The bytes of a file from one place to another, if it is the one that was listed.

    Raises:
        ImageError: ``no_file`` or ``changed``.
        InputError: the storage does not answer; no image is at fault then.
    """
    with speaking(url) as files:
        try:
            # With both ends said, no storage asks for the size before; none gives a part of nothing.
            data = bytes(files.cat_file(url, start=start, end=end)) if end > start else b""
            now = _known(files.info(url))
        except FileNotFoundError:
            raise ImageError("no_file", "there is no such file") from None
    if now != known or len(data) != end - start:
        raise ImageError("changed", "the file was changed after the images were listed")
    return data


def origin_behind(url: Url) -> Origin:
    """An archive behind a URL; it must be there."""
    info = info_of(url) or {}
    known = _known(info)

    def opened() -> BinaryIO:
        with speaking(url) as files:
            return cast("BinaryIO", _Telling(url, files.open(url, "rb", block_size=BLOCK)))

    def part(start: int, end: int) -> bytes:
        return fetched(url, known, start, end)

    return Origin(url, f"{known[0]} {known[1] or secrets.token_hex()}", known[0], opened, fetch=part)


def archive_behind(url: Url, suffixes: Iterable[str]) -> tuple[Url, str] | None:
    """The archive that a URL names or leads into, by its suffix, and the folder in it."""
    inside: list[str] = []
    while True:
        if url.suffix in suffixes and (info_of(url) or {}).get("type") == "file":
            return url, "/".join(reversed(inside))
        if url.parent == url:
            return None
        inside.append(url.name)
        url = url.parent


class _Telling:
    """A file behind a URL whose faults are the storage's and not the archive's."""

    def __init__(self, url: Url, file: Any) -> None:
        self.url, self.file = url, file

    def read(self, size: int = -1) -> bytes:
        with speaking(self.url):
            return bytes(self.file.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _known(info: Mapping[str, Any]) -> tuple[int, str]:
    return int(info.get("size") or 0), tag_of(info)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
