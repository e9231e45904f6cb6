"""What fuzzing found (``benchmarks/fuzz.py``), each mended: an answer, and soon."""

from __future__ import annotations

import struct
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from pydicom.data import get_testdata_file

from hundredfold.data.decode import decode, quiet_decoders
from hundredfold.data.rows import read_rows
from hundredfold.errors import ImageError, TableError


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


@pytest.mark.parametrize("note", [
    b'{"index_columns": [{"knd": "range"}], "columns": []}',
    b'{"index_columns": [], "columns": [{"name": "image", "field_name": "image", "pandas_type": "int"}]}',
    b"{",
])
def test_what_pandas_noted_in_a_parquet_file_is_not_believed(tmp_path: Path, note: bytes) -> None:
    """Its reader raised a bare ``KeyError`` where the note is damaged."""
    table = pa.table({"image": ["a.png"], "label": ["cat"]}).replace_schema_metadata({b"pandas": note})
    parquet.write_table(table, tmp_path / "labels.parquet")
    rows = read_rows(tmp_path / "labels.parquet", required=("image", "label"))
    assert rows.to_numpy().tolist() == [["a.png", "cat"]]


def test_a_parquet_file_with_changed_bytes_is_read_or_refused(tmp_path: Path) -> None:
    """Every byte of a real file in turn; an integer of 0 bits is one of the things that come of it."""
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"image": ["a.png", "b.png"], "label": ["cat", "dog"], "group": [1, 2]}).to_parquet(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(4, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read_rows(path, required=("image", "label"))
        except TableError as error:
            refused += bool(error.found)
    assert refused > 10


def test_a_column_that_was_an_index_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png"], "label": ["cat"]})
    frame.set_index("image").to_parquet(tmp_path / "labels.parquet")
    assert read_rows(tmp_path / "labels.parquet", required=("image", "label")).equals(frame.astype("str"))


@pytest.mark.parametrize("content", [b'""', b'""\n""\n', b"x" * 200_000 + b",y\n1,2\n", b'"', b","])
def test_a_table_without_a_header_that_can_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    """pandas counts an empty name in quotes as a column, and Python's csv module the line as none."""
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(TableError):
        read_rows(tmp_path / "labels.csv", required=("image", "label"))
