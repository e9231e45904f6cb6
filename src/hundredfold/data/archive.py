"""A zip or tar archive, read in place as if it were the folder that was packed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import shutil
import tarfile
import tempfile
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from hundredfold.data.ahead import THREADS, Scratch, ahead
from hundredfold.data.file import stamp
from hundredfold.data.members import AGAIN, Member, Members, members_of_tar, members_of_zip
from hundredfold.data.part import MOST_BEFORE, Part, beginning, read_part, unpacked
from hundredfold.data.supply import Ready
from hundredfold.errors import ImageError, InputError
from hundredfold.progress import say

__all__ = ["Archive", "Origin", "archive_in"]

ZIP, TAR = "zip", "tar"
#: How compressed files begin, and what reads them; they can be read in order only.
COMPRESSED: Mapping[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file), b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile,
}
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
UNREAD = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard"}
BLOCK = tarfile.BLOCKSIZE
#: A compressed tar that becomes more than this many times its size, and these bytes, is made to harm.
MOST_TIMES, MOST_BYTES = 200, 1_000_000_000
#: Bytes of a disk that are left to others.
RESERVE = 200_000_000
CHUNK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """The file that an archive is.

    Args:
        name: its path or URL.
        stamp: its fingerprint.
        size: in bytes.
        open: gives the file, to be read at any place.
        local: where a decoder can read it by itself; ``None`` where it has to be fetched.
        fetch: gives the bytes from one place to another of a file that is not local.
    """

    name: str
    stamp: str
    size: int
    open: Callable[[], BinaryIO]
    local: Path | None = None
    fetch: Callable[[int, int], bytes] | None = None

    @classmethod
    def of(cls, path: Path) -> Self:
        """A file of this machine."""
        whole = path.resolve()
        return cls(str(whole), stamp(str(whole)), whole.stat().st_size, lambda: whole.open("rb"), whole)


class Archive:
    """The members of an archive, which a decoder reads at their places.

    A tar that is compressed, or behind a URL, is best read in order: it is copied once, as a plain one, into
    a temporary file.

    Args:
        origin: the file.

    Raises:
        InputError: it is damaged, cut short, or of a kind that is not read.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin, self._scratch = origin, Scratch()
        self._copy: Path | None = None
        with origin.open() as file:
            kind, opened = _kind(file, origin.name)
            if opened is None and (kind == ZIP or origin.local is not None):
                self.members = self._listed(kind, file)
            else:
                folder = Path(tempfile.mkdtemp(prefix="hundredfold-"))
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                self._copy = folder / "unpacked.tar"
                _copy(file if opened is None else opened(file), self._copy, origin)
        if self._copy is not None:
            with self._copy.open("rb") as file:
                self.members = self._listed(kind, file)
        self.known = origin.stamp if self._copy is None else stamp(str(self.read))

    @property
    def read(self) -> Path:
        """The file in which a decoder reads the members."""
        if self._copy is not None:
            return self._copy
        assert self.origin.local is not None
        return self.origin.local

    def named(self, name: str) -> str:
        """The path by which a table names a member."""
        return f"{self.origin.name}/{name}"

    def member(self, path: str) -> Member:
        """The member that a table names so."""
        return self.members.named[path[len(self.origin.name) + 1 :]]

    def stamp(self, path: str) -> str:
        """Size, check sum and place of a member; a tar has no sums: there any change of it counts."""
        member = self.member(path)
        part, place = member.part, _digest(path)
        tells = _digest(f"{self.origin.stamp} {member.date}") if part.crc is None else f"{part.crc:08x}"
        return f"{part.size} {tells} {place}"

    def head(self, path: str, size: int) -> bytes | None:
        """The first bytes of a member, as many as ``size``; none of one that has to be fetched."""
        if self._is_far:
            return None
        part = self.member(path).part
        with self.read.open("rb") as file:
            file.seek(part.start)
            return beginning(file.read(min(part.span, MOST_BEFORE + size)), part, size)

    def ready(self, paths: Sequence[str], *, again: bool = False) -> AbstractContextManager[Ready]:
        """Tell a decoder where the members lie, or fetch them."""
        if self._is_far:
            parts, count = [self.member(path).part for path in paths], Counter(paths)
            return ahead(len(paths), lambda place: self._fetched(
                parts[place], again=again, shared=count[paths[place]] > 1
            ))
        return nullcontext(lambda place: {
            "path": str(self.read), "known": self.known, "part": self.member(paths[place]).part,
        })

    def contents(self, parts: Sequence[Part]) -> Iterator[bytes | ImageError]:
        """The bytes of small members, or why there are none."""
        with ThreadPoolExecutor(THREADS if self._is_far else 1) as pool:
            yield from pool.map(self._content, parts)

    def _content(self, part: Part) -> bytes | ImageError:
        try:
            return unpacked(self._fetched(part)[1], part) if self._is_far else read_part(str(self.read), part)
        except ImageError as error:
            return error

    @property
    def _is_far(self) -> bool:
        return self._copy is None and self.origin.local is None

    def _fetched(
        self, part: Part, *, again: bool = False, shared: bool = False
    ) -> tuple[str, bytes, Mapping[str, Any]]:
        fetch = self.origin.fetch
        assert fetch is not None
        data = self._scratch.get(
            str(part.start), lambda: fetch(part.start, part.start + part.span), again=again, shared=shared
        )
        return part.name, data, {"part": part._replace(start=0)}

    def _listed(self, kind: str, file: BinaryIO) -> Members:
        return (members_of_zip if kind == ZIP else members_of_tar)(file, self.origin.name)


