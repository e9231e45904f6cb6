"""The file of an image: its fingerprint, its bytes, whether it is DICOM, and which frame of it is meant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hundredfold.data.image import MAX_BYTES
from hundredfold.data.part import Part, read_part
from hundredfold.errors import ImageError

__all__ = ["NEVER_DICOM", "content", "frame_of", "looks_like_dicom", "read", "stamp"]

#: Suffixes of files whose first bytes are not looked at when images are listed.
NEVER_DICOM = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"})


def stamp(path: str) -> str:
    """The fingerprint of a file, without reading it: its size, the time of its last change, and its place."""
    try:
        whole = Path(path).resolve()
        state = whole.stat()
    except (OSError, TypeError):  # absent, or a row without a path
        return "absent"
    place = hashlib.sha256(os.fsencode(whole)).hexdigest()[:16]  # paths may hold names; a store need not
    return f"{state.st_size} {state.st_mtime_ns} {place}"


def read(path: str, known: str | None = None) -> bytes:
    """All bytes of a file of at most 1 GB.

    Args:
        path: of the file.
        known: its fingerprint when it was listed, if it must be the same still.

    Raises:
        ImageError: ``no_file``, ``unreadable``, ``too_large`` or ``changed``.
    """
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ImageError("too_large", f"the file has over {MAX_BYTES:,} bytes")
            content = file.read()
            state = os.fstat(file.fileno())
    except FileNotFoundError:
        raise ImageError("no_file", "there is no such file") from None
    except OSError as error:
        raise ImageError("unreadable", f"the file cannot be read: {error.strerror}") from None
    if known is not None and not known.startswith(f"{state.st_size} {state.st_mtime_ns} "):
        raise ImageError("changed", "the file was changed after the images were listed")
    return content


def content(
    path: str, *, known: str | None = None, part: Sequence[Any] | None = None, once: bool = False
) -> bytes:
    """All bytes of an image's file, if they are those that were listed.

    Args:
        path: of the file, or of the one that it is a part of.
        known: the fingerprint of that file when the images were listed; ``None`` leaves it unchecked.
        part: which part of it, as :class:`~hundredfold.data.part.Part` has it; a check sum of its own tells
            more than the fingerprint of a whole archive.
        once: the file was fetched for this one reading: it is deleted.

    Raises:
        ImageError: as :func:`read`; of a part as :func:`~hundredfold.data.part.read_part`.
    """
    try:
        known = None if once else known
        return read(path, known) if part is None else _part(path, part, known)
    finally:
        if once:
            Path(path).unlink(missing_ok=True)


def _part(path: str, part: Sequence[Any], known: str | None) -> bytes:
    which = Part(*part)
    try:
        data = read_part(path, which)
    except FileNotFoundError:
        raise ImageError("no_file", "the archive is gone") from None
    except OSError as error:
        raise ImageError("unreadable", f"the archive cannot be read: {error.strerror}") from None
    except ImageError as error:
        if error.reason in ("corrupt", "truncated"):
            _check_unchanged(path, known)
        raise
    if which.crc is None:
        _check_unchanged(path, known)
    return data


def _check_unchanged(path: str, known: str | None) -> None:
    if known is not None and stamp(path) != known:
        raise ImageError("changed", "the archive was changed after the images were listed")


def frame_of(name: str, path: str) -> int | None:
    """The number behind ``#`` in the id of a DICOM frame; a ``#`` of the file's own name is none.

    Examples:
        >>> frame_of("a.dcm#3", "in/a.dcm"), frame_of("plate#3", "in/plate#3"), frame_of("a.png", "in/a.png")
        (3, None, None)
    """
    _, mark, number = name.rpartition("#")
    return int(number) if mark and number.isdecimal() and not path.endswith(f"#{number}") else None


def looks_like_dicom(data: bytes) -> bool:
    """Whether the bytes are DICOM, with its preamble or beginning with a group 2 or 8 element.

    Examples:
        >>> looks_like_dicom(bytes(128) + b"DICM"), looks_like_dicom(b"<html>")
        (True, False)
    """
    if data[128:132] == b"DICM":
        return True
    if len(data) < 8 or data[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    return data[3 if data[0] else 2] == 0 and (explicit or int.from_bytes(data[4:8], "little") <= 64)
