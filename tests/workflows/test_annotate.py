"""``annotate`` from a scan to labels that other verbs read; the page itself is tested in tests/annotate."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import hundredfold
from hundredfold.annotate.classes import ClassBook
from hundredfold.annotate.events import Answer
from hundredfold.annotate.gallery import Gallery
from hundredfold.annotate.store import FILE, Store
from hundredfold.data.labels import LabelSet
from hundredfold.data.smear import draw_smear
from hundredfold.data.store import PixelStore
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, RunBusyError, RunMissingError, SettingsError, TableError
from hundredfold.workflows.annotate import _suggested, _supply


@pytest.fixture(scope="module")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_smear(tmp_path_factory.mktemp("smear"), images=24, size=32, seed=0)


@pytest.fixture
def run(smear: Path, tmp_path: Path) -> Path:
    hundredfold.scan(smear / "images", out=tmp_path / "run", near_copies=False)
    return tmp_path / "run"


def test_labels_go_in_and_come_out(smear: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = hundredfold.annotate(run, labels=smear / "labels.csv", export=run.parent / "labels.csv")
    assert isinstance(out, Path)
    told = capsys.readouterr().err
    assert "24 labels are new, 0 are as here" in told
    assert "24 labels in" in told
    table = ImageTable.read(run / "images.parquet")
    found, given = (LabelSet.read(path, table).frame for path in (out, smear / "labels.csv"))
    assert found["label"].tolist() == given["label"].tolist()
    again = hundredfold.annotate(run, labels=out, export=run.parent / "again.csv")
    assert again.read_bytes() == out.read_bytes()
    assert "0 labels are new, 24 are as here" in capsys.readouterr().err


def test_labels_of_the_scan_are_there_from_the_beginning_and_once(smear: Path, tmp_path: Path) -> None:
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "run", near_copies=False)
    for name in ("a.csv", "b.csv"):
        hundredfold.annotate(tmp_path / "run", export=tmp_path / name)
    frame = pd.read_csv(tmp_path / "a.csv")
    assert len(frame) == 24
    assert set(frame["split"]) == {"train", "test"}
    store = Store.open(tmp_path / "run" / FILE)
    assert [event.kind for event in store.events()].count("answer") == 24
    store.close()


def test_labels_of_the_scan_that_could_not_be_taken_in_are_taken_in_once_they_can(
    smear: Path, tmp_path: Path
) -> None:
    hundredfold.scan(smear / "images", labels=smear / "labels.csv", out=tmp_path / "run", near_copies=False)
    store = Store.open(tmp_path / "run" / FILE)  # a first attempt ended between the classes and the labels
    ClassBook(store).add("labels of the scan", "basophil")
    store.close()
    hundredfold.annotate(tmp_path / "run", export=tmp_path / "labels.csv")
    assert len(pd.read_csv(tmp_path / "labels.csv")) == 24


def test_classes_of_a_table_are_made_all_or_none(run: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label\ncell_00001.jpg,Cat\ncell_00002.jpg,cat\n")
    with pytest.raises(SettingsError, match=r"found 'Cat' and 'cat' \(import of labels.csv\)"):
        hundredfold.annotate(run, labels=tmp_path / "labels.csv", export=tmp_path / "out.csv")
    store = Store.open(run / FILE)
    assert store.count == 0
    store.close()


def test_a_port_that_another_has_is_named(run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="port cannot be had"):
            hundredfold.annotate(run, port=taken.getsockname()[1], browser=False)


def test_while_the_page_is_open_there_is_no_second_but_the_table_can_be_written(run: Path) -> None:
    store = Store.open(run / FILE)
    store.answer("Anna", "first", [Answer("cell_00000.jpg", "unsure")])
    store.close()
    hold = (
        "import sys, time; from pathlib import Path; from hundredfold.lock import alone\n"
        "with alone(Path(sys.argv[1]), 'annotate'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(run / ".annotate.lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError):
            hundredfold.annotate(run, browser=False)
        assert hundredfold.annotate(run, export=run.parent / "labels.csv").read_text() == "image,label\n"
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_originals_are_read_from_an_archive(smear: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        for path in sorted((smear / "images").iterdir()):
            archive.write(path, path.name)
    hundredfold.scan(tmp_path / "cells.zip", out=tmp_path / "run", near_copies=False, pixel_size=16)
    table = ImageTable.read(tmp_path / "run" / "images.parquet")
    gallery = Gallery(table, PixelStore.open(tmp_path / "run" / "pixels"), b"key", _supply(table))
    picture = gallery.picture(str(table.ids[0]))
    assert picture.note == ""
    assert len(picture.data) > len(gallery.tile(str(table.ids[0])).data)  # 32 px, not the 16 that are stored
    (tmp_path / "cells.zip").unlink()
    gone = Gallery(table, PixelStore.open(tmp_path / "run" / "pixels"), b"key", _supply(table))
    assert "is gone" in gone.picture(str(table.ids[0])).note


def test_an_order_is_matched_with_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ImageTable.read(run / "images.parquet")
    rows = {"image": ["cell_00003.jpg", "other.jpg", "cell_00001.jpg"], "reason": ["typical", "", None]}
    pd.DataFrame(rows).to_csv(tmp_path / "round.csv", index=False)
    assert _suggested(tmp_path / "round.csv", table) == {"cell_00003.jpg": "typical", "cell_00001.jpg": ""}
    assert "1 of 3 rows name no usable image" in capsys.readouterr().err
    pd.DataFrame({"image": ["other.jpg"]}).to_csv(tmp_path / "round.csv", index=False)
    with pytest.raises(TableError, match="none of the 1 rows names an image of the run"):
        _suggested(tmp_path / "round.csv", table)


def test_what_is_missing_is_named(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunMissingError, match=r"no run\.json"):
        hundredfold.annotate(tmp_path / "nothing")
    (run / "images.parquet").unlink()
    with pytest.raises(RunMissingError, match=r"no images\.parquet"):
        hundredfold.annotate(run)
