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

import cv2
import numpy as np
import pandas as pd
import pytest

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import RunExistsError, SettingsError
from hundredfold.learn.calibrate import Calibration
from hundredfold.predict.predictor import Predictor
from hundredfold.workflows.predict import predict

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
SIDE = 20


def picture(kind: str, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, (SIDE, SIDE, 3))
    return (np.array(COLOURS[kind]) + noise).clip(0, 255).astype(np.uint8)


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = picture([*COLOURS][number % 3], number)
        cv2.imwrite(str(folder / f"{number:05d}.png"), pixels[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "predictor"
    labels = [name for name in COLOURS for _ in range(8)]
    images = np.stack([picture(name, seed) for seed, name in enumerate(labels)])
    table = ImageTable.of({"id": [f"{n}.png" for n in range(24)], "label": labels, "split": ["train"] * 24})
    encoder = ThumbnailEncoder()
    facts = {**encoder.facts, "hash": encoder.hash}
    embeddings = Embeddings(table.ids, encoder.encode(images), facts, table, pixel_size=SIDE)
    codes = np.repeat(np.argsort(np.argsort([*COLOURS])), 8)
    scores = np.eye(3)[codes] + np.random.default_rng(0).normal(0, 0.3, (24, 3))
    calibration = Calibration.fit(scores, codes)
    Predictor.fit(encoder, embeddings, table, calibration=calibration).save(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 images, so three parts, and some that cannot be used."""
    folder = write_images(tmp_path_factory.mktemp("many") / "images", 700)
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
    assert {path.name for path in tmp_path.iterdir()} == {"whole.csv", "killed.csv"}


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


def test_a_table_that_is_whole_is_kept_and_what_was_asked_now_is_said_not_to_be_in_it(
    images: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "0.png").write_bytes((images / "00000.png").read_bytes())
    before = predict(few, predictor=fitted, out=tmp_path / "p.csv").read_bytes()
    capsys.readouterr()
    predict(few, predictor=fitted, out=tmp_path / "p.csv", resume=True, prevalence=("red=0.9",))
    assert (tmp_path / "p.csv").read_bytes() == before
    assert "nothing was predicted now" in capsys.readouterr().err


def test_every_format_says_the_same(images: Path, fitted: Path, tmp_path: Path) -> None:
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
    assert good["label"].tolist() == [[*COLOURS][int(name[:5]) % 3] for name in good["image"]]


def test_another_suffix_is_refused_before_anything_is_written(
    images: Path, fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=re.escape(".csv, .parquet, .jsonl; found .xlsx")):
        predict(images, predictor=fitted, out=tmp_path / "p.xlsx")
    assert not [*tmp_path.iterdir()]


def test_an_archive_a_table_and_a_url_give_the_rows_of_the_folder(fitted: Path, tmp_path: Path) -> None:
    import fsspec

    folder = write_images(tmp_path / "images", 5)
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


def test_deep_images_do_not_depend_on_what_comes_with_them(fitted: Path, tmp_path: Path) -> None:
    """No range of the images at hand: one alone and one of many are both refused."""
    folder = write_images(tmp_path / "images", 2)
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
def test_memory_does_not_grow_with_the_number_of_images(fitted: Path, tmp_path: Path) -> None:
    """The squares of 4,500 images would be 55 MB."""
    predictor = Predictor.load(fitted)
    replace(predictor, facts={**predictor.facts, "pixel_size": 64}).save(tmp_path / "large")
    few, many = tmp_path / "few", tmp_path / "many"
    write_images(few, 500)
    write_images(many, 5_000)
    used = []
    for folder in (few, many):
        told = [str(folder), str(tmp_path / "large"), str(tmp_path / "p.csv")]
        command = [sys.executable, "-c", MEASURED, *told]
        used.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
        (tmp_path / "p.csv").unlink()
    assert used[1] - used[0] < 20_000, used