def archive_in(path: Path) -> tuple[Path, str] | None:
    """The archive that a path names or leads into, and the folder in it; ``None`` where there is none.

    Examples:
        >>> archive_in(Path("no/such/images.zip")) is None
        True
    """
    place = next((place for place in (path, *path.parents) if place.exists()), None)
    if place is None or not place.is_file():
        return None
    with place.open("rb") as file:
        if not _looks_packed(file.read(BLOCK)):
            return None
    inside = path.relative_to(place).as_posix()
    return place, "" if inside == "." else inside


def _looks_packed(head: bytes) -> bool:
    return head.startswith((b"PK\3\4", b"PK\5\6", *COMPRESSED, *UNREAD)) or _begins_tar(head)


def _kind(file: BinaryIO, where: str) -> tuple[str, Callable[[BinaryIO], Any] | None]:
    """``zip`` or ``tar``, and what unpacks it where it is compressed as a whole."""
    head, opened = file.read(BLOCK), None
    for magic, opener in COMPRESSED.items():
        if head.startswith(magic):
            file.seek(0)
            opened, head = opener, _first_block(opener(file), where)
    file.seek(0)
    if opened is None and head.startswith(b"PK"):
        return ZIP, None
    if _begins_tar(head):
        return TAR, opened
    kinds = (f"one that is {name}" for magic, name in UNREAD.items() if head.startswith(magic))
    kind = "one that is compressed, and no tar" if opened else next(kinds, "bytes that are none")
    raise InputError(
        f"expected a zip or tar archive, found {kind}", where=where,
        remedy="Unpack it and give the folder, or pack the images as .zip or .tar.",
    )


def _first_block(source: BinaryIO, where: str) -> bytes:
    try:
        return source.read(BLOCK)
    except DAMAGED:
        raise InputError("the archive is cut short or damaged", where=where, remedy=AGAIN) from None


def _begins_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _copy(source: BinaryIO, target: Path, origin: Origin) -> None:
    """Write the tar without its compression."""
    say(f"{origin.name} can be read in order only: it is copied once, into {target.parent}. "
        f"{'A plain .tar or a .zip needs' if origin.local else 'A .zip needs'} no copy.")
    written = 0
    with target.open("wb") as file:
        while chunk := _next_of(source, origin):
            written += len(chunk)
            _check_room(written, origin, target.parent)
            file.write(chunk)


def _next_of(source: BinaryIO, origin: Origin) -> bytes:
    try:
        return source.read(CHUNK)
    except DAMAGED:
        raise InputError("the archive is cut short or damaged", where=origin.name, remedy=AGAIN) from None


def _check_room(written: int, origin: Origin, folder: Path) -> None:
    if written > max(MOST_BYTES, MOST_TIMES * origin.size):
        raise InputError(
            f"the archive becomes over {MOST_TIMES} times as large: it is made to harm, or holds no images",
            where=origin.name, remedy="Unpack it yourself, if you trust it, and give the folder.",
        )
    if written % (64 * CHUNK) < CHUNK and shutil.disk_usage(folder).free < RESERVE:
        raise InputError(
            f"the disk of {folder} is too small to unpack the archive", where=origin.name,
            remedy="Name a larger one in the variable TMPDIR, or pack the images as .zip or .tar.",
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
