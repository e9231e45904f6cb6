"""Subgroups are columns of the labels that the user names, and never what tells patients apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from hundredfold.data.subgroups import MOST_VALUES, NOT_STATED, read_subgroups
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError, TableError

IMAGES = ImageTable.of({"id": ["a.png", "b.dcm#0", "b.dcm#1", "c.png"]})
TABLE = "image,label,name,Sex,age band\na.png,x,Ada, f ,\nb.dcm,y,Ben,m,60+\nother.png,y,Cid,m,60+\n"


def write(tmp_path: Path, text: str = TABLE) -> Path:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    return tmp_path / "labels.csv"


def test_the_named_columns_are_read_in_the_order_of_the_images(tmp_path: Path) -> None:
    found = read_subgroups(write(tmp_path), IMAGES, ["sex", "Age band"])
    assert list(found) == ["sex", "age band"]  # and no name
    assert found["sex"].tolist() == ["f", "m", "m", NOT_STATED]
    assert found["age band"].tolist() == [NOT_STATED, "60+", "60+", NOT_STATED]


def test_without_names_there_are_none(tmp_path: Path) -> None:
    assert read_subgroups(write(tmp_path), IMAGES, []).shape == (4, 0)


@pytest.mark.parametrize("name", ["group", "label", "image", "split", "site"])
def test_columns_with_a_meaning_are_no_subgroups(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"found '{name}'"):
        read_subgroups(write(tmp_path), IMAGES, [name])


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="expected the column gender"):
        read_subgroups(write(tmp_path), IMAGES, ["gender"])


def test_a_column_that_tells_patients_apart_is_refused(tmp_path: Path) -> None:
    many = ImageTable.of({"id": [f"{n}.png" for n in range(MOST_VALUES + 1)]})
    rows = "".join(f"{n}.png,x,patient {n}\n" for n in range(MOST_VALUES + 1))
    path = write(tmp_path, f"image,label,name\n{rows}")
    with pytest.raises(TableError, match="21 values"):
        read_subgroups(path, many, ["name"])
    assert read_subgroups(path, many.select(many.ids != "0.png"), ["name"]).shape == (MOST_VALUES, 1)


def test_an_image_with_two_values_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE + "a.png,x,Ada,m,\n")
    with pytest.raises(TableError, match=r"'a.png' is 'f' \(row 2\) and 'm' \(row 5\)"):
        read_subgroups(path, IMAGES, ["sex"])
