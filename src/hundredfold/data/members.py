"""What a zip or tar archive lists: its members, checked as what comes from anywhere must be."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, cast

from hundredfold.data.candidates import tidy
from hundredfold.data.image import MAX_BYTES
from hundredfold.data.part import LOCAL_HEADER, MOST_BEFORE, RAW, READ, Part
from hundredfold.errors import HundredfoldError, InputError

__all__ = ["Member", "Members", "members_of_tar", "members_of_zip"]

#: Bytes of an archive's list: that of a zip is in memory as a whole, a name of a tar has its own header.
LONGEST_LIST, LONGEST_NAME = 100_000_000, 1_000_000
BLOCK = tarfile.BLOCKSIZE
DOS, NTFS = 0, 10
AGAIN = "Copy or download it again, or pack it anew."
METHODS = {9: "Deflate64", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}


@dataclass(frozen=True)
class Member:
    """A member that may be an image.

    Args:
        part: where its bytes lie.
        date: of its last change, as far as the archive tells.
        problem: the reason for which it cannot be used.
        note: the same as a sentence.
    """

    part: Part
    date: str = ""
    problem: str | None = None
    note: str | None = None


@dataclass
class Members:
    """The members of an archive by their names, tidied; whatever is no plain file is only counted."""

    named: dict[str, Member] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, member: Member) -> None:
        """Add a member; one whose name leaves the archive, or stands twice, has a problem."""
        clean = tidy(name)
        spelt = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") or "(no name)"
        if clean is None:
            member = _bad(member, "bad_name", "its name leads out of the archive; pack relative paths")
        elif spelt != name:
            member = _bad(member, "bad_name", "its name is not UTF-8; rename it")
            clean = None
        if (clean or spelt) in self.named:
            member = _bad(member, "bad_name", "several members of the archive have this name; keep one")
        self.named[clean or spelt] = member


def members_of_zip(file: BinaryIO, where: object) -> Members:
    """The members of a zip.

    Raises:
        InputError: its list of members, which is at its end, is damaged, missing or too long.
    """
    try:
        with zipfile.ZipFile(cast("Any", _Sparing(file, LONGEST_LIST))) as archive:
            listed, end = archive.infolist(), archive.start_dir
    except _TooLongError:
        raise InputError(
            f"the archive's list of its members has over {LONGEST_LIST:,} bytes", where=where,
            remedy="Unpack it, or pack it as several.",
        ) from None
    except HundredfoldError:
        raise
    except Exception as error:  # noqa: BLE001 - bytes from anywhere make zipfile raise anything
        raise InputError(
            f"the zip archive is cut short or damaged: its list of members cannot be read ({_told(error)})",
            where=where, remedy=AGAIN,
        ) from None
    found = Members()
    starts = sorted({info.header_offset for info in listed} | {end})
    following = dict(pairwise(starts))
    for info in listed:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.orig_filename.endswith(("/", "\\")) or kind == stat.S_IFDIR:
            continue
        if kind == stat.S_IFLNK:
            found.ignored["links"] += 1
        elif kind not in (0, stat.S_IFREG):
            found.ignored["devices and pipes"] += 1
        else:
            found.add(_name_in_zip(info), _zipped(info, following.get(info.header_offset, 0)))
    return found


def _zipped(info: zipfile.ZipInfo, following: int) -> Member:
    span = min(following - info.header_offset, MOST_BEFORE + info.compress_size)
    part = Part(
        info.filename, info.header_offset, span, info.compress_type, info.compress_size, info.file_size,
        info.CRC,
    )
    member = Member(part)
    if info.flag_bits & 0x41:
        return _bad(member, "encrypted", "the member is encrypted; pack it without a password")
    if info.compress_type not in READ - {RAW}:
        name = METHODS.get(info.compress_type, f"method {info.compress_type}")
        return _bad(member, "unsupported", f"the member is packed with {name}; pack it with Deflate")
    if max(info.file_size, info.compress_size) > MAX_BYTES:
        return _bad(member, "too_large", f"the file has over {MAX_BYTES:,} bytes")
    if info.header_offset < 0 or span < LOCAL_HEADER.size + info.compress_size:
        return _bad(member, "corrupt", "the archive lists it at a place that overlaps another")
    return member


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: UTF-8 where its bytes are that (macOS does not say so), with ``/``."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        raw = name.encode("cp437")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp437")
    return name.replace("\\", "/") if info.create_system in (DOS, NTFS) else name


def members_of_tar(file: BinaryIO, where: object) -> Members:
    """The members of an uncompressed tar.

    Raises:
        InputError: it is damaged, or does not end as a tar does.
    """
    found, links = Members(), list[tarfile.TarInfo]()
    try:
        archive = tarfile.open(  # noqa: SIM115 - the file is the caller's
            fileobj=cast("Any", _Sparing(file, LONGEST_NAME)), mode="r:", encoding="utf-8",
            errors="surrogateescape",
        )
        for info in _each(archive):
            if info.issym() or info.islnk():
                links.append(info)
            elif info.isreg():
                found.add(info.name, _archived(info))
            elif not info.isdir():
                found.ignored["devices and pipes"] += 1
        end = archive.offset
    except HundredfoldError:
        raise
    except Exception as error:  # noqa: BLE001 - bytes from anywhere make tarfile raise anything
        raise InputError(
            f"the tar archive is cut short or damaged ({_told(error)})", where=where, remedy=AGAIN
        ) from None
    _check_end(file, end, where)
    _follow(links, found)
    return found


def _each(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Member after member; tarfile would keep them all, and may follow a negative size for ever."""
    place = -1
    while (info := archive.next()) is not None:
        if archive.offset <= place or info.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        place = archive.offset
        yield info
        vars(archive)["members"] = []


