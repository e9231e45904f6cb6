"""TIFF → pixels, by tifffile: 1 to 32 bits, grey, colour, palette, CMYK, alpha, any usual compression."""

from __future__ import annotations

import io
import logging
import struct
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from hundredfold.data.image import Opened, Pixels, Raw, cmyk_to_rgb, over_white, upright
from hundredfold.errors import ImageError

__all__ = ["open_tiff"]

ORIENTATION = 274
#: compressions whose decoders turn YCbCr into RGB themselves.
GIVE_RGB = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.JPEG2000)
ALPHA = (EXTRASAMPLE.UNASSALPHA, EXTRASAMPLE.ASSOCALPHA)

# What tifffile logs of a damaged file is said by the reason of its rejection, once and in our words.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def open_tiff(data: bytes) -> Opened:
    """Open a TIFF of one page; smaller copies of it (pyramids, thumbnails) and masks are passed over.

    16-bit and float pixels are ``deep``: nothing is cut to 8 bits.

    Raises:
        ImageError: ``multi_page``, ``truncated``, or ``unsupported`` (channels, colour space).
    """
    file = tifffile.TiffFile(io.BytesIO(data))
    every: list[Any] = list(file.pages)
    pages = [page for page in every if not (page.is_reduced or page.is_mask)]
    page = pages[0]
    if (count := max(len(pages), _planes(file, page))) > 1:
        raise ImageError("multi_page", f"the TIFF holds {count} pages; save each as a file of its own")
    _check_whole(data, file, page)
    turn = int(page.tags[ORIENTATION].value) if ORIENTATION in page.tags else 1
    width, height = int(page.imagewidth), int(page.imagelength)
    if turn in (5, 6, 7, 8):
        width, height = height, width
    return Opened(width, height, lambda _target: _raw(page, turn))


def _planes(file: Any, page: Any) -> int:
    """How many pictures stand behind a lone header: ImageJ, MetaMorph and tifffile itself write stacks so."""
    if len(file.pages) > 1 or not (page.is_imagej or page.is_shaped or page.is_stk):
        return 1
    return int(file.series[0].size // page.size)


def _check_whole(data: bytes, file: Any, page: Any) -> None:
    """Find what tifffile fills with zeros or leaves out: absent strips, tags beyond the end."""
    (tags,) = struct.unpack_from(file.tiff.tagnoformat, data, page.offset)
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    absent = not ends or 0 in page.databytecounts or len(page.dataoffsets) != len(page.databytecounts)
    if absent or max(ends) > len(data) or len(page.tags) < tags:
        raise ImageError("truncated", "the TIFF ends before its last strip, or strips of it are missing")


def _raw(page: Any, turn: int) -> Raw:
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ImageError("unsupported", f"the TIFF has the axes {page.axes}; expected rows and columns")
    samples = np.moveaxis(page.asarray(), 0, -1) if page.axes == "SYX" else page.asarray()
    pixels = _colours(page, samples)
    deep = pixels.dtype != np.uint8
    if deep and pixels.dtype != np.uint16:
        pixels = pixels.astype(np.float32)
    return Raw(np.ascontiguousarray(upright(pixels, turn)), deep=deep)


def _widened(pixels: Pixels, bits: int) -> Pixels:
    """Fewer than 8 bits spread over all of ``uint8``; the others as they are."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "c":
        raise ImageError("unsupported", "the TIFF holds complex numbers")
    if pixels.dtype == np.uint8 and bits < 8:
        wide: Pixels = pixels.astype(np.uint16) * 255 // (2**bits - 1)
        return wide.astype(np.uint8)
    return pixels


def _colours(page: Any, samples: Pixels) -> Pixels:
    """Grey [h,w] or RGB [h,w,3] out of the samples [h,w] or [h,w,c] as the page says they are meant."""
    if page.photometric == PHOTOMETRIC.PALETTE and samples.ndim == 2:
        # Some programs write 8 bits of a colour where 16 are meant, as libtiff's readers know.
        table = page.colormap >> 8 if page.colormap.max() > 255 else page.colormap
        colours: Pixels = np.moveaxis(table[:, samples], 0, -1)
        return colours.astype(np.uint8)
    pixels = _widened(samples, page.bitspersample)
    match page.photometric:
        case PHOTOMETRIC.MINISBLACK:
            return _with_alpha(page, pixels, 1)
        case PHOTOMETRIC.MINISWHITE if pixels.dtype.kind == "u":
            return _with_alpha(page, _from_black(pixels, _white(page)), 1)
        case PHOTOMETRIC.RGB:
            return _with_alpha(page, pixels, 3)
        case PHOTOMETRIC.YCBCR if pixels.dtype == np.uint8 and pixels.ndim == 3:
            return _rgb_of_ycbcr(page, pixels)
        case PHOTOMETRIC.SEPARATED if pixels.ndim == 3 and pixels.dtype.kind == "u":
            return cmyk_to_rgb(pixels[..., :4], _white(page))
    raise ImageError("unsupported", f"a TIFF of {_name(page.photometric)} {pixels.dtype} is not read")


def _white(page: Any) -> int:
    """The largest value of a sample: 4,095 where twelve bits of two bytes are used."""
    return int(2 ** max(page.bitspersample, 8)) - 1


def _from_black(pixels: Pixels, white: int) -> Pixels:
    """Grey [h,w] or [h,w,c], its first sample counted from black in place of white; alpha stays."""
    pixels = pixels.copy()
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    np.subtract(np.array(white, pixels.dtype), grey, out=grey)
    return pixels


def _rgb_of_ycbcr(page: Any, pixels: Pixels) -> Pixels:
    if page.compression in GIVE_RGB:
        return _with_alpha(page, pixels, 3)
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]), "YCbCr")
    return np.asarray(image.convert("RGB"))


def _with_alpha(page: Any, pixels: Pixels, colours: int) -> Pixels:
    """Keep ``colours`` samples, on white where the next one is alpha."""
    extras = () if pixels.ndim == 2 else tuple(page.extrasamples)
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if channels - len(extras) != colours or any(extra not in ALPHA for extra in extras[1:]):
        raise ImageError("unsupported", f"the TIFF has {channels} channels; expected grey or RGB")
    if pixels.ndim == 2:
        return pixels
    picture = pixels[..., 0] if colours == 1 else pixels[..., :3]
    if extras and extras[0] in ALPHA and pixels.dtype.kind == "u":
        premultiplied = extras[0] == EXTRASAMPLE.ASSOCALPHA
        return over_white(picture, pixels[..., colours], premultiplied=premultiplied, white=_white(page))
    if extras and colours == 1:
        raise ImageError("unsupported", f"the TIFF has {channels} channels; expected grey or RGB")
    return picture


def _name(photometric: Any) -> str:
    return str(getattr(photometric, "name", photometric)).lower()
