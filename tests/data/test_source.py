"""What counts as an image of a folder or a table, and what never does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from pydicom.data import get_testdata_file

from hundredfold.data.pixels import fill
from hundredfold.data.rows import write_rows
from hundredfold.data.source import find, find_images
from hundredfold.errors import InputError, TableError

AWKWARD = (
    "a b.png", "größe/ü.png", "line\nend.png", 'comma,quote".png', "hash#1.png", "日本.png", "r\r.png"
)


def draw(path: Path, value: int = 0) -> Path:
    """A real, small PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (16, 16, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def several_frames() -> tuple[str, int]:
    """A real DICOM file with several frames, and how many."""
    return str(get_testdata_file("examples_ybr_color.dcm", download=False)), 30


def test_awkward_names_are_found_and_decoded(tmp_path: Path) -> None:
    """Case 30."""
    for number, name in enumerate(AWKWARD):
        draw(tmp_path / "in" / name, number)
    table = find_images(tmp_path / "in")
    assert list(table.ids) == sorted(AWKWARD)
    filled, store = fill(table, tmp_path / "pixels", size=16, fit="pad")
    assert list(store.ids) == sorted(AWKWARD)
    assert filled.frame["sha256"].nunique() == len(AWKWARD)


def test_a_table_of_awkward_names_gives_the_same_images(tmp_path: Path) -> None:
    """Case 30."""
    for number, name in enumerate(AWKWARD):
        draw(tmp_path / name, number)
    folder = find_images(tmp_path)
    write_rows(tmp_path / "list.csv", pd.DataFrame({"image": folder.ids}))
    folder.frame[["id"]].rename(columns={"id": "image"}).to_parquet(tmp_path / "list.parquet")
    for name in ("list.csv", "list.parquet"):
        pd.testing.assert_frame_equal(find_images(tmp_path / name).frame, folder.frame)


def test_a_name_that_is_not_utf8_is_rejected_not_lost(tmp_path: Path) -> None:
    draw(tmp_path / "good.png")
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        Path(os.fsdecode(raw)).write_bytes((tmp_path / "good.png").read_bytes())
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    table = find_images(tmp_path)
    assert table.rejects["image"].tolist() == ["caf\\xe9.png"]
    assert table.rejects["reason"].tolist() == ["bad_name"]
    table.write(tmp_path / "images.parquet")


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    """Case 31."""
    draw(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "in" / "sub" / "up").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    found = find(tmp_path / "in")
    assert list(found.table.ids) == ["sub/a.png"]
    assert found.ignored["links that leave the folder"] + found.ignored["links to folders or to nothing"] == 2


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    """Case 31."""
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in-beside" / "secret.png")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "in-beside", target_is_directory=True)
    (tmp_path / "in" / "file.png").symlink_to(tmp_path / "in-beside" / "secret.png")
    (tmp_path / "in" / "nothing.png").symlink_to(tmp_path / "absent.png")
    found = find(tmp_path / "in")
    assert list(found.table.ids) == ["a.png"]
    assert found.ignored == {"links that leave the folder": 3}


def test_a_link_to_an_image_of_the_folder_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "classes").mkdir()
    draw(tmp_path / "a.png")
    (tmp_path / "classes" / "link.png").symlink_to(tmp_path / "a.png")
    assert list(find_images(tmp_path).ids) == ["a.png", "classes/link.png"]


