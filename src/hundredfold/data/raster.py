"""JPEG, PNG, BMP and GIF → pixels, whole or not at all.

Pillow decodes them, because it refuses a file that ends early (libjpeg by itself, and so OpenCV,
fills the missing part with grey). Its plug-ins are called directly, because
:func:`PIL.Image.open` has limits of its own and only warns at the first of them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from hundredfold.data.image import Opened, Pixels, Raw, Target, over_white, upright
from hundredfold.errors import ImageError

__all__ = ["open_bmp", "open_gif", "open_jpeg", "open_png"]

ORIENTATION = 0x0112
GREY_MODES = ("1", "L")
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
JPEG_END = b"\xff\xd9"
PNG_END = b"IEND\xaeB`\x82"
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
COMMENT, APPLICATION = 0xFE, range(0xE1, 0xEE)  # APP14 stays: it says how the colours are coded


def open_jpeg(data: bytes) -> Opened:
    """Open a JPEG; it is decoded at 1/2, 1/4 or 1/8 where the target is that much smaller.

    CMYK becomes RGB without a colour profile. Of a file with several pictures (MPO) the main one is
    read: the others are previews or other views of it.

    Raises:
        ImageError: ``truncated`` where the end is missing.
    """
    if JPEG_END not in data:
        raise ImageError("truncated", "the JPEG ends before its last marker")
    image = JpegImageFile(io.BytesIO(data))
    turn = _orientation(image)

    def read(target: Target | None) -> Raw:
        if target is not None:
            size = target(*_turned(image.size, turn))
            image.draft(None, _turned(size, turn))
        return Raw(upright(_pixels(image), turn), identity=_jpeg_identity(data, turn))

    return _opened(image, turn, read)


def open_png(data: bytes) -> Opened:
    """Open a PNG, with its 16 bits where it has them.

    Raises:
        ImageError: ``truncated`` where the end is missing, ``multi_page`` where it is animated.
    """
    if PNG_END not in data:
        raise ImageError("truncated", "the PNG ends before its last chunk")
    image = PngImageFile(io.BytesIO(data))
    _refuse_frames(image)
    turn = _orientation(image)
    depth, colour = struct.unpack_from(">BB", data, 24)

    def read(_target: Target | None) -> Raw:
        if depth < 16:
            return Raw(upright(_pixels(image), turn))
        image.load()  # Pillow finds what is missing or damaged, but keeps 8 bits of a colour
        return Raw(upright(_deep_png(data, PNG_CHANNELS[colour]), turn), deep=True)

    return _opened(image, turn, read)


def open_bmp(data: bytes) -> Opened:
    """Open a BMP."""
    image = BmpImageFile(io.BytesIO(data))
    return _opened(image, 1, lambda _target: Raw(_pixels(image)))


def open_gif(data: bytes) -> Opened:
    """Open a GIF of one frame.

    Raises:
        ImageError: ``multi_page``: it has several.
    """
    image = GifImageFile(io.BytesIO(data))
    _refuse_frames(image)
    return _opened(image, 1, lambda _target: Raw(_pixels(image)))


def _opened(image: ImageFile, turn: int, read: Callable[[Target | None], Raw]) -> Opened:
    return Opened(*_turned(image.size, turn), read)


def _turned(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return (size[1], size[0]) if turn in (5, 6, 7, 8) else size


def _orientation(image: Image) -> int:
    if "exif" not in image.info:  # without this, a PNG would be decoded here in search of it
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF raises of every kind, and says nothing of the pixels
        return 1


def _refuse_frames(image: ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError("multi_page", f"the file holds {frames} pictures; save each as a file of its own")


def _pixels(image: Image) -> Pixels:
    image.load()
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        grey = image.mode in ("L", "LA", "La")
        layers = np.asarray(image.convert("RGBA"))
        return over_white(layers[..., 0] if grey else layers[..., :3], layers[..., 3])
    return np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))


def _deep_png(data: bytes, channels: int) -> Pixels:
    pixels: Pixels = imagecodecs.png_decode(data)
    if channels in (2, 4):
        colours = pixels[..., 0] if channels == 2 else pixels[..., :3]
        return over_white(colours, pixels[..., -1])
    return pixels


def _jpeg_identity(data: bytes, turn: int) -> bytes:
    """The bytes of a JPEG less its metadata: the same pixels, whatever the scale of decoding."""
    return b"".join((b"jpeg", bytes([turn]), *_jpeg_segments(data)))


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:  # start of scan: the rest is the picture
            break
        if marker not in APPLICATION and marker != COMMENT:
            yield data[position:end]
        position = end
    yield data[position:]
