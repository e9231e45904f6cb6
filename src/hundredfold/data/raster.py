"""JPEG, PNG, BMP and GIF → pixels, whole or not at all.

JPEG is decoded by libjpeg-turbo through simplejpeg, which refuses what libjpeg only warns of: OpenCV fills
the part that is missing with grey, and so does Pillow where the file has its end but not its middle. The
others are Pillow's. Its plug-ins are called directly, because :func:`PIL.Image.open` has limits of its own
and only warns at the first of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
import simplejpeg
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Exif, Image
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
SCAN, COMMENT, EXIF = 0xDA, 0xFE, 0xE1
APPLICATION = range(0xE1, 0xEE)  # APP14 stays: it says how the colours are coded
#: What libjpeg warns of though every pixel is there.
HARMLESS = ("JFIF revision", "Adobe color transform", "SOS parameters", "thumbnail image size")


def open_jpeg(data: bytes) -> Opened:
    """Open a JPEG; it is decoded at 1/2, 1/4 or 1/8 where the target is that much smaller.

    CMYK becomes RGB without a colour profile. Of a file with several pictures (MPO) the main one is
    read: the others are previews or other views of it.

    Raises:
        ImageError: ``truncated`` where the end is missing.
    """
    if JPEG_END not in data:
        raise ImageError("truncated", "the JPEG ends before its last marker")
    segments = [*_jpeg_segments(data)]
    if not segments[-1][1]:
        raise ImageError("truncated", "the JPEG ends before its picture")
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    turn = _jpeg_turn(segments)

    def read(target: Target | None) -> Raw:
        least = (width, height) if target is None else _turned(target(*_turned((width, height), turn)), turn)
        pixels = _jpeg_pixels(data, colours, min(width // least[0], height // least[1]))
        return Raw(upright(pixels, turn), identity=_jpeg_identity(segments, turn))

    return Opened(*_turned((width, height), turn), read)


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
    depth = data[24]

    def read(_target: Target | None) -> Raw:
        if depth < 16:
            return Raw(upright(_pixels(image), turn))
        image.load()  # Pillow finds what is missing or damaged, but keeps 8 bits of a colour
        return Raw(upright(_deep_png(data), turn), deep=True)

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


def _deep_png(data: bytes) -> Pixels:
    pixels: Pixels = imagecodecs.png_decode(data)  # with alpha also where one colour is called transparent
    if pixels.ndim == 2 or pixels.shape[-1] == 3:
        return pixels
    return over_white(pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3], pixels[..., -1])


def _jpeg_pixels(data: bytes, colours: str, times: int) -> Pixels:
    """The pixels of a JPEG that may be decoded ``times`` smaller: it can be by 2, 4 or 8."""
    scale = next(scale for scale in (8, 4, 2, 1) if scale <= max(1, times))
    if colours in ("CMYK", "YCCK"):
        _strictly(data, "CMYK", 8)
        image = JpegImageFile(io.BytesIO(data))  # which knows whose ink is counted from white
        image.draft(None, (image.width // scale, image.height // scale))
        return _pixels(image)
    pixels = _strictly(data, "GRAY" if colours == "Gray" else "RGB", scale)
    return pixels[..., 0] if colours == "Gray" else pixels


def _strictly(data: bytes, colours: str, scale: int) -> Pixels:
    """The pixels [h,w,c] of a JPEG of which nothing is missing, at 1/``scale``."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    size = {"min_height": -(-height // scale), "min_width": -(-width // scale)}
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, colours, **size)
    except ValueError as error:
        if not _harmless(str(error), data):
            raise
        pixels = simplejpeg.decode_jpeg(data, colours, **size, strict=False)
    return pixels


def _harmless(warning: str, data: bytes) -> bool:
    """Whether the pixels are right in spite of what libjpeg warns of.

    Bytes that are left over before the end are mostly the trace of damage further up; some cameras pad
    there, with one and the same byte.
    """
    if padding := re.search(r"(\d+) extraneous bytes before marker 0xd9", warning):
        end = data.rfind(JPEG_END)
        return len({*data[end - int(padding[1]) : end]}) == 1
    return any(words in warning for words in HARMLESS)


def _jpeg_turn(segments: list[tuple[int, bytes]]) -> int:
    """The orientation, 1 where the metadata do not tell of it."""
    for marker, segment in segments:
        if marker == EXIF and segment[4:10] == b"Exif\0\0":
            tags = Exif()
            try:
                tags.load(segment[4:])
                return int(tags.get(ORIENTATION, 1))
            except Exception:  # noqa: BLE001 - damaged EXIF raises of every kind, and says nothing of the pixels
                return 1
    return 1


def _jpeg_identity(segments: list[tuple[int, bytes]], turn: int) -> bytes:
    """The bytes of a JPEG less its metadata: the same pixels, whatever the scale of decoding."""
    kept = (segment for marker, segment in segments if marker not in APPLICATION and marker != COMMENT)
    return b"".join((b"jpeg", bytes([turn]), *kept))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, bytes) of each segment, and last of the picture, to which all that follows belongs."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == SCAN:
            break
        yield marker, data[position:end]
        position = end
    yield SCAN, data[position:]
