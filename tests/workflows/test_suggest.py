"""``suggest`` as a user calls it: what it writes and says, what it never suggests, what it refuses."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hundredfold
from hundredfold.annotate.classes import ClassBook
from hundredfold.annotate.events import Answer
from hundredfold.annotate.store import FILE, Store
from hundredfold.cli import main
from hundredfold.data.rows import read_rows
from hundredfold.data.smear import draw_smear
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import RunExistsError, RunMissingError, SettingsError, TableError
from hundredfold.rundir import RunDirectory
from hundredfold.workflows.suggest import _pool, suggest

CLOUDS = {"basophil": 50, "eosinophil": 20, "platelet": 8}


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """Vectors in three clouds and one far away; two held out, a group with one of these, three copies."""
    rng = np.random.default_rng(0)
    sizes = enumerate(CLOUDS.values())
    vectors = [9 * np.eye(8)[number] + rng.normal(size=(size, 8)) for number, size in sizes]
    ids = [f"{name[0]}{number:02d}.png" for name, size in CLOUDS.items() for number in range(size)]
    frame = pd.DataFrame({"id": [*ids, "stray.png"], "split": "train", "group": None, "cluster": None})
    frame["sha256"] = [f"{row:064x}" for row in range(len(frame))]
    frame = frame.set_index("id", drop=False)
    frame.loc["b00.png", "split"], frame.loc["b01.png", "split"] = "test", "audit"
    frame.loc[["b01.png", "b02.png"], "group"] = "patient"
    frame.loc[["e00.png", "e01.png"], "cluster"] = "e00.png"
    frame.loc["e02.png", "sha256"] = frame.loc["e00.png", "sha256"]
    table = ImageTable.of(frame)
    every = np.concatenate([*vectors, -60 * np.eye(8)[7:]]).astype(np.float32)
    facts = {"name": "made", "hash": "0" * 64, "dimension": 8}
    Embeddings(table.ids, every, facts, table).write(tmp_path / "made")
    return tmp_path / "made"


def test_the_file_says_what_to_read_first_and_why(
    embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "next.csv"
    assert main(["suggest", str(embedded), "--budget=3", "--strategy=typiclust", f"--out={out}"]) == 0
    rows = pd.read_csv(out)
    assert list(rows.columns) == ["image", "rank", "kind", "reason"]
    assert list(rows["kind"]) == ["suggested"] * 3 + ["outlier"]
    assert list(rows["rank"]) == [1, 2, 3, 1]
    assert [name[0] for name in rows["image"][:3]] == ["b", "e", "p"]
    assert rows["image"].iloc[3] == "stray.png"
    why = r"unlike any other: \d+\.\d times as far from its neighbours as is usual"
    assert re.fullmatch(why, rows["reason"].iloc[3])
    told = " ".join(capsys.readouterr().err.split())
    assert "Suggested: 3 of 74 images without a label, by typiclust" in told
    assert "1 outliers to look at" in told
    assert "Left out: 2 test and audit images, and 3 of one group with them, or copies of others." in told
    assert "Warning" not in told


@pytest.mark.parametrize("strategy", ["typiclust", "kmeans", "explore", "mixture", "random"])
def test_nothing_held_out_and_no_copy_is_suggested(embedded: Path, tmp_path: Path, strategy: str) -> None:
    out = suggest(embedded, budget=1000, strategy=strategy, out=tmp_path / "next.csv")
    images = set(pd.read_csv(out)["image"])
    assert not images & {"b00.png", "b01.png", "b02.png", "e01.png", "e02.png"}
    assert len(images) == 74


def test_a_copy_of_what_is_labelled_is_not_suggested(embedded: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\ne02.png,eosinophil\np00.png,platelet\nb01.png,basophil\n")
    out = suggest(embedded, budget=1000, labels=labels, out=tmp_path / "next.csv")
    images = set(pd.read_csv(out)["image"])
    assert not images & {"e00.png", "e01.png", "e02.png", "p00.png", "b01.png"}
    assert len(images) == 72


def test_labels_move_what_is_suggested(embedded: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\nb10.png,basophil\ne10.png,eosinophil\n")
    out = suggest(embedded, budget=1, labels=labels, strategy="typiclust", out=tmp_path / "next.csv")
    assert pd.read_csv(out)["image"].iloc[0].startswith("p")


def test_the_order_of_the_rows_of_a_table_does_not_matter(embedded: Path, tmp_path: Path) -> None:
    found = Embeddings.read(embedded)
    order = np.random.default_rng(1).permutation(len(found))
    table = found.images.by_id(found.ids[order])
    Embeddings(table.ids, found.vectors[order], found.encoder, table).write(tmp_path / "shuffled")
    rows = [
        pd.read_csv(suggest(folder, budget=9, out=tmp_path / f"{folder.name}.csv"))
        for folder in (embedded, tmp_path / "shuffled")
    ]
    pd.testing.assert_frame_equal(*rows)


def test_a_run_is_suggested_from_and_no_held_out_image_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smear = draw_smear(tmp_path / "smear", images=60, size=24, seed=0)
    run = hundredfold.scan(smear / "images", out=tmp_path / "run")
    hundredfold.embed(run.path, encoder="thumbnail", out=run.path)
    out = hundredfold.suggest(run.path, budget=12, out=tmp_path / "next.csv")
    rows = read_rows(out, required=["image", "rank", "kind", "reason"])
    known = set(pd.read_csv(run / "splits.csv")["image"])
    assert set(rows["image"]) <= known
    assert (rows["kind"] == "suggested").sum() == 12
    assert "no fair sample" in " ".join(capsys.readouterr().err.split())


def offered_by(tmp_path: Path) -> tuple[RunDirectory, pd.Series]:
    """A run with an audit set, and all that is suggested of it, in order."""
    smear = draw_smear(tmp_path / "smear", images=60, size=24, seed=0)
    run = hundredfold.scan(smear / "images", audit=10, out=tmp_path / "run")
    hundredfold.embed(run.path, encoder="thumbnail", out=run.path)
    return run, pd.read_csv(hundredfold.suggest(run.path, budget=100, out=tmp_path / "before.csv"))["image"]


def test_what_was_read_without_a_class_is_not_suggested_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, offered = offered_by(tmp_path)
    junk, riddle = set(offered[:3]), set(offered[3:5])
    with closing(Store.open(run / FILE)) as store:
        store.answer("Anna", "first", [Answer(image, "unusable") for image in junk])
        store.answer("Anna", "first", [Answer(image, "unsure") for image in riddle])
    now = pd.read_csv(hundredfold.suggest(run.path, budget=100, out=tmp_path / "after.csv"))["image"]
    assert set(now) <= set(offered) - junk - riddle
    told = " ".join(capsys.readouterr().err.split())
    assert "3 images that are unusable, whose kind is not sought, and 2 that are to be decided" in told


def test_labels_of_the_page_count_where_no_others_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, offered = offered_by(tmp_path)
    with closing(Store.open(run / FILE)) as store:
        book = ClassBook(store)
        names = [book.add("Anna", name).id for name in ("round", "long, or \"odd\"")]
        store.answer("Anna", "first", [
            Answer(image, "label", names[number % 2]) for number, image in enumerate(offered[:20])
        ])
        book.change("Anna", names[0], name="rounder")
    capsys.readouterr()
    now = pd.read_csv(hundredfold.suggest(run.path, budget=100, out=tmp_path / "after.csv"))["image"]
    assert set(now) == set(offered[20:])
    assert "20 are labelled" in " ".join(capsys.readouterr().err.split())
    theirs = tmp_path / "labels.csv"
    theirs.write_text(f"image,label\n{offered[20]},round\n{offered[21]},long\n")
    now = pd.read_csv(
        hundredfold.suggest(run.path, budget=100, labels=theirs, out=tmp_path / "theirs.csv")
    )["image"]
    assert set(now) == set(offered) - {offered[20], offered[21]}  # a table that is given is all there is


def test_no_copy_of_what_was_read_and_no_kin_of_an_audit_image_that_was_unsure(embedded: Path) -> None:
    table = Embeddings.read(embedded).images
    read = {"e01.png", "b01.png"}  # a near-copy of e00 and e02, and an audit image of the patient of b02
    pool = set(_pool(table, read).ids)
    assert "e01.png" in pool
    assert not pool & {"e00.png", "e02.png", "b02.png", "b01.png"}


def test_a_file_that_is_there_is_kept(embedded: Path, tmp_path: Path) -> None:
    out = suggest(embedded, budget=2, out=tmp_path / "next.csv")
    before = out.read_text()
    with pytest.raises(RunExistsError, match="nothing was changed"):
        suggest(embedded, budget=5, out=out)
    assert suggest(embedded, budget=5, out=out, resume=True).read_text() == before


def test_what_cannot_be_done_is_refused_before_anything_is_written(embedded: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    with pytest.raises(SettingsError, match="Did you mean 'typiclust'"):
        suggest(embedded, budget=2, strategy="typiklust", out=out)
    with pytest.raises(SettingsError, match="Label a first round"):
        suggest(embedded, budget=2, strategy="margin", out=out)
    with pytest.raises(RunMissingError, match="found none"):
        suggest(tmp_path, budget=2, out=out)
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\nnobody.png,basophil\n")
    with pytest.raises(TableError, match="names an image"):
        suggest(embedded, budget=2, labels=labels, out=out)
    assert not out.exists()
