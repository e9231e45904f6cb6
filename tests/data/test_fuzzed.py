"""What fuzzing found (``benchmarks/fuzz.py``), each mended: an answer, and soon."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from hundredfold.data.decode import decode, quiet_decoders
from hundredfold.errors import ImageError


def test_a_jp2_box_without_a_length_is_not_looked_at_for_ever() -> None:
    """pydicom 3.0.2 goes from box to box by their lengths, and stays where one is 0."""
    data = Path(str(get_testdata_file("MR_small_jp2klossless.dcm", download=False))).read_bytes()
    start = data.index(b"\xff\x4f\xff\x51")  # of the code stream, in its item
    header = struct.pack(">I4sI", 12, b"jP  ", 0x0D0A870A) + struct.pack(">I4s", 0, b"jp2h") + bytes(12)
    length = struct.unpack_from("<I", data, start - 4)[0]
    boxed = data[: start - 4] + struct.pack("<I", length + len(header)) + header + data[start:]
    with quiet_decoders(), pytest.raises(ImageError) as caught:
        decode(boxed, "boxed.dcm")
    assert caught.value.reason == "corrupt"
