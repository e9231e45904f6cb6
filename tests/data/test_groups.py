"""Groups from paths: what the brackets hold, and nothing silently."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hundredfold.data.groups import groups_by_pattern
from hundredfold.data.smear import draw_smear
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError
from hundredfold.workflows.scan import scan


def table(*names: str, group: list[str | None] | None = None) -> ImageTable:
    return ImageTable.of({"id": list(names), "group": group})


def test_brackets_or_the_whole_match_name_the_group() -> None:
    images = table("p7/left.png", "p7/right.png", "p12/left.png")
    assert groups_by_pattern(images, r"^(\w+)/").frame["group"].tolist() == ["p7", "p7", "p12"]
    assert groups_by_pattern(images, r"p\d+").frame["group"].tolist() == ["p7", "p7", "p12"]
    assert groups_by_pattern(images, r"p(?:7|12)/(\w+)").frame["group"].tolist() == ["left", "right", "left"]


def test_what_does_not_match_keeps_its_group() -> None:
    images = table("p7/a.png", "b.png", "c.png", group=["old", "old", None])
    found = groups_by_pattern(images, r"(p\d+)").frame["group"]
    assert found.iloc[:2].tolist() == ["p7", "old"]
    assert found.isna().tolist() == [False, False, True]


def test_the_number_of_a_frame_is_no_patient() -> None:
    images = ImageTable.of({
        "id": ["p7/IM12#0", "p7/IM12#1", "p8/IM13", "p8/plate#5"], "path": ["12", "12", "13", "p8/plate#5"],
    })
    found = groups_by_pattern(images, r"(\d+)$").frame["group"]
    assert found.tolist() == ["12", "12", "13", "5"]


@pytest.mark.parametrize(("pattern", "told"), [
    ("(", "regular expression"), (r"(p)(\d)", "one pair of brackets"), ("patient", "in none of the 1 paths"),
])
def test_a_pattern_that_names_nobody_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        groups_by_pattern(table("p7/a.png"), pattern)


def test_a_scan_splits_by_the_pattern_and_labels_have_the_last_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = draw_smear(tmp_path / "smear", images=60, size=24, seed=0)
    labels = pd.read_csv(drawn / "labels.csv")
    labels[["image", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    tens = r"cell_(\d{4})\d"  # ten images each
    run = scan(drawn / "images", labels=tmp_path / "labels.csv", out=tmp_path / "run", group_pattern=tens)
    frame = ImageTable.read(run / "images.parquet").frame
    assert frame["group"].tolist() == [name[5:9] for name in frame["id"]]
    assert frame.groupby("group")["split"].nunique().max() == 1
    assert "Groups: 6 (patients or slides)" in capsys.readouterr().err
    own = scan(drawn / "images", labels=drawn / "labels.csv", out=tmp_path / "own", group_pattern=tens)
    given = labels.set_index("image")["group"].astype(str)
    kept = ImageTable.read(own / "images.parquet").frame.set_index("id")["group"]
    assert kept.to_dict() == given.to_dict()


def test_a_wrong_pattern_is_found_before_anything_is_written(tmp_path: Path) -> None:
    drawn = draw_smear(tmp_path / "smear", images=8, size=24, seed=0)
    with pytest.raises(SettingsError, match="none of the 8 paths"):
        scan(drawn / "images", labels=drawn / "labels.csv", out=tmp_path / "run", group_pattern="patient")
    assert not (tmp_path / "run").exists()
