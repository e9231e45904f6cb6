"""ImageTable keeps what it is given, and says who may be used for what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hundredfold.data.rows import read_rows, write_rows
from hundredfold.data.table import COLUMNS, ImageTable
from hundredfold.errors import InputError, TableError

WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@pytest.fixture
def table() -> ImageTable:
    """One image of each standing."""
    return ImageTable.of({
        "id": ["labelled", "unlabelled", "test", "free", "audit", "bad"],
        "label": ["x", None, "y", None, "x", "x"],
        "split": ["train", "train", "test", "test", "audit", "train"],
        "problem": [None, None, None, None, None, "empty"],
        "note": [None, "constant", None, None, None, "the file has no bytes"],
    })


def test_what_is_not_given_is_missing() -> None:
    frame = ImageTable.of({"id": ["a"]}).frame
    assert list(frame) == list(COLUMNS)
    assert frame.drop(columns="id").isna().all(axis=None)


def test_views_by_split(table: ImageTable) -> None:
    assert list(table.usable.ids) == ["labelled", "unlabelled", "test", "free", "audit"]
    assert list(table.pool.ids) == ["labelled", "unlabelled"]
    assert list(table.train.ids) == ["labelled"]
    assert list(table.test.ids) == ["test"]
    assert table.judging == "test"
    assert table.classes == ["x", "y"]


def test_the_audit_set_judges_where_no_test_image_has_a_label(table: ImageTable) -> None:
    without = table.assign(label=table.frame["label"].mask(table.frame["id"] == "test"))
    assert without.judging == "audit"
    assert list(without.test.ids) == ["audit"]
    unlabelled = table.assign(label=None)
    assert unlabelled.judging == "test"
    assert len(unlabelled.test) == 0


def test_rejects_carry_reason_and_sentence(table: ImageTable) -> None:
    assert table.rejects.to_dict("records") == [
        {"image": "bad", "reason": "empty", "sentence": "the file has no bytes"}
    ]


def test_rejects_of_a_clean_table_keep_their_header() -> None:
    assert list(ImageTable.of({"id": ["a"]}).rejects) == ["image", "reason", "sentence"]


def test_an_id_stands_once() -> None:
    with pytest.raises(TableError, match=r"stands twice in the table \(a\)"):
        ImageTable.of({"id": ["a", "b", "a"]})


def test_a_frame_with_a_column_missing_is_refused() -> None:
    with pytest.raises(TableError, match="found no sha256"):
        ImageTable(ImageTable.of({"id": ["a"]}).frame.drop(columns="sha256"))


def test_by_id_names_an_unknown_image(table: ImageTable) -> None:
    with pytest.raises(TableError, match=r"1 of 2 images are not in the table \(nobody\)"):
        table.by_id(["test", "nobody"])


def test_assign_leaves_the_table_as_it_was(table: ImageTable) -> None:
    assert table.assign(label=None).classes == []
    assert table.classes == ["x", "y"]


def test_reading_something_else_is_refused(tmp_path: Path) -> None:
    for name, content in {"text": b"image,label\n", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match="cannot read the image table"):
            ImageTable.read(tmp_path / name)
    with pytest.raises(TableError, match="cannot read the image table"):
        ImageTable.read(tmp_path / "absent")
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "other")
    with pytest.raises(TableError, match="no column path"):
        ImageTable.read(tmp_path / "other")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(WORDS, unique=True, max_size=5), seed=st.integers(0, 99))
def test_a_table_survives_the_disk(ids: list[str], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    width = pd.array(rng.integers(1, 9, len(ids)), dtype="Int32")
    table = ImageTable.of({"id": ids, "label": rng.choice(["a", "NA"], len(ids)), "width": width})
    table.write(tmp_path / "images.parquet")
    pd.testing.assert_frame_equal(ImageTable.read(tmp_path / "images.parquet").frame, table.frame)
    mixed = rng.permutation(table.ids)
    assert list(table.by_id(mixed).ids) == list(mixed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(WORDS, min_size=1, max_size=5))
def test_any_path_survives_a_csv(names: list[str], tmp_path: Path) -> None:
    """Case 30: spaces, unicode, commas, quotes and all kinds of line ends."""
    write_rows(tmp_path / "t.csv", pd.DataFrame({"image": names, "label": [None] * len(names)}, dtype="str"))
    rows = read_rows(tmp_path / "t.csv", required=("image", "label"))
    assert rows["image"].tolist() == names
    assert rows["label"].isna().all()


def test_an_empty_csv_keeps_its_header(tmp_path: Path) -> None:
    write_rows(tmp_path / "rejects.csv", ImageTable.of({"id": []}).rejects)
    assert (tmp_path / "rejects.csv").read_text() == "image,reason,sentence\n"


@pytest.mark.parametrize(("content", "complaint"), [
    (b"", "found nothing"),
    (b"image,label\n", "expected rows below the header"),
    (b"image,label\na,b,c\n", "a row has more cells than the header"),
    (b'image,label\n"a,b\n', "EOF inside string"),
    (b"image,label,Label\na,1,2\n", "'label' stands twice"),
    ("image;label\na;Ödem\n".encode("cp1252"), "expected UTF-8 text, found the byte 0xd6 at 14"),
    (b"PK\x03\x04\0\0", "found binary data"),
])
def test_a_table_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=complaint):
        read_rows(path, required=("image", "label"))


def test_a_wrong_path_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    with pytest.raises(InputError, match=r"Did you mean '.*labels\.csv'"):
        read_rows(tmp_path / "lables.csv", required=("image",))
    with pytest.raises(InputError, match="similar name; check the path"):
        read_rows(tmp_path / "0" / "1" / "2", required=("image",))
    with pytest.raises(TableError, match="found a folder"):
        read_rows(tmp_path, required=("image",))
