"""DICOM → pixels: transfer syntax, photometric interpretation, palette, frames; no patient data.

What comes out of a file with a window (VOI) is 8 bits as a reader sees it; without one it is the
rescaled values, ``deep``, which need a range. No message quotes the value of a tag.
Source: DICOM PS3.3 C.7.6.3 (pixels); PS3.10 (file).
"""

from __future__ import annotations

import io
import logging
import zlib
from dataclasses import replace

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut

from hundredfold.data import codecs
from hundredfold.data.image import MAX_PIXELS, Opened, Pixels, Raw, check_size
from hundredfold.data.voi import grey
from hundredfold.errors import ImageError

__all__ = ["MAX_FRAMES", "check_inflated", "open_dicom"]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_INFLATED = 1_000_000_000
CHUNK = 1 << 20
#: of one file: more are a lie, or no set of images for this tool.
MAX_FRAMES = 10_000

# pydicom's remarks on a damaged file quote the values it found, which may be a patient's.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
codecs.register()


def open_dicom(
    data: bytes, frame: int | None = None, ct_window: tuple[float, float] | None = None
) -> Opened:
    """Open one frame of a DICOM file.

    Args:
        data: the bytes of the file.
        frame: which frame, from 0; may be left out where there is only one.
        ct_window: centre and width in Hounsfield units, in place of the file's own window.

    Raises:
        ImageError: ``no_pixels``, ``multi_page`` (several frames and none was asked for),
            ``too_large``, ``no_codec``, ``unsupported`` or ``corrupt``.
    """
    check_inflated(data)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if not any(keyword in dataset for keyword in PIXELS):
        _refuse_without_pixels(data, dataset)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > MAX_FRAMES:
        raise ImageError("too_large", f"the header says {frames:,} frames; at most {MAX_FRAMES:,} are read")
    if frames > 1 and frame is None:
        raise ImageError("multi_page", f"the DICOM file holds {frames} frames; list each as file#0, file#1 …")
    if frame is not None and frame >= frames:
        raise ImageError("corrupt", f"frame {frame} was asked for, but the DICOM file holds {frames}")
    width, height = int(dataset.Columns), int(dataset.Rows)
    if width * height * frames > MAX_PIXELS * 100:
        raise ImageError("too_large", f"the header says {frames} frames of {width} x {height} px")
    return Opened(width, height, lambda _target: _raw(dataset, frame or 0, ct_window))


def check_inflated(data: bytes) -> None:
    """Inflate a deflated file in pieces that are thrown away, so that a bomb meets the limit first.

    Raises:
        ImageError: ``too_large``.
    """
    if data[128:132] != b"DICM" or DEFLATED not in data[132:2048]:
        return
    start = 144 + int.from_bytes(data[140:144], "little")  # behind the group length of the file meta
    inflater, rest, size = zlib.decompressobj(-zlib.MAX_WBITS), data[start:], 0
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, CHUNK))
        rest = inflater.unconsumed_tail
        if size > MAX_INFLATED:
            raise ImageError("too_large", "the deflated DICOM file inflates to over 1 GB")


def _refuse_without_pixels(data: bytes, dataset: Dataset) -> None:
    if data[128:132] != b"DICM" and not dataset.get("SOPClassUID"):
        raise ImageError("not_dicom", "the bytes begin like DICOM without a preamble, but hold no data set")
    if "Rows" in dataset or not len(dataset):  # pydicom drops all of a data set that ends inside an element
        raise ImageError("corrupt", "the DICOM file is cut short: its pixel data are missing")
    raise ImageError("no_pixels", "the DICOM file holds no pixels (a plan, report, waveform …)")


def _raw(dataset: Dataset, frame: int, ct_window: tuple[float, float] | None) -> Raw:
    stored, photometric = _stored(dataset, frame)
    flags = _flags(dataset)
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        raw = grey(dataset, frame, stored, inverted=photometric == "MONOCHROME1", ct_window=ct_window)
        return replace(raw, flags=(*flags, *raw.flags))
    if ct_window is not None:
        raise ImageError("not_ct", "a window in Hounsfield units was asked for, and the image is in colour")
    if photometric == "PALETTE COLOR":
        return Raw(_looked_up(dataset, stored)[..., :3], flags=flags)
    if photometric in COLOURS:
        return _colour(stored, int(dataset.BitsStored), flags)
    raise ImageError("unsupported", "the DICOM file's photometric interpretation cannot be read")


def _stored(dataset: Dataset, frame: int) -> tuple[Pixels, str]:
    """Stored values [h,w] or [h,w,3] (RGB) of a frame, and their photometric interpretation."""
    syntax = _transfer_syntax(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageError("unsupported", "the DICOM file is compressed as video or otherwise") from None
    if not decoder.is_available:
        raise ImageError("no_codec", f"a decoder is missing for {syntax.name}; pip install imagecodecs")
    check_size(int(dataset.Columns), int(dataset.Rows))
    if syntax in uid.JPEG2000TransferSyntaxes:
        tables = [dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        frames = int(dataset.get("NumberOfFrames") or 1)
        codecs.check_boxes(get_frame(
            dataset.PixelData, frame, extended_offsets=tuple(tables) if all(tables) else None,
            number_of_frames=frames,
        ))
    pixels, facts = decoder.as_array(dataset, index=frame)
    return pixels, str(facts["photometric_interpretation"])


def _looked_up(dataset: Dataset, stored: Pixels) -> Pixels:
    """The colours that the palette gives; some machines write 8 bits of one and say that it has 16."""
    colours: Pixels = apply_color_lut(stored, dataset)
    if colours.dtype == np.uint8:
        return colours
    count, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    table = apply_color_lut(np.arange(first, first + (count or 1 << 16)), dataset)
    return (colours >> 8 if table.max() > 255 else colours).astype(np.uint8)


def _transfer_syntax(dataset: Dataset) -> uid.UID:
    """The stated transfer syntax, or without one that which the data set was read in."""
    stated = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if stated:
        return uid.UID(stated)
    implicit, little = dataset.original_encoding
    if implicit:
        syntax = uid.ImplicitVRLittleEndian
    else:
        syntax = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return syntax


def _flags(dataset: Dataset) -> tuple[str, ...]:
    found = []
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        found.append("burned_in_annotation")
    if any(0x6000 <= tag.group <= 0x60FF for tag in dataset.keys()):  # noqa: SIM118 - iterating it would parse every element
        found.append("overlay_left_out")
    return tuple(found)


def _colour(stored: Pixels, bits: int, flags: tuple[str, ...]) -> Raw:
    if stored.dtype == np.uint8 and bits == 8:
        return Raw(stored, flags=flags)
    if stored.dtype == np.uint16:
        return Raw(stored, deep=True, flags=flags)
    return Raw(stored.astype(np.float32), deep=True, flags=flags)