def test_a_folder_reached_by_a_link_is_the_same_folder(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    pd.testing.assert_frame_equal(find_images(tmp_path / "link").frame, find_images(tmp_path / "in").frame)


def test_equal_names_in_two_folders_are_two_images(tmp_path: Path) -> None:
    """Case 32."""
    draw(tmp_path / "b" / "1.png")
    draw(tmp_path / "a" / "1.png")
    assert list(find_images(tmp_path).ids) == ["a/1.png", "b/1.png"]


def test_helpers_are_passed_over_and_counted(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "no_suffix")
    draw(tmp_path / "run" / "figures" / "curve.png")
    draw(tmp_path / "__MACOSX" / "a.png")
    draw(tmp_path / ".hidden" / "a.png")
    for name in ("labels.csv", "README.md", "LICENSE", "Thumbs.db", ".DS_Store", "run/run.json"):
        (tmp_path / name).write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    found = find(tmp_path)
    assert list(found.table.ids) == ["a.png", "no_suffix"]
    assert found.ignored == {
        "other files": 5, "hidden files": 2, "run directories": 1, "devices and pipes": 1
    }


def test_what_only_looks_like_an_image_is_for_the_decoder_to_reject(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "unknown.xyz").write_text("?")
    assert list(find_images(tmp_path).ids) == ["page.jpg", "unknown.xyz"]


def test_each_frame_of_a_dicom_is_an_image_and_the_file_their_group(tmp_path: Path) -> None:
    path, count = several_frames()
    shutil.copy(path, tmp_path / "clip")
    shutil.copy(str(get_testdata_file("CT_small.dcm", download=False)), tmp_path / "one.dcm")
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\2\0")
    frame = find_images(tmp_path).frame
    assert set(frame["id"]) == {f"clip#{number}" for number in range(count)} | {"one.dcm", "cut.dcm"}
    assert frame["id"].is_monotonic_increasing
    assert frame.loc[frame["group"].notna(), "group"].tolist() == ["clip"] * count
    assert set(frame["path"].map(lambda name: Path(name).name)) == {"clip", "one.dcm", "cut.dcm"}


def test_a_table_with_labels_brings_them(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png"):
        draw(tmp_path / name)
    rows = "image,label,group,split\nsub/../a.png,cat,1,train\nsub/b.png,dog,2,test\n./a.png,cat,1,train\n"
    (tmp_path / "list.csv").write_text(rows)
    frame = find_images(tmp_path / "list.csv").frame
    assert frame[["id", "label", "group", "split"]].values.tolist() == [
        ["a.png", "cat", "1", "train"], ["sub/b.png", "dog", "2", "test"]
    ]


def test_an_image_that_the_table_lists_but_is_not_there_is_rejected(tmp_path: Path) -> None:
    """Case 34."""
    draw(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.csv").write_text("image,label\na.png,cat\ngone.png,cat\nfolder,dog\n")
    rejects = find_images(tmp_path / "list.csv").rejects
    assert rejects["image"].tolist() == ["folder", "gone.png"]
    assert rejects["reason"].tolist() == ["no_file", "no_file"]


def test_a_table_may_list_images_elsewhere(tmp_path: Path) -> None:
    outside = draw(tmp_path / "pool" / "a.png")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "list.csv").write_text(f"image\n../pool/a.png\n{outside}\n")
    table = find_images(tmp_path / "project" / "list.csv")
    assert list(table.ids) == [outside.as_posix()]


def test_a_wrong_path_names_its_neighbours(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match=r"found nothing there \(.*imagse\)\. Did you mean '.*images'"):
        find_images(tmp_path / "imagse")


def test_a_folder_without_images_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="found none but 1 other files"):
        find_images(tmp_path)


def test_a_table_without_the_column_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\na.png\n")
    with pytest.raises(TableError, match="expected the column image; found 'file'"):
        find_images(tmp_path / "list.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(InputError, match="cannot read a folder"):
        find_images(tmp_path)


def test_a_table_may_say_where_each_image_lies(tmp_path: Path) -> None:
    outside = draw(tmp_path / "pool" / "a.png")
    draw(tmp_path / "project" / "b.png", 1)
    (tmp_path / "project" / "list.csv").write_text(f"image,path,label\nfirst,{outside},cat\nb.png,,dog\n")
    frame = find_images(tmp_path / "project" / "list.csv").frame
    assert frame[["id", "label"]].to_numpy().tolist() == [["b.png", "dog"], ["first", "cat"]]
    assert frame["path"].tolist() == [str(tmp_path / "project" / "b.png"), str(outside)]
    assert frame["problem"].isna().all()


def test_one_image_with_two_paths_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image,path\na,x.png\na,y.png\n")
    with pytest.raises(TableError, match=r"one image has two paths \(.*'a'\)"):
        find_images(tmp_path / "list.csv")
