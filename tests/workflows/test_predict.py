"""``predict`` passes images by: killed and continued it gives the same bytes; its memory does not grow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hundredfold.cli import main
from hundredfold.data.table import ImageTable
from hundredfold.errors import RunExistsError, SettingsError
from hundredfold.predict.made import claimed
from hundredfold.predict.predictor import Predictor
from hundredfold.workflows.predict import predict

SIDE = 20


@pytest.fixture(scope="module")
def fitted(coloured: Any) -> Path:
    return coloured.predictor


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, coloured: Any) -> Path:
    """700 images, so three parts, and some that cannot be used."""
    folder = coloured.write(tmp_path_factory.mktemp("many") / "images", 700)
    (folder / "00300.png").write_bytes(b"")
    whole = (folder / "00301.png").read_bytes()
    (folder / "00301.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "00400.png"), np.full((SIDE, SIDE), 30_000, np.uint16))
    return folder


def run(images: Path, predictor: Path, out: Path, *more: str, **env: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hundredfold", "predict", str(images), "--predictor", str(predictor)]
    return subprocess.Popen(
        [*command, "--out", str(out), *more], env={**os.environ, **env}, stderr=subprocess.PIPE
    )


def test_killed_and_continued_gives_the_same_bytes(images: Path, fitted: Path, tmp_path: Path) -> None:
    whole = predict(images, predictor=fitted, out=tmp_path / "whole.csv").read_bytes()
    out = tmp_path / "killed.csv"
    parts = tmp_path / ".killed.csv.parts"
    with run(images, fitted, out) as process:
        while not (parts / "part-000000.parquet").exists():
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    assert 1 <= len(before) < 3
    with pytest.raises(RunExistsError, match="--resume"):
        predict(images, predictor=fitted, out=out)
    with pytest.raises(SettingsError, match="another set of settings"):
        predict(images, predictor=fitted, out=out, resume=True, embed_batch=32)
    assert {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")} == before
    assert predict(images, predictor=fitted, out=out, resume=True).read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {
        "whole.csv", "whole.csv.json", "killed.csv", "killed.csv.json",
    }


def test_a_part_is_not_made_twice_and_one_cut_short_is_no_part(
    images: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hundredfold.predict.parts import Parts

    append, made = Parts.append, []

    def interrupted(parts: Parts, rows: pd.DataFrame) -> None:
        if made:
            (parts.folder / ".part-000001.parquet.1.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        made.append(len(rows))
        append(parts, rows)

    whole = predict(images, predictor=fitted, out=tmp_path / "whole.jsonl").read_bytes()
    monkeypatch.setattr(Parts, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(images, predictor=fitted, out=tmp_path / "some.jsonl")
    monkeypatch.setattr(Parts, "append", lambda parts, rows: (made.append(len(rows)), append(parts, rows)))
    out = predict(images, predictor=fitted, out=tmp_path / "some.jsonl", resume=True)
    assert made == [256, 256, 188]
    assert out.read_bytes() == whole


def test_changed_images_are_not_continued(images: Path, fitted: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number in range(3):
        (few / f"{number}.png").write_bytes((images / f"0000{number}.png").read_bytes())
    from hundredfold.predict.parts import Parts

    claim = {"list of images": "another", "predictor": Predictor.load(fitted).hash}
    Parts(tmp_path / "p.csv").begin(claim, resume=False)
    with pytest.raises(SettingsError, match="another list of images"):
        predict(few, predictor=fitted, out=tmp_path / "p.csv", resume=True)


def test_other_groups_are_another_list_of_images(fitted: Path) -> None:
    """The groups decide which neighbours ``--explain`` names, so rows of both would not belong together."""
    predictor = Predictor.load(fitted)
    found = [
        claimed(predictor, ImageTable.of({"id": ["a.png", "b.png"], "group": groups}), [], {})
        for groups in ([None, None], ["p", None], [None, "p"], ["p", "p"])
    ]
    assert len({claim["list of images"] for claim in found}) == 4


def test_a_whole_table_is_kept_if_it_is_what_is_asked_for(
    images: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = tmp_path / "few", tmp_path / "p.csv"
    few.mkdir()
    (few / "0.png").write_bytes((images / "00000.png").read_bytes())
    before = predict(few, predictor=fitted, out=out).read_bytes()
    capsys.readouterr()
    (tmp_path / ".p.csv.parts").mkdir()  # as a kill behind the last step leaves them
    predict(few, predictor=fitted, out=out, resume=True)
    assert not (tmp_path / ".p.csv.parts").exists()
    assert "of these images, predictor and settings; nothing was predicted now" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"set of settings \(prevalence: \[\], now \['red=0.9'\]\)"):
        predict(few, predictor=fitted, out=out, resume=True, prevalence=("red=0.9",))
    (few / "1.png").write_bytes((images / "00001.png").read_bytes())
    with pytest.raises(SettingsError, match="another list of images"):
        predict(few, predictor=fitted, out=out, resume=True)
    (tmp_path / "p.csv.json").unlink()  # as of a version that wrote none
    predict(few, predictor=fitted, out=out, resume=True)
    assert "whatever images, predictor and settings" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_beside_a_table_stands_who_made_it_for_which_prevalence(
    fitted: Path, tmp_path: Path, coloured: Any
) -> None:
    folder = coloured.write(tmp_path / "images", 3)
    predict(folder, predictor=fitted, out=tmp_path / "alike.csv")
    told = json.loads((tmp_path / "alike.csv.json").read_text())
    assert told["predictor"] == Predictor.load(fitted).hash
    assert (told["images"], told["numbers"], told["prevalence"]) == (3, "probabilities", None)
    predict(folder, predictor=fitted, out=tmp_path / "ward.jsonl", prevalence=("red=0.8",))
    told = json.loads((tmp_path / "ward.jsonl.json").read_text())
    assert told["prevalence"] == {"blue": 0.1, "green": 0.1, "red": 0.8}
    assert told["set of settings"]["prevalence"] == ["red=0.8"]


def test_a_word_that_is_no_prevalence_is_told_what_is_one(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["predict", str(tmp_path), f"--predictor={fitted}", f"--out={tmp_path / 'p.csv'}"]
    assert main([*given, "--prevalence=audits"]) == 2
    assert "or the word audit alone, or the word labels alone" in capsys.readouterr().err
    assert main([*given, '--prevalence="red, dark"=0.1,red=0.2']) == 2  # read as two, of which one is unknown
    assert "stated for 'red, dark'" in capsys.readouterr().err


def test_every_format_says_the_same(images: Path, fitted: Path, tmp_path: Path, coloured: Any) -> None:
    made = {kind: predict(images, predictor=fitted, out=tmp_path / f"p.{kind}") for kind in ("csv", "parquet",
                                                                                            "jsonl")}
    rows = pd.read_csv(made["csv"], dtype={"image": str})
    pd.testing.assert_frame_equal(pd.read_parquet(made["parquet"]), rows, check_dtype=False)
    lines = [json.loads(line) for line in made["jsonl"].read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in lines] == rows["image"].tolist()
    classes = [name.removeprefix("p:") for name in rows.filter(like="p:")]
    told = [[(line["probabilities"] or {}).get(name, np.nan) for name in classes] for line in lines]
    np.testing.assert_array_equal(told, rows.filter(like="p:").to_numpy())
    problems = {line["image"]: line["problem"] for line in lines if line["problem"]}
    assert problems == {"00300.png": "empty", "00301.png": "truncated", "00400.png": "no_range"}
    good = rows[rows["problem"].isna()]
    assert good["label"].tolist() == [coloured.classes[int(name[:5]) % 3] for name in good["image"]]


def test_another_suffix_is_refused_before_anything_is_written(
    images: Path, fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=re.escape(".csv, .parquet, .jsonl; found .xlsx")):
        predict(images, predictor=fitted, out=tmp_path / "p.xlsx")
    assert not [*tmp_path.iterdir()]


def test_an_archive_a_table_and_a_url_give_the_rows_of_the_folder(
    fitted: Path, tmp_path: Path, coloured: Any
) -> None:
    import fsspec

    folder = coloured.write(tmp_path / "images", 5)
    rows = predict(folder, predictor=fitted, out=tmp_path / "folder.csv").read_text()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    (folder / "table.csv").write_text("image\n" + "".join(f"{n:05d}.png\n" for n in range(5)))
    files = fsspec.filesystem("memory")
    files.put(f"{folder}/", "memory://passing/", recursive=True)
    for source in (tmp_path / "images.zip", folder / "table.csv", "memory://passing"):
        out = predict(source, predictor=fitted, out=tmp_path / "other.csv")
        assert out.read_text() == rows
        out.unlink()
    predict(folder, predictor=fitted, out="memory://passed/p.csv")
    assert files.cat_file("memory://passed/p.csv").decode() == rows
    assert json.loads(files.cat_file("memory://passed/p.csv.json"))["images"] == 5
    predict(folder, predictor=fitted, out="memory://passed/p.csv", resume=True)
    files.pipe_file("memory://other/p.html", b"another's")
    with pytest.raises(RunExistsError, match="the page beside the output exists"):
        predict(folder, predictor=fitted, out="memory://other/p.csv", explain=True)


def test_deep_images_do_not_depend_on_what_comes_with_them(
    fitted: Path, tmp_path: Path, coloured: Any
) -> None:
    """No range of the images at hand: one alone and one of many are both refused."""
    folder = coloured.write(tmp_path / "images", 2)
    deep = np.linspace(0, 60_000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    cv2.imwrite(str(folder / "deep.png"), deep)
    rows = pd.read_csv(predict(folder, predictor=fitted, out=tmp_path / "p.csv")).set_index("image")
    assert rows["problem"]["deep.png"] == "no_range"
    assert pd.isna(rows["label"]["deep.png"])


MEASURED = """
import sys, threading, time
from pathlib import Path
from hundredfold.workflows.predict import predict

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])

most = 0
def watch():
    global most
    while True:
        most = max(most, anonymous())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
predict(sys.argv[1], predictor=sys.argv[2], out=sys.argv[3])
print(most)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(
    fitted: Path, tmp_path: Path, coloured: Any
) -> None:
    """The squares of 4,500 images would be 55 MB."""
    predictor = Predictor.load(fitted)
    replace(predictor, facts={**predictor.facts, "pixel_size": 64}).save(tmp_path / "large")
    few, many = tmp_path / "few", tmp_path / "many"
    coloured.write(few, 500)
    coloured.write(many, 5_000)
    used = []
    for folder in (few, many):
        told = [str(folder), str(tmp_path / "large"), str(tmp_path / "p.csv")]
        command = [sys.executable, "-c", MEASURED, *told]
        used.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
        (tmp_path / "p.csv").unlink()
    assert used[1] - used[0] < 20_000, used
