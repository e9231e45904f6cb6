"""Bytes → pixels, by content and not by extension: checked, limited, never half an image."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hundredfold.data.candidates import suffix_of
from hundredfold.data.dicom import open_dicom
from hundredfold.data.file import NEVER_DICOM, looks_like_dicom
from hundredfold.data.image import Opened, Pixels, Raw, Target, check_finite, check_size
from hundredfold.data.raster import open_bmp, open_gif, open_jpeg, open_png
from hundredfold.data.tiff import open_tiff
from hundredfold.errors import ImageError

__all__ = ["Decoded", "decode", "measure", "quiet_decoders"]

#: format, how its bytes begin, and what opens it.
FORMATS: tuple[tuple[str, bytes, Callable[[bytes], Opened]], ...] = (
    ("JPEG", b"\xff\xd8\xff", open_jpeg),
    ("PNG", b"\x89PNG\r\n\x1a\n", open_png),
    ("TIFF", b"II*\0", open_tiff),
    ("TIFF", b"MM\0*", open_tiff),
    ("TIFF", b"II+\0", open_tiff),
    ("TIFF", b"MM\0+", open_tiff),
    ("GIF", b"GIF87a", open_gif),
    ("GIF", b"GIF89a", open_gif),
    ("BMP", b"BM", open_bmp),
)
UNREAD = (
    ("WebP", 8, b"WEBP"), ("JPEG 2000", 4, b"jP  "), ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("AVIF or HEIF", 4, b"ftyp"), ("JPEG XL", 4, b"JXL "), ("NIfTI", 344, b"n+1\0"), ("PDF", 0, b"%PDF"),
)
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")


@dataclass(frozen=True)
class Decoded:
    """An image as pixels.

    Args:
        pixels: ``uint8``, ``uint16`` or ``float32`` [h,w] (grey) or [h,w,3] (RGB), upright. A JPEG may
            have been decoded at a reduced scale.
        deep: the pixels (16-bit, float) have no known range; one for the data set is needed.
        width: of the upright image itself, in px.
        height: of the upright image itself, in px.
        sha256: of the pixels; of a JPEG, of its bytes less the metadata, at whatever scale it was decoded.
        note: flags, joined by ``"; "``: ``constant``, ``burned_in_annotation``, ``overlay_left_out``,
            ``several_windows`` (the first was taken), ``patient_not_read`` (a DICOM file named as another).
    """

    pixels: Pixels
    deep: bool
    width: int
    height: int
    sha256: str
    note: str


def decode(
    data: bytes, name: str, *, frame: int | None = None, target: Target | None = None,
    ct_window: tuple[float, float] | None = None,
) -> Decoded:
    """Decode an image file: JPEG, PNG, TIFF, BMP, GIF or DICOM.

    Transparent parts are laid on white; EXIF and TIFF orientation is undone; colour profiles are
    not applied; CMYK becomes RGB by its ink shares.

    Args:
        data: the bytes of the file.
        name: its name, for what is said of it; the extension decides nothing.
        frame: which frame of a multi-frame DICOM, from 0.
        target: (width, height) → the (width, height) that the image will be resized to. A JPEG over
            twice as large is decoded at 1/2, 1/4 or 1/8.
        ct_window: centre and width in Hounsfield units through which CT is shown, in place of the files'
            own windows; all other images are then refused.

    Raises:
        ImageError: with one of the reasons ``empty``, ``not_image``, ``not_dicom``, ``unsupported``,
            ``truncated``, ``corrupt``, ``too_small``, ``too_large``, ``multi_page``, ``no_pixels``,
            ``no_codec``, ``nonfinite``, ``not_ct``.

    Examples:
        >>> decode(b"<html>Not found</html>", "cell.jpg")
        Traceback (most recent call last):
            ...
        hundredfold.errors.ImageError: the bytes are no image (JPEG, PNG, TIFF, BMP, GIF, DICOM).
    """
    kind, opener = _opener(data, name, frame, ct_window)
    if ct_window is not None and kind != "DICOM":
        raise ImageError("not_ct", f"a window in Hounsfield units was asked for, and a {kind} is in none")
    with _refusing(kind):
        opened = opener(data)
        check_size(opened.width, opened.height)
        raw = opened.read(target)
    pixels = raw.pixels
    if pixels.shape[2:] not in ((), (3,)):
        raise ImageError("unsupported", f"the {kind} has {pixels.shape[2]} channels; expected grey or RGB")
    check_finite(pixels)
    flags = [*(["constant"] if _is_constant(pixels) else []), *raw.flags]
    if kind == "DICOM" and suffix_of(name) in NEVER_DICOM:
        flags.append("patient_not_read")
    return Decoded(pixels, raw.deep, opened.width, opened.height, _sha256(raw), "; ".join(flags))


def measure(data: bytes, name: str, *, frame: int | None = None) -> tuple[int, int]:
    """The upright width and height in px that the header states.

    Raises:
        ImageError: as :func:`decode`, as far as the header tells.
    """
    kind, opener = _opener(data, name, frame)
    with _refusing(kind):
        opened = opener(data)
    check_size(opened.width, opened.height)
    return opened.width, opened.height


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep the decoders' warnings from the terminal while many images are decoded in threads.

    They may quote the values of tags, and what matters in them is the reason of a rejection. The
    filters of :mod:`warnings` belong to the whole process, so this stands around the threads and not
    in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opener(
    data: bytes, name: str, frame: int | None, ct_window: tuple[float, float] | None = None
) -> tuple[str, Callable[[bytes], Opened]]:
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if looks_like_dicom(data):  # first, because its preamble may pose as a TIFF or an executable
        return "DICOM", lambda given: open_dicom(given, frame, ct_window)
    for kind, magic, opener in FORMATS:
        if data.startswith(magic):
            return kind, opener
    for kind, position, magic in UNREAD:
        if data.startswith(magic, position):
            raise ImageError("unsupported", f"the file is {kind}; save it as PNG, TIFF, JPEG or DICOM")
    if name.lower().endswith(DICOM_SUFFIXES):
        raise ImageError("not_dicom", "the file is named as DICOM, but its bytes are not")
    raise ImageError("not_image", "the bytes are no image (JPEG, PNG, TIFF, BMP, GIF, DICOM)")


@contextmanager
def _refusing(kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a reason, without its message: that may quote a tag."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too_large", f"the {kind} needs more memory than there is") from None
    except Exception as error:  # noqa: BLE001 - bytes from anywhere make the decoders raise anything
        if kind != "DICOM" and _ends_early(error):
            raise ImageError("truncated", f"the {kind} is cut short") from None
        raise ImageError("corrupt", f"the {kind} is damaged ({type(error).__name__})") from None


def _ends_early(error: Exception) -> bool:
    return isinstance(error, EOFError | IndexError) or any(
        word in str(error).lower()
        for word in ("truncated", "failed to read", "ends before", "not enough", "premature end")
    )


def _is_constant(pixels: Pixels) -> bool:
    first = pixels[0, 0]
    if (pixels[::16, ::16] != first).any():  # a few of the pixels tell it of nearly all images
        return False
    return bool((pixels == first).all())


def _sha256(raw: Raw) -> str:
    if raw.identity is not None:
        return hashlib.sha256(raw.identity).hexdigest()
    pixels = np.ascontiguousarray(raw.pixels)
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    digest.update(pixels.data)
    return digest.hexdigest()
