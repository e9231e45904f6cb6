"""DICOM → pixels: photometric interpretation, rescale, window, palette, frames; no patient data.

What comes out of a file with a window (VOI) is 8 bits as a reader sees it; without one it is the
rescaled values, ``deep``, which need a range. No message quotes the value of a tag.
Source: DICOM PS3.3 C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT); PS3.10 (file).
"""

from __future__ import annotations

import io
import logging
import zlib
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from hundredfold.data import codecs
from hundredfold.data.image import MAX_PIXELS, Opened, Pixels, Raw, check_size
from hundredfold.errors import ImageError

__all__ = ["looks_like_dicom", "open_dicom", "window"]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_INFLATED = 1_000_000_000
CHUNK = 1 << 20

# pydicom's remarks on a damaged file quote the values it found, which may be a patient's.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
codecs.register()


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


def open_dicom(data: bytes, frame: int | None = None) -> Opened:
    """Open one frame of a DICOM file.

    Args:
        data: the bytes of the file.
        frame: which frame, from 0; may be left out where there is only one.

    Raises:
        ImageError: ``no_pixels``, ``multi_page`` (several frames and none was asked for),
            ``too_large``, ``no_codec``, ``unsupported`` or ``corrupt``.
    """
    _check_inflated(data)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if not any(keyword in dataset for keyword in PIXELS):
        _refuse_without_pixels(data, dataset)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1 and frame is None:
        raise ImageError("multi_page", f"the DICOM file holds {frames} frames; list each as file#0, file#1 …")
    if frame is not None and frame >= frames:
        raise ImageError("corrupt", f"frame {frame} was asked for, but the DICOM file holds {frames}")
    width, height = int(dataset.Columns), int(dataset.Rows)
    if width * height * frames > MAX_PIXELS * 100:
        raise ImageError("too_large", f"the header says {frames} frames of {width} x {height} px")
    return Opened(width, height, lambda _target: _raw(dataset, frame or 0))


def window(
    values: NDArray[np.float32], center: float, width: float, function: str = "LINEAR"
) -> NDArray[np.uint8]:
    """Apply a VOI window; what lies below is black (0), above white (255).

    Args:
        values: after the modality LUT, any shape.
        center: in the units of ``values``.
        width: in the same units; at least 1 for ``LINEAR``, above 0 for the others.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.

    Source: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Examples:
        >>> window(np.float32([-1000, 40, 1000]), 40, 400)
        array([  0, 128, 255], dtype=uint8)
    """
    values = values.astype(np.float64)
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -50, 50)))
    elif function == "LINEAR_EXACT":
        shares = (values - center) / width + 0.5
    elif width <= 1:  # a step at the centre
        shares = (values > center - 0.5).astype(np.float64)
    else:
        shares = (values - (center - 0.5)) / (width - 1) + 0.5
    shown: NDArray[np.uint8] = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return shown


def _check_inflated(data: bytes) -> None:
    """Inflate a deflated file in pieces that are thrown away, so that a bomb meets the limit first."""
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


def _raw(dataset: Dataset, frame: int) -> Raw:
    stored, photometric = _stored(dataset, frame)
    flags = _flags(dataset)
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        eight = colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
        return Raw(eight[..., :3], flags=flags)
    if photometric in COLOURS:
        return _colour(stored, int(dataset.BitsStored), flags)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError("unsupported", "the DICOM file's photometric interpretation cannot be read")
    return _grey(dataset, frame, stored, photometric == "MONOCHROME1", flags)


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
    pixels, facts = decoder.as_array(dataset, index=frame)
    return pixels, str(facts["photometric_interpretation"])


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


def _grey(dataset: Dataset, frame: int, stored: Pixels, inverted: bool, flags: tuple[str, ...]) -> Raw:
    rescale = "PixelValueTransformationSequence"
    slope = float(_functional(dataset, frame, rescale, "RescaleSlope") or 1)
    intercept = float(_functional(dataset, frame, rescale, "RescaleIntercept") or 0)
    if "ModalityLUTSequence" in dataset:
        values = np.asarray(apply_modality_lut(stored, dataset))
        slope, intercept = 1.0, 0.0
    else:
        values = (stored * np.float64(slope) + intercept) if (slope, intercept) != (1, 0) else stored
    if (seen := _as_shown(dataset, frame, values)) is not None:
        return Raw(255 - seen if inverted else seen, flags=flags)
    if stored.dtype.kind == "f":
        return Raw((-values if inverted else values).astype(np.float32), deep=True, flags=flags)
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    white = 2**bits - 1
    if values is stored and bits <= 8 and not signed:
        eight = np.rint(stored * (255 / white)).astype(np.uint8)
        return Raw(255 - eight if inverted else eight, flags=flags)
    if inverted:  # mirrored in the range that the stored bits can hold, the same for all images of a device
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, white)
        values = slope * sum(ends) + 2 * intercept - values.astype(np.float64)
    return Raw(values if values.dtype == np.uint16 else values.astype(np.float32), deep=True, flags=flags)


def _as_shown(dataset: Dataset, frame: int, values: Pixels) -> NDArray[np.uint8] | None:
    """The values [h,w] through the file's VOI LUT or first window, or ``None`` where it has neither."""
    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        shown = apply_voi(np.rint(values).astype(np.int64), dataset)
        seen: NDArray[np.uint8] = np.rint(np.clip(shown / (2**bits - 1), 0, 1) * 255).astype(np.uint8)
        return seen
    center = _first(_functional(dataset, frame, "FrameVOILUTSequence", "WindowCenter"))
    width = _first(_functional(dataset, frame, "FrameVOILUTSequence", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = _functional(dataset, frame, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
    return window(values.astype(np.float32), center, width, str(function).upper())


def _functional(dataset: Dataset, frame: int, sequence: str, keyword: str) -> Any:
    """The value of ``keyword``: the frame's own, that shared by all frames, or the data set's."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        for item in group.get(sequence) or []:
            if keyword in item:
                return item[keyword].value
    return dataset.get(keyword)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:  # several windows: the first is the one to show
        return float(value[0])
