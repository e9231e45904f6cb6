"""``scan`` on folders as people have them: what it writes, what it says, what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from hundredfold.config import ScanSettings
from hundredfold.data.labels import LabelSet
from hundredfold.data.smear import draw_smear
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.errors import (
    InputError,
    LabelConflictError,
    LeakError,
    RunExistsError,
    SettingsError,
    SplitError,
    TableError,
    TooManyRejectsError,
)
from hundredfold.workflows.scan import scan


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smear that is only read."""
    return draw_smear(tmp_path_factory.mktemp("smear"), images=80, size=24, seed=0)


@pytest.fixture
def smear(drawn: Path, tmp_path: Path) -> Path:
    """A smear that a test may spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "smear"))


def relabel(smear: Path, **columns: object) -> Path:
    """The smear's labels with some columns replaced."""
    path = smear / "labels.csv"
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)
    return path


def test_a_scan_writes_the_table_the_split_the_rejects_and_the_pixels(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scan(drawn / "images", labels=drawn / "labels.csv", out=tmp_path / "run")
    table = ImageTable.read(run / "images.parquet")
    assert len(table) == len(table.train) + len(table.test) == 80
    assert not set(table.train.frame["group"]) & set(table.test.frame["group"])
    splits = pd.read_csv(run / "splits.csv")
    assert list(splits) == ["image", "split", "group"]
    assert splits["split"].tolist() == table.frame["split"].tolist()
    assert (run / "rejects.csv").read_text() == "image,reason,sentence\n"
    store = PixelStore.open(run / "pixels")
    assert list(store.ids) == list(table.ids)
    assert store.size == 24
    assert run.done("scan")
    assert run.state["scan"]["classes"] == table.frame["label"].value_counts().to_dict()
    assert run.state["pixels"] is None
    said = capsys.readouterr().err
    assert "Images: 80 found" in said
    assert "Left out: none" in said
    assert "Labels: 80 images of 6 classes." in said
    assert "Groups: 6 (patients or slides), each on one side" in said
    assert "no two images have the same pixels" in said
    assert f"Split: train {len(table.train)} images" in said
    assert all(line in (run / "log.txt").read_text() for line in said.splitlines() if line[0] == "G")


def test_without_groups_the_scan_warns_that_patients_may_be_on_both_sides(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan(smear / "images", labels=relabel(smear, group=None), out=tmp_path / "run")
    said = capsys.readouterr().err
    assert "Images of one patient may stand on both sides of the split" in said
    assert "add a column 'group'" in said


def test_groups_of_one_image_and_labels_that_say_that_there_is_none_are_asked_about(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(smear / "labels.csv")
    rows["group"] = rows["image"]
    rows.loc[0, "label"] = "nan"
    rows.to_csv(tmp_path / "labels.csv", index=False)
    given = {"labels": tmp_path / "labels.csv", "pixels": tmp_path / "pixels"}
    scan(smear / "images", out=tmp_path / "run", **given)
    said = capsys.readouterr().err
    assert "held out had no side" not in said
    assert "Every group is one image: that is right only if no patient or slide gave two." in said
    assert "Is 'nan' a class? For an image without a label leave the cell empty." in said
    rows.loc[:9, "group"], rows.loc[10:11, "group"] = "NA", ["Smith 1", "smith1"]
    rows.assign(split=[*["test"] * 10, *[None] * 70]).to_csv(tmp_path / "labels.csv", index=False)
    run = scan(smear / "images", out=tmp_path / "next", **given)
    said = capsys.readouterr().err
    assert "Is 'NA' a patient or slide, of 10 images? Where it is not known leave the cell empty." in said
    assert "  1 group is called as another one but for capitals or spaces." in said
    more = (ImageTable.read(run / "images.parquet").frame["split"] == "test").sum() - 10
    assert more > 0
    assert f"  {more} of the images held out had no side in the labels" in said


def test_without_labels_all_images_are_for_training(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scan(drawn / "images", out=tmp_path / "run")
    assert len(ImageTable.read(run / "images.parquet").pool) == 80
    assert "Split: all 80 images are for training." in capsys.readouterr().err


def test_bad_images_are_named_counted_and_left_out(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = smear / "images"
    (images / "cell_00000.jpg").write_bytes(b"")
    (images / "page.jpg").write_text("<html></html>")
    (images / "cell_00001.jpg").write_bytes((images / "cell_00001.jpg").read_bytes()[:-200])
    run = scan(images, labels=smear / "labels.csv", out=tmp_path / "run", max_bad=0.05)
    rejects = pd.read_csv(run / "rejects.csv")
    assert dict(zip(rejects["image"], rejects["reason"], strict=True)) == {
        "cell_00000.jpg": "empty", "cell_00001.jpg": "truncated", "page.jpg": "not_image"
    }
    assert rejects["sentence"].str.len().min() > 10
    assert not set(pd.read_csv(run / "splits.csv")["image"]) & set(rejects["image"])
    said = capsys.readouterr().err
    assert "Left out: 3 of them (3.7 %)" in said
    assert "  empty: 1 (cell_00000.jpg)" in said


def test_too_many_bad_images_stop_the_scan_until_the_user_insists(smear: Path, tmp_path: Path) -> None:
    for number in range(4):
        (smear / "images" / f"cell_{number:05d}.jpg").write_bytes(b"")
    given = {"images": smear / "images", "labels": smear / "labels.csv", "out": tmp_path / "run"}
    with pytest.raises(TooManyRejectsError, match=r"4 of 80 .*\(empty 4\).* --resume --max-bad 0\.05"):
        scan(**given)
    assert len(pd.read_csv(tmp_path / "run" / "rejects.csv")) == 4
    run = scan(**given, resume=True, max_bad=0.05)
    assert len(ImageTable.read(run / "images.parquet").usable) == 76


def test_a_user_who_removes_the_bad_images_can_resume(smear: Path, tmp_path: Path) -> None:
    bad = smear / "images" / "cell_00079.jpg"
    bad.write_bytes(b"")
    given = {"images": smear / "images", "labels": smear / "labels.csv", "out": tmp_path / "run"}
    with pytest.raises(TooManyRejectsError):
        scan(**given)
    bad.unlink()
    run = scan(**given, resume=True)
    assert len(ImageTable.read(run / "images.parquet").usable) == 79


def test_reports_and_plans_beside_the_images_are_no_bad_images(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), smear / "images" / name)
    run = scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "run", max_bad=0)
    assert len(ImageTable.read(run / "images.parquet").usable) == 80
    assert set(pd.read_csv(run / "rejects.csv")["reason"]) == {"no_pixels"}
    assert "no_pixels: 3 (rtplan.dcm, test-SR.dcm, waveform_ecg.dcm); reports" in capsys.readouterr().err
    (smear / "images" / "cell_00079.jpg").write_bytes(b"")
    with pytest.raises(TooManyRejectsError, match=r"1 of 80 images cannot be used \(empty 1\)"):
        scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "next", max_bad=0)


def test_no_usable_image_is_an_error_whatever_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    with pytest.raises(TooManyRejectsError, match=r"none of the 1 images can be used \(empty 1\)"):
        scan(tmp_path / "in", out=tmp_path / "run", max_bad=1)


def test_rows_without_an_image_are_listed(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 34."""
    (smear / "images" / "cell_00003.jpg").unlink()
    run = scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "run")
    assert pd.read_csv(run / "rejects.csv")[["image", "reason"]].values.tolist() == [
        ["cell_00003.jpg", "no_file"]
    ]
    assert "Rows of the labels that name no image: 1 (cell_00003.jpg)" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "error", "complaint"), [
    ({"label": "x"}, SplitError, "expected labels of two classes or more"),
    ({"label": ["x"] * 40 + ["y"] * 40, "group": ["1", "2"] * 20 + ["3"] * 40}, SplitError, "one group"),
    ({"image": ["cell_00000.jpg"] * 80}, LabelConflictError, "more than one label"),
    ({"split": ["train", "test"] * 40, "group": "1"}, LeakError, "both in train and in test"),
    ({"split": "validation"}, TableError, "'validation' in row 2"),
    ({"image": [f"other/{n}.jpg" for n in range(80)]}, TableError, "none of the 80 rows"),
], ids=["one class", "class in one group", "conflict", "leak", "split", "other images"])
def test_a_bad_table_is_refused_before_anything_is_written(
    smear: Path, tmp_path: Path, change: dict[str, object], error: type[InputError], complaint: str
) -> None:
    """Cases 34, 35 and 37."""
    with pytest.raises(error, match=complaint) as caught:
        scan(smear / "images", labels=relabel(smear, **change), out=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_class_of_one_image_is_kept_and_named(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 36."""
    labels = relabel(smear, label=["rare", *["x", "y"] * 39, "x"])
    run = scan(smear / "images", labels=labels, out=tmp_path / "run")
    assert "rare" in ImageTable.read(run / "images.parquet").train.classes
    assert "Not in the test set, for want of images or groups: rare." in capsys.readouterr().err


def test_a_leak_that_the_user_insists_on_is_said(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = relabel(smear, split=["train", "test"] * 40)
    run = scan(smear / "images", labels=labels, out=tmp_path / "run", allow_leak=True)
    assert "Warning: 6 groups are both in train and in test" in capsys.readouterr().err
    assert len(ImageTable.read(run / "images.parquet").test) == 40


def test_copies_stay_on_one_side_and_lose_contradicting_labels(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 32."""
    images, labels = smear / "images", pd.read_csv(smear / "labels.csv").drop(columns="group")
    added = []
    for number in range(30):
        name = f"cell_{number:05d}.jpg"
        shutil.copy(images / name, images / f"copy_{name}")
        label = labels.loc[number, "label"] if number else "another"
        added.append({"image": f"copy_{name}", "label": label})
    pd.concat([labels, pd.DataFrame(added)]).to_csv(smear / "labels.csv", index=False)
    run = scan(images, labels=smear / "labels.csv", out=tmp_path / "run")
    frame = ImageTable.read(run / "images.parquet").frame
    assert frame.groupby("sha256")["split"].nunique().max() == 1
    assert frame.groupby("sha256").size().max() == 2
    torn = frame[frame["label"].isna()]
    assert torn["id"].tolist() == ["cell_00000.jpg", "copy_cell_00000.jpg"]
    said = capsys.readouterr().err
    assert "60 images have exact copies (30 different ones)" in said
    assert "2 of them had more than one label" in said


def test_awkward_paths_survive_the_split_file(smear: Path, tmp_path: Path) -> None:
    """Case 30."""
    names = ["a b.jpg", "größe/ü.jpg", "line\nend.jpg", 'comma,quote".jpg', "NA"]
    (smear / "images" / "größe").mkdir()
    for number, name in enumerate(names):
        (smear / "images" / f"cell_{number:05d}.jpg").rename(smear / "images" / name)
    labels = relabel(smear, image=names + [f"cell_{number:05d}.jpg" for number in range(5, 80)])
    run = scan(smear / "images", labels=labels, out=tmp_path / "run")
    table = ImageTable.read(run / "images.parquet")
    assert len(table.train) + len(table.test) == 80
    # The file of splits is itself a table that gives these splits again.
    again = pd.read_csv(run / "splits.csv", keep_default_na=False)
    assert again["image"].tolist() == list(table.ids)
    merged = pd.read_csv(labels, keep_default_na=False).merge(again[["image", "split"]], on="image")
    merged.to_csv(tmp_path / "given.csv", index=False)
    given = LabelSet.read(tmp_path / "given.csv", table.assign(split=None)).apply(table.assign(split=None))
    assert given.frame["split"].tolist() == table.frame["split"].tolist()


def test_deep_images_are_scaled_by_the_training_side_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        bright = 40_000 if number % 3 == 2 else 1_000
        name = f"{number:02d}.tif"
        tifffile.imwrite(tmp_path / "in" / name, rng.integers(0, bright, (16, 16), np.uint16))
        rows.append((name, "xy"[number % 2], "test" if bright > 1_000 else "train"))
    pd.DataFrame(rows, columns=["image", "label", "split"]).to_csv(tmp_path / "labels.csv", index=False)
    run = scan(tmp_path / "in", labels=tmp_path / "labels.csv", out=tmp_path / "run")
    limits = PixelStore.open(run / "pixels").value_range
    assert limits is not None
    assert limits.high <= 1_000


def test_a_table_of_images_with_labels_needs_no_other(drawn: Path, tmp_path: Path) -> None:
    labels = pd.read_csv(drawn / "labels.csv")
    labels["image"] = [str(drawn / "images" / name) for name in labels["image"]]
    labels.to_parquet(tmp_path / "list.parquet")
    run = scan(tmp_path / "list.parquet", out=tmp_path / "run")
    table = ImageTable.read(run / "images.parquet")
    assert len(table.train) + len(table.test) == 80


def test_such_a_table_keeps_its_labels_beside_an_earlier_split_and_images_it_lacks_are_told_of(
    smear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = pd.read_csv(smear / "labels.csv")
    labels["image"] = "images/" + labels["image"]
    labels.to_csv(smear / "list.csv", index=False)
    before = scan(smear / "list.csv", out=tmp_path / "before", pixels=tmp_path / "pixels")
    labels.iloc[:70].to_csv(smear / "list.csv", index=False)
    given = {"pixels": tmp_path / "pixels", "keep_splits": before.path}
    after = scan(smear / "list.csv", out=tmp_path / "after", **given)
    told, kept = (ImageTable.read(run / "images.parquet").frame.set_index("id") for run in (before, after))
    assert kept["label"].notna().all()
    assert kept.equals(told.loc[kept.index])
    assert "10 of the 80 images of the earlier split are not among these" in capsys.readouterr().err


def test_patients_of_an_earlier_split_have_the_names_that_their_new_images_have(tmp_path: Path) -> None:
    """Their numbers are hashed anew: names of two keys could be compared with nothing."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), folder)
    before = ImageTable.read((first := scan(folder, out=tmp_path / "a")) / "images.parquet").frame
    shutil.copy(folder / "CT_small.dcm", folder / "another.dcm")
    run = scan(folder, out=tmp_path / "b", keep_splits=first.path)
    after = ImageTable.read(run / "images.parquet").frame.set_index("id")[["group", "split"]]
    assert set(after["group"]).isdisjoint(before["group"])
    assert after.loc["another.dcm"].equals(after.loc["CT_small.dcm"])
    assert after.loc[before["id"], "split"].tolist() == before["split"].tolist()


def test_pixels_may_lie_elsewhere(drawn: Path, tmp_path: Path) -> None:
    run = scan(drawn / "images", out=tmp_path / "run", pixels=tmp_path / "fast" / "px", pixel_size=16)
    assert Path(run.state["pixels"]) == tmp_path / "fast" / "px"
    assert PixelStore.open(tmp_path / "fast" / "px").size == 16
    assert not (run / "pixels").exists()


def test_a_second_scan_is_refused_and_a_resumed_one_returns_at_once(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ScanSettings.of(images=drawn / "images", out=tmp_path / "run")
    scan(settings)
    before = (tmp_path / "run" / "images.parquet").stat().st_mtime_ns
    with pytest.raises(RunExistsError, match=r"already in this run .*--resume, or choose another --out"):
        scan(settings)
    scan(settings.part(ScanSettings, resume=True))
    assert "run was scanned before.\n" in capsys.readouterr().err
    scan(settings.part(ScanSettings, resume=True, labels=drawn / "labels.csv", pixel_size=24))
    assert "was scanned before, with labels = None; it is kept as it is." in capsys.readouterr().err
    with pytest.raises(SettingsError, match="scanned with pixel_size = 24, found 64"):
        scan(settings.part(ScanSettings, resume=True, pixel_size=64))
    assert (tmp_path / "run" / "images.parquet").stat().st_mtime_ns == before


def test_near_copies_of_pixels_that_are_made_anew_are_sought_anew_after_a_kill(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill comes while the store of a changed image is thrown away."""
    folder, out = shutil.copytree(drawn / "images", tmp_path / "images"), tmp_path / "run"
    first, second, *_ = sorted(folder.iterdir())
    shutil.copy(first, second)
    scan(folder, out=out)
    assert first.name in set(pd.read_csv(out / "near_copies.csv")["first"])
    shutil.copy(drawn / "images" / second.name, second)
    (out / "run.json").write_text((out / "run.json").read_text().replace('"done"', '"failed"'))

    def killed(path: Path, **_: object) -> None:
        for name in ("pixels.json", "pixels.npy"):
            (Path(path) / name).unlink(missing_ok=True)
        if Path(path).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        scan(folder, out=out, resume=True)
    scan(folder, out=out, resume=True)
    assert first.name not in set(pd.read_csv(out / "near_copies.csv")["first"])


def test_an_output_that_is_no_run_is_left_alone(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(RunExistsError, match="nothing was changed"):
        scan(drawn / "images", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_run_is_no_folder_of_images(drawn: Path, tmp_path: Path) -> None:
    scan(drawn / "images", out=tmp_path / "run")
    with pytest.raises(SettingsError, match="found a run directory"):
        scan(tmp_path / "run", out=tmp_path / "other")


def test_overlays_and_burnt_in_writing_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 29."""
    (tmp_path / "in").mkdir()
    shutil.copy(str(get_testdata_file("examples_overlay.dcm", download=False)), tmp_path / "in" / "a.dcm")
    dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.BurnedInAnnotation = "YES"
    dcmwrite(tmp_path / "in" / "b.dcm", dataset)
    Image.new("L", (20, 20), 7).save(tmp_path / "in" / "c.png")
    scan(tmp_path / "in", out=tmp_path / "run")
    said = capsys.readouterr().err
    assert "Warning: 1 image with writing burnt in, by their own account (b.dcm)." in said
    assert "Warning: 1 image with an overlay, which is left out (a.dcm)." in said
    assert "Warning: 1 image with several windows, of which the first was taken (a.dcm)." in said
    assert "Warning: 1 image with one and the same value everywhere (c.png)." in said


def test_real_ultrasound(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "busi_ultrasound"
    run = scan(folder / "images", labels=folder / "labels.csv", out=tmp_path / "run", pixel_size=32)
    assert run.state["scan"]["classes"] == {"benign": 436, "malignant": 209, "normal": 133}
    assert run.state["scan"]["splits"] == {"train": 518, "test": 260}
    assert run.state["scan"]["near_copies"] > 250  # as an eye sees: a third of this set are copies
    assert run.state["scan"]["near_copies_astride"] == 0
    assert run.state["scan"]["rejected"] == {}
