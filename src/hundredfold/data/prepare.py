"""One image file → the square that is kept of it, or a picture to look at, or why there is none.

What is here meets untrusted bytes: it is called in a decoder's process (:mod:`hundredfold.data.nursery`),
and loads no more than it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from hundredfold.data.decode import Decoded, decode, measure
from hundredfold.data.file import content
from hundredfold.data.image import Pixels, Target
from hundredfold.data.part import Part
from hundredfold.data.resize import Fit, resize, scaled_size, to_square
from hundredfold.data.value_range import ValueRange

__all__ = ["prepare", "prepare_sent", "show", "size_of"]


def prepare(
    path: str, *, frame: int | None, size: int, fit: Fit, value_range: tuple[float, float] | None,
    ct_window: tuple[float, float] | None = None, known: str | None = None, part: Sequence[Any] | None = None,
    once: bool = False,
) -> tuple[dict[str, Any], Pixels]:
    """Read, decode and resize one image.

    Args:
        path: of the file, or of the one that it is a part of.
        frame: which frame of a multi-frame DICOM.
        size: side of the square in px.
        fit: ``pad``, ``crop`` or ``squash``.
        value_range: black and white of deep images; ``None`` leaves them as they are.
        ct_window: centre and width in Hounsfield units through which CT is shown.
        known: fingerprint of the file at ``path``; this and the rest as for
            :func:`~hundredfold.data.file.content`.
        part: which part of that file.
        once: whether it is deleted.

    Returns:
        What the table keeps of it (width, height, sha256, note), and its square ``uint8`` [s,s,3], or
        ``float32`` [s,s(,3)] where it is deep and there is no range yet.

    Raises:
        ImageError: as :func:`~hundredfold.data.decode.decode`, and ``no_file``, ``unreadable``, ``changed``.
    """
    data = content(path, known=known, part=part, once=once)
    return _prepared(
        data, _name(path, part), frame=frame, size=size, fit=fit, value_range=value_range, ct_window=ct_window
    )


def prepare_sent(
    sent: Pixels, *, frame: int | None, size: int, fit: Fit, value_range: tuple[float, float] | None,
    ct_window: tuple[float, float] | None = None,
) -> tuple[dict[str, Any], Pixels]:
    """Decode and resize one image whose bytes ``uint8`` [n] were sent along, and lie in no file.

    The other arguments and what is returned are those of :func:`prepare`.

    Raises:
        ImageError: as :func:`~hundredfold.data.decode.decode`.
    """
    return _prepared(
        sent.tobytes(), "", frame=frame, size=size, fit=fit, value_range=value_range, ct_window=ct_window
    )


def _prepared(
    data: bytes, name: str, *, frame: int | None, size: int, fit: Fit,
    value_range: tuple[float, float] | None, ct_window: tuple[float, float] | None,
) -> tuple[dict[str, Any], Pixels]:
    target = partial(scaled_size, size=size, fit=fit)
    decoded, pixels = _decoded(data, name, frame, target, ct_window)
    square = to_square(pixels, size, fit)
    if decoded.deep and value_range is not None:
        square = ValueRange(*value_range).to_uint8(square)
    if square.dtype == np.uint8 and square.ndim == 2:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    facts = ("width", "height", "sha256", "note")
    return {fact: getattr(decoded, fact) for fact in facts}, square


def show(
    path: str, *, frame: int | None, most: int, value_range: tuple[float, float] | None,
    ct_window: tuple[float, float] | None = None, known: str | None = None, part: Sequence[Any] | None = None,
    once: bool = False,
) -> tuple[dict[str, Any], Pixels]:
    """Read and decode one image to be looked at: whole, in its own proportions, never enlarged.

    Args:
        path: of the file, or of the one that it is a part of.
        frame: which frame of a multi-frame DICOM.
        most: longest side of the picture in px.
        value_range: black and white of deep images; ``None``: their own, which no store leaves open.
        ct_window: centre and width in Hounsfield units through which CT is shown.
        known: as for :func:`prepare`, and the rest.
        part: which part of that file.
        once: whether it is deleted.

    Returns:
        ``width`` and ``height`` of the image itself, and pixels ``uint8`` [h,w] or [h,w,3].

    Raises:
        ImageError: as :func:`prepare`.
    """
    data, target = content(path, known=known, part=part, once=once), partial(_within, most=most)
    decoded, pixels = _decoded(data, _name(path, part), frame, target, ct_window)
    pixels = resize(pixels, *_within(pixels.shape[1], pixels.shape[0], most=most))
    if decoded.deep:
        pixels = (ValueRange(*value_range) if value_range else ValueRange.of([pixels])).to_uint8(pixels)
    return {"width": decoded.width, "height": decoded.height}, pixels


def _decoded(
    data: bytes, name: str, frame: int | None, target: Target, ct_window: tuple[float, float] | None
) -> tuple[Decoded, Pixels]:
    """The image, and its pixels in a type that can be resized."""
    decoded = decode(data, name, frame=frame, target=target, ct_window=ct_window)
    return decoded, decoded.pixels.astype(np.float32) if decoded.deep else decoded.pixels


def _within(width: int, height: int, *, most: int) -> tuple[int, int]:
    scale = min(1.0, most / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def size_of(
    path: str, *, frame: int | None, known: str | None = None, part: Sequence[Any] | None = None,
    once: bool = False,
) -> tuple[dict[str, Any], None]:
    """The upright ``width`` and ``height`` in px that the header states.

    Raises:
        ImageError: as :func:`prepare`, as far as the header tells.
    """
    data = content(path, known=known, part=part, once=once)
    width, height = measure(data, _name(path, part), frame=frame)
    return {"width": width, "height": height}, None


def _name(path: str, part: Sequence[Any] | None) -> str:
    return path if part is None else Part(*part).name
