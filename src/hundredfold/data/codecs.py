"""imagecodecs as a decoder for pydicom: JPEG lossless and 12-bit, JPEG-LS, JPEG 2000, HTJ2K.

pydicom decodes by plug-ins. This one needs no package beyond those that TIFF needs anyway, and
refuses a frame that ends early where the decoders underneath would fill it up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

__all__ = ["DECODER_DEPENDENCIES", "check_boxes", "decode_frame", "is_available", "register"]

LABEL = "hundredfold"
END = b"\xff\xd9"
JP2 = b"\0\0\0\x0cjP  "

_CODECS: dict[uid.UID, Callable[[bytes], Any]] = {
    uid.JPEGExtended12Bit: imagecodecs.jpeg_decode,
    uid.JPEGLossless: imagecodecs.ljpeg_decode,
    uid.JPEGLosslessSV1: imagecodecs.ljpeg_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLossless: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLosslessRPCL: imagecodecs.jpeg2k_decode,
    uid.HTJ2K: imagecodecs.jpeg2k_decode,
}

#: what pydicom names where the plug-in is not available.
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, ("imagecodecs",))


def is_available(transfer_syntax: str) -> bool:
    """Whether frames of ``transfer_syntax`` can be decoded; pydicom asks this of a plug-in."""
    return transfer_syntax in _CODECS


def register() -> None:
    """Add the plug-in to pydicom's decoders, once."""
    for transfer_syntax in _CODECS:
        decoder = get_decoder(transfer_syntax)
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))


def check_boxes(frame: bytes) -> None:
    """Refuse a JP2 file in which a box before the picture has no length: pydicom would look at it for ever.

    Raises:
        ValueError: it is so.
    """
    place = 12
    while frame.startswith(JP2) and place < len(frame) and frame[place + 4 : place + 8] != b"jp2c":
        length = int.from_bytes(frame[place : place + 4], "big")
        if length < 8:
            raise ValueError("a box of the JP2 file has no length")
        place += length


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame to little-endian samples, colour by pixel, and tell ``runner`` what they are.

    Raises:
        ValueError: the frame has no end marker.
    """
    if END not in source[-16:]:  # a frame may be padded to an even length
        raise ValueError("the frame ends before its last marker")
    pixels = np.asarray(_CODECS[runner.transfer_syntax](source))
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    runner.set_option("planar_configuration", 0)
    if runner.photometric_interpretation in (
        PhotometricInterpretation.YBR_ICT, PhotometricInterpretation.YBR_RCT
    ):
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
    return bytearray(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
