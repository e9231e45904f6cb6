"""Labels are read however the table was saved, and contradictions are never learned from."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from hundredfold.data.duplicates import CONTRADICTION
from hundredfold.data.groups import groups_by_pattern
from hundredfold.data.labels import LabelSet
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, LabelConflictError, TableError

PLAIN = 'image,label,group\na.png,cat,1\n"b\n.png",dog,2\nsub/ü c.png,"cat, big",\n'
IMAGES = ImageTable.of({"id": ["a.png", "b\n.png", "sub/ü c.png", "z.png"]})


def read(tmp_path: Path, content: bytes | str, images: ImageTable = IMAGES) -> LabelSet:
    """The labels in a CSV of these bytes."""
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return LabelSet.read(path, images)


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf" + PLAIN.encode(),
    PLAIN.encode("utf-16"),
    PLAIN.replace("b\n.png", "b\0.png").replace("\n", "\r\n").replace("\0", "\n").encode(),
    PLAIN.replace(",", ";").replace("cat; big", "cat, big").encode(),
    PLAIN.replace(",", "\t").replace("cat\t big", "cat, big").encode(),
    PLAIN.replace("image,label,group", " Image , LABEL,Group").encode(),
    PLAIN.replace("cat", " cat ").replace(" cat , big", "cat, big").encode(),
    ("\n\n" + PLAIN + "\n").encode(),
    PLAIN.replace("image,label,group", "image,label,group,remark").replace(",1\n", ",1,fine\n").encode(),
], ids=["bom", "utf16", "crlf", "semicolon", "tab", "case", "spaces", "blank lines", "more columns"])
def test_one_table_in_many_dresses(tmp_path: Path, content: bytes) -> None:
    """Case 33."""
    expected = read(tmp_path, PLAIN)
    pd.testing.assert_frame_equal(read(tmp_path, content).frame, expected.frame)
    assert expected.frame["label"].tolist() == ["cat", "dog", "cat, big"]
    assert expected.frame["group"].fillna("?").tolist() == ["1", "2", "?"]


def test_parquet_with_numbers_is_the_same_as_csv(tmp_path: Path) -> None:
    numbers = pd.DataFrame({"image": ["a.png", "z.png"], "label": [3.0, None], "group": [1, 2]})
    numbers.to_parquet(tmp_path / "labels.parquet")
    labels = LabelSet.read(tmp_path / "labels.parquet", IMAGES)
    expected = read(tmp_path, "image,label,group\na.png,3,1\nz.png,,2\n")
    pd.testing.assert_frame_equal(labels.frame, expected.frame)


def test_words_for_missing_stay_words(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["NA", "null"]})
    assert read(tmp_path, "image,label\nNA,None\nnull,nan\n", images).classes == ["None", "nan"]


def test_rows_without_an_image_are_listed(tmp_path: Path) -> None:
    """Case 34."""
    labels = read(tmp_path, "image,label\ngone.png,cat\na.png,cat\ngone.png,dog\n")
    assert labels.unmatched == ("gone.png",)
    assert labels.frame["image"].tolist() == ["a.png"]


def test_no_row_that_names_an_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"names 'images/a.png', the first image is 'a.png'.*relative to"):
        read(tmp_path, "image,label\nimages/a.png,cat\n")


def test_two_labels_for_an_image_are_a_conflict(tmp_path: Path) -> None:
    """Case 34."""
    with pytest.raises(LabelConflictError, match=r"1 image has more than one label: 'a.png' is 'cat' "
                       r"\(row 2\) and 'dog' \(row 4\)"):
        read(tmp_path, "image,label\na.png,cat\nz.png,cat\na.png,dog\n")


def test_two_groups_for_an_image_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="more than one group"):
        read(tmp_path, "image,label,group\na.png,cat,1\na.png,cat,2\n")


def test_a_row_repeated_or_completed_is_no_conflict(tmp_path: Path) -> None:
    labels = read(tmp_path, "image,label,group\na.png,cat,\na.png,,7\na.png,cat,7\n")
    assert labels.frame.loc[0, ["label", "group"]].tolist() == ["cat", "7"]


def test_a_missing_column_lists_what_was_found_and_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"expected the column label; found 'image', 'labels' .*"
                       r"image,label\[,group\]\[,site\]\[,split\]\. Perhaps rename 'labels' to 'label'"):
        read(tmp_path, "image,labels\na.png,cat\n")


def test_a_row_without_a_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the first is row 3"):
        read(tmp_path, "image,label\na.png,cat\n,dog\n")


def test_an_unknown_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"found 'val' in row 3"):
        read(tmp_path, "image,label,split\na.png,cat,Train\nz.png,dog,val\n")


def test_a_label_outside_the_class_list_is_an_error(tmp_path: Path) -> None:
    """Case 35."""
    path = tmp_path / "labels.csv"
    path.write_text("image,label\na.png,catt\nz.png,dog\n")
    with pytest.raises(TableError, match=r"'catt'.*Did you mean 'cat'\? Known: cat, dog"):
        LabelSet.read(path, IMAGES, classes=["dog", "cat"])
    assert len(LabelSet.read(path, IMAGES, classes=["dog", "catt", "cow"])) == 2


def test_names_from_another_system_are_matched(tmp_path: Path) -> None:
    images = ImageTable.of({"id": [unicodedata.normalize("NFD", "größe/ä.png"), "b.png"]})
    labels = read(tmp_path, "image,label\ngröße\\ä.png,cat\n./b.png,dog\n", images)
    assert sorted(labels.frame["image"]) == sorted(images.ids)


def test_a_word_is_one_however_its_accents_are_written(tmp_path: Path) -> None:
    """They look the same: two classes, and a patient on both sides of the split."""
    rows = [f"{name},{unicodedata.normalize(form, 'Größe,Müller,Zürich')}"
            for name, form in (("a.png", "NFC"), ("z.png", "NFD"))]
    frame = read(tmp_path, "\n".join(["image,label,group,site", *rows])).frame
    assert frame[["label", "group", "site"]].nunique().tolist() == [1, 1, 1]
    paths = [unicodedata.normalize(form, f"{form}/Müller/1.png") for form in ("NFC", "NFD")]
    for pattern in ("/(.*)/", "/(Müller)/"):
        frame = groups_by_pattern(ImageTable.of({"id": paths}), pattern).frame
        assert frame["group"].tolist() == ["Müller"] * 2


def test_a_file_of_frames_is_matched_however_its_path_is_written(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["s/a.dcm#0", "s/a.dcm#1", "b.png"]})
    labels = read(tmp_path, "image,label\ns\\a.dcm,cat\nb.png,dog\n", images)
    assert labels.apply(images).frame["label"].tolist() == ["cat", "cat", "dog"]
    assert labels.unmatched == ()


def test_an_image_whose_name_ends_as_a_frame_does_is_none_of_another(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["plate", "plate#3"]})
    labels = read(tmp_path, "image,label\nplate,cat\n", images)
    assert labels.apply(images).frame["label"].fillna("").tolist() == ["cat", ""]


def test_a_guess_that_is_not_unique_is_not_made(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["a/b.png", "a\\b.png", "c.png"]})
    labels = read(tmp_path, "image,label\na/b.png,cat\na\\b.png,dog\n./a/b.png,cow\nc.png,cat\n", images)
    assert labels.unmatched == ("./a/b.png",)
    assert labels.frame.set_index("image")["label"].to_dict() == {
        "a/b.png": "cat", "a\\b.png": "dog", "c.png": "cat"
    }


def test_a_label_of_a_file_is_that_of_its_frames(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["a.dcm#0", "a.dcm#1", "b#1"], "path": ["a.dcm", "a.dcm", "b#1"]})
    labels = read(tmp_path, "image,label\na.dcm,cat\nb#1,dog\n", images)
    assert labels.apply(images).frame["label"].tolist() == ["cat", "cat", "dog"]


def test_apply_replaces_labels_and_keeps_what_the_set_does_not_say(tmp_path: Path) -> None:
    before = IMAGES.assign(label="old", group="g", split=["test", "test", None, "train"])
    after = read(tmp_path, "image,label,split\na.png,cat,train\nz.png,dog,\n").apply(before).frame
    assert after["label"].fillna("?").tolist() == ["cat", "?", "?", "dog"]
    assert after["group"].tolist() == ["g"] * 4
    assert after["split"].fillna("?").tolist() == ["train", "test", "?", "train"]


def test_equal_pixels_with_two_labels_lose_them(tmp_path: Path) -> None:
    images = ImageTable.of({"id": ["a", "b", "c", "d"], "sha256": ["1", "1", "2", "2"], "note": "constant"})
    labels = read(tmp_path, "image,label\na,cat\nb,dog\nc,cat\nd,cat\n", images)
    once = labels.apply(images)
    assert once.frame["label"].fillna("?").tolist() == ["?", "?", "cat", "cat"]
    assert once.frame["note"].tolist() == [f"constant; {CONTRADICTION}"] * 2 + ["constant"] * 2
    pd.testing.assert_frame_equal(labels.apply(once).frame, once.frame)


def test_labels_that_look_alike_are_shown(tmp_path: Path) -> None:
    labels = read(tmp_path, "image,label\na.png,NK cell\nz.png,nk_cell\n")
    assert labels.look_alikes == [("NK cell", "nk_cell")]


def test_a_rare_label_that_is_nearly_a_common_one_is_shown() -> None:
    frame = pd.DataFrame({"label": ["ovalocyte"] * 20 + ["ovalocite", "grade 1"] + ["grade 2"] * 20})
    frame["image"] = [f"{number}.png" for number in range(len(frame))]
    assert LabelSet(frame).look_alikes == [("ovalocyte", "ovalocite")]
    assert LabelSet(frame.iloc[15:]).look_alikes == []  # neither is common


def test_a_wrong_path_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing there"):
        LabelSet.read(tmp_path / "labels.csv", IMAGES)
