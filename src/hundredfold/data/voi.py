"""Stored DICOM grey values → what a reader sees: rescale, window (VOI), inversion, padding.

Source: DICOM PS3.3 C.7.5.1.1.2 (padding), C.11.1 (modality LUT), C.11.2 (VOI LUT). The windows by name are
those that OHIF's viewer begins with (docs.ohif.org, windowLevelPresets); see :mod:`hundredfold.config.scan`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from hundredfold.data.image import Pixels, Raw, check_finite
from hundredfold.errors import ImageError

__all__ = ["grey", "window"]

RESCALE, FRAME_VOI = "PixelValueTransformationSequence", "FrameVOILUTSequence"


def grey(
    dataset: Dataset, frame: int, stored: Pixels, *, inverted: bool,
    ct_window: tuple[float, float] | None = None,
) -> Raw:
    """The stored values [h,w] of a frame as a reader sees them.

    Args:
        dataset: what says how they are meant.
        frame: which frame of it, from 0.
        stored: as they were decoded.
        inverted: MONOCHROME1: the smallest value is white.
        ct_window: centre and width in Hounsfield units, in place of the file's own window.

    Returns:
        ``uint8`` where there is a window, or no more than 8 bits; else the rescaled values, ``deep``. Padding
        is black, or where the values are deep the darkest of the others.

    Raises:
        ImageError: ``nonfinite``; ``not_ct``: a window in Hounsfield units was asked for, and the values are
            in none.
    """
    values, slope, intercept = _rescaled(dataset, frame, stored)
    check_finite(values)  # a window would make black of NaN
    padding = _padding(dataset, stored)
    flags: tuple[str, ...] = ()
    if ct_window is not None:
        _check_ct(dataset, frame)
        seen: NDArray[np.uint8] | None = window(values.astype(np.float32), *ct_window)
    else:
        seen, flags = _as_shown(dataset, frame, values)
    if seen is None and values is stored and _is_plain(dataset, stored):
        seen = np.rint(stored * (255 / (2 ** int(dataset.BitsStored) - 1))).astype(np.uint8)
    if seen is not None:
        return Raw(_without(255 - seen if inverted else seen, padding, np.uint8(0)), flags=flags)
    deep = values
    if inverted:
        deep = -values if stored.dtype.kind == "f" else _mirrored(dataset, values, slope, intercept)
    deep = deep if deep.dtype == np.uint16 else deep.astype(np.float32)
    return Raw(_without(deep, padding), deep=True, flags=flags)


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


def _rescaled(dataset: Dataset, frame: int, stored: Pixels) -> tuple[Pixels, float, float]:
    """The values after the modality LUT, and the slope and intercept that made them."""
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, dataset)), 1.0, 0.0
    slope = float(_functional(dataset, frame, RESCALE, "RescaleSlope") or 1)
    intercept = float(_functional(dataset, frame, RESCALE, "RescaleIntercept") or 0)
    if (slope, intercept) == (1, 0):
        return stored, slope, intercept
    return stored * np.float64(slope) + intercept, slope, intercept


def _is_plain(dataset: Dataset, stored: Pixels) -> bool:
    """Whether the values are of at most 8 bits, from black to white."""
    return stored.dtype.kind != "f" and int(dataset.BitsStored) <= 8 and not dataset.PixelRepresentation


def _mirrored(dataset: Dataset, values: Pixels, slope: float, intercept: float) -> Pixels:
    """Deep values inverted in the range that their bits can hold, the same for all images of a device."""
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return np.asarray(slope * sum(ends) + 2 * intercept - values.astype(np.float64))


def _padding(dataset: Dataset, stored: Pixels) -> NDArray[np.bool_] | None:
    """Where the device filled up the picture [h,w], if it did."""
    value = dataset.get("PixelPaddingValue")
    if value is None or stored.dtype.kind == "f":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (stored >= low) & (stored <= high)


def _without(pixels: Pixels, padding: NDArray[np.bool_] | None, black: Any = None) -> Pixels:
    """The pixels with ``black``, or the darkest of the others, in place of padding."""
    if padding is None or not padding.any() or padding.all():
        return pixels
    return np.where(padding, pixels[~padding].min() if black is None else black, pixels)


def _check_ct(dataset: Dataset, frame: int) -> None:
    kind = _functional(dataset, frame, RESCALE, "RescaleType")
    rescaled = _functional(dataset, frame, RESCALE, "RescaleSlope") is not None
    if not rescaled or not (kind == "HU" or (kind in (None, "") and dataset.get("Modality") == "CT")):
        raise ImageError("not_ct", "a window for CT was asked for, and this image is not in Hounsfield units")


def _as_shown(
    dataset: Dataset, frame: int, values: Pixels
) -> tuple[NDArray[np.uint8] | None, tuple[str, ...]]:
    """The values [h,w] through the file's VOI LUT or first window, ``None`` where it has neither; flags."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        shown = apply_voi(np.rint(values).astype(np.int64), dataset)
        seen: NDArray[np.uint8] = np.rint(np.clip(shown / (2**bits - 1), 0, 1) * 255).astype(np.uint8)
        return seen, ()
    centers = _numbers(_functional(dataset, frame, FRAME_VOI, "WindowCenter"))
    widths = _numbers(_functional(dataset, frame, FRAME_VOI, "WindowWidth"))
    if not centers or not widths or not widths[0] > 0:
        return None, ()
    function = str(_functional(dataset, frame, FRAME_VOI, "VOILUTFunction") or "LINEAR").upper()
    several = ("several_windows",) if len(set(zip(centers, widths, strict=False))) > 1 else ()
    return window(values.astype(np.float32), centers[0], widths[0], function), several


def _functional(dataset: Dataset, frame: int, sequence: str, keyword: str) -> Any:
    """The value of ``keyword``: the frame's own, that shared by all frames, or the data set's."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*own[frame : frame + 1], *shared[:1]):
        for item in group.get(sequence) or []:
            if keyword in item:
                return item[keyword].value
    return dataset.get(keyword)


def _numbers(value: Any) -> list[float]:
    """One number or several; a file with several windows begins with the one to show."""
    if value is None or value == "":
        return []
    return [float(one) for one in (value if isinstance(value, MultiValue) else [value])]