def _archived(info: tarfile.TarInfo) -> Member:
    member = Member(
        Part(info.name, info.offset_data, info.size, RAW, info.size, info.size), f"{info.mtime}"
    )
    if info.issparse():
        return _bad(member, "unsupported", "the member is sparse; pack it without --sparse")
    if info.size > MAX_BYTES:
        return _bad(member, "too_large", f"the file has over {MAX_BYTES:,} bytes")
    return member


def _check_end(file: BinaryIO, place: int, where: object) -> None:
    """Make sure that zeros follow the last member: tarfile takes a cut between two members for the end."""
    file.seek(place)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise InputError("the tar archive is cut short: it has no end mark", where=where, remedy=AGAIN)
    while block:
        if block.count(0) != len(block):
            raise InputError(
                "the tar archive goes on behind its end: it is damaged, or several were joined", where=where,
                remedy="Join archives with `tar --concatenate`, or pack the images anew.",
            )
        block = file.read(1 << 16)


def _follow(links: list[tarfile.TarInfo], found: Members) -> None:
    """Links to files of the archive are images, as they are in a folder; all others are passed over."""
    waiting = list(links)
    while waiting:
        left = []
        for info in waiting:
            member = found.named.get(tidy(_target(info)) or "")
            if member is None:
                left.append(info)
            else:
                found.add(info.name, member)
        if len(left) == len(waiting):
            break
        waiting = left
    found.ignored.update({"links to nothing in the archive": len(waiting)} if waiting else {})


def _target(info: tarfile.TarInfo) -> str:
    """What a link means, from the top of the archive; a path that leads out of it stays one that does."""
    if info.islnk() or info.linkname.startswith("/"):
        return info.linkname
    parts: list[str] = []
    for part in [*info.name.split("/")[:-1], *info.linkname.split("/")]:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _bad(member: Member, problem: str, note: str) -> Member:
    return Member(member.part, member.date, problem, note)


class _TooLongError(Exception):
    """A part of a list that is longer than any should be."""


class _Sparing:
    """A file that is never read in larger pieces than ``most``: what a header claims is not memory taken."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.most = file, most
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise _TooLongError
        data = self.file.read(size if size >= 0 else self.most + 1)
        if len(data) > self.most:
            raise _TooLongError
        return data


def _told(error: Exception) -> str:
    """The first line of what a library says, or its kind where it says nothing."""
    return (str(error).splitlines() or [""])[0].rstrip(".")[:100] or type(error).__name__
