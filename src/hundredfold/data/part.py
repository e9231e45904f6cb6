"""A part of a file that is an image: a member of an archive, read at its place and checked.

What is here meets untrusted bytes, and is called in a decoder's process (:mod:`hundredfold.data.nursery`).
"""

from __future__ import annotations

import bz2
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from hundredfold.data.image import MAX_BYTES
from hundredfold.errors import ImageError

__all__ = ["MOST_BEFORE", "RAW", "READ", "Part", "beginning", "read_part", "unpacked"]

#: How a member is packed: as it is (tar), or by the number of a zip's method. Others are not read.
RAW, STORED, DEFLATED, BZIP2 = -1, 0, 8, 12
READ = frozenset({RAW, STORED, DEFLATED, BZIP2})
LOCAL_HEADER = struct.Struct("<4s22xHH")
#: Bytes that may stand between the place that a zip's list names and the member's own.
MOST_BEFORE = LOCAL_HEADER.size + 2 * 65_535


class Part(NamedTuple):
    """Where the bytes of a member lie in a file, and what is known of them.

    Args:
        name: of the member, whose suffix may matter.
        start: where to begin to read.
        span: how many bytes to read: the packed ones, in a zip with the member's header before them.
        packing: ``RAW``, or the number of a zip's method.
        packed: bytes as they lie there.
        size: bytes of the image's file.
        crc: their CRC-32; a tar has none.
    """

    name: str
    start: int
    span: int
    packing: int
    packed: int
    size: int
    crc: int | None = None


def read_part(path: str, part: Part) -> bytes:
    """The bytes of the member, unpacked; never more of them than the archive's list says.

    Raises:
        ImageError: ``too_large``, ``truncated``, or ``corrupt``: what is there is not what was listed.
    """
    if max(part.size, part.packed) > MAX_BYTES:
        raise ImageError("too_large", f"the file has over {MAX_BYTES:,} bytes")
    with Path(path).open("rb") as file:
        file.seek(part.start)
        data = file.read(part.span)
    if part.packing == RAW:
        if len(data) < part.size:
            raise ImageError("truncated", "the archive ends in the middle of it")
        return data
    return unpacked(data, part)


def unpacked(data: bytes, part: Part) -> bytes:
    """The bytes of a member of a zip, of what lies at its place.

    Raises:
        ImageError: ``corrupt``.
    """
    # One more than there should be tells a member that inflates further than it says.
    found = _inflated(_body(data, part), part, part.size + 1)
    if len(found) != part.size or zlib.crc32(found) != part.crc:
        raise _damaged()
    return found


def _body(data: bytes, part: Part) -> bytes:
    """What follows the header of a member of a zip."""
    if len(data) < LOCAL_HEADER.size or not data.startswith(b"PK\3\4"):
        raise _damaged()
    _, name, extra = LOCAL_HEADER.unpack_from(data)
    start = LOCAL_HEADER.size + int(name) + int(extra)
    return data[start : start + part.packed]


def _inflated(body: bytes, part: Part, most: int) -> bytes:
    try:
        if part.packing == DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, most)
        if part.packing == BZIP2:
            return bz2.BZ2Decompressor().decompress(body, most)
    except (zlib.error, OSError, EOFError, ValueError):
        raise _damaged() from None
    return body[:most]


def _damaged() -> ImageError:
    return ImageError("corrupt", "the archive is damaged here: what it holds is not what it lists")


def beginning(data: bytes, part: Part, size: int) -> bytes:
    """The first bytes of a member, from the first that lie there; none where it is damaged.

    Args:
        data: what lies at the member's place, ``MOST_BEFORE + size`` bytes of it or all.
        part: the member.
        size: how many bytes are wanted.
    """
    if part.packing == RAW:
        return data[:size]
    try:
        return _inflated(_body(data, part), part, size)
    except ImageError:
        return b""
