"""Neighbours in a report: of other groups only; maps where the encoder is there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.data.store import PixelStore
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.encoder import Encoder
from hundredfold.report.chapters.base import Exhibit
from hundredfold.report.chapters.why import NO_MAP, why_chapter
from hundredfold.report.examples import resembled, right_and_wrong
from hundredfold.report.material import Material, gather, headline_of
from hundredfold.report.sheets import why_sheet
from hundredfold.rundir import RunDirectory


@pytest.fixture(scope="module")
def material(whole_run: RunDirectory) -> Material:
    return gather(whole_run)


def test_right_and_wrong_images_are_what_they_are_called(material: Material) -> None:
    at = headline_of(material)
    assert at is not None
    assert material.predictions is not None
    chosen = right_and_wrong(material.predictions, replace(at, n_per_class=1), each=2, seed=0)
    right = chosen["label"] == chosen["predicted"]
    assert right.tolist() == [True, True, False, False]
    assert chosen["id"].is_unique


def test_no_neighbour_is_of_the_same_group_even_where_the_split_leaks(material: Material) -> None:
    """One image of each test group is moved to the training side; brute force finds the same neighbours."""
    found = material.embeddings["pretrained"]
    frame = found.images.frame
    test = frame[frame["split"] == "test"]
    leaked = test.groupby("group")["id"].first()
    split = frame["split"].where(~frame["id"].isin(leaked), "train")
    embeddings = replace(found, images=found.images.assign(split=split))
    images = test[~test["id"].isin(leaked)].head(6).assign(predicted="x")[["id", "label", "predicted"]]
    table = resembled(images, embeddings, neighbours=4)
    groups = frame.set_index("id")["group"]
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1)[:, None]
    row = {name: place for place, name in enumerate(found.ids)}
    assert len(table) == 24
    for image, near in table.groupby("image", sort=False):
        assert (groups[near["neighbour"]] != groups[image]).all()
        others = [n for n in frame.loc[split == "train", "id"] if groups[n] != groups[image]]
        best = sorted(others, key=lambda n: -float(unit[row[n]] @ unit[row[str(image)]]))[:4]
        assert near["neighbour"].tolist() == best


def test_without_its_encoder_there_are_neighbours_and_no_map(material: Material) -> None:
    chapter = why_chapter(material, headline_of(material))
    assert chapter is not None
    assert NO_MAP in chapter.sentences
    assert any("Neither is evidence" in sentence for sentence in chapter.sentences)


def test_with_its_encoder_there_are_maps(whole_run: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(whole_run.path, run.path)
    torch.manual_seed(0)
    encoder = Encoder(
        create_backbone("test_resnet", weights="none"), size=32, value_range=None, fit="pad",
        provenance={"method": "none"}, seen=frozenset(),
    )
    encoder.save(run / "encoder")
    before, store = Embeddings.read(run / "embeddings" / "pretrained"), PixelStore.open(run.pixels)
    vectors = encoder.encode(store[store.rows(list(before.ids))])
    shutil.rmtree(run / "embeddings" / "pretrained")
    facts = {**encoder.facts, "name": "pretrained"}
    Embeddings(before.ids, vectors, facts, before.images).write(run / "embeddings" / "pretrained")
    material = gather(run)
    chapter = why_chapter(material, headline_of(material))
    assert chapter is not None
    assert "set the image apart from the average training image" in " ".join(chapter.sentences)
    item = chapter.items[0]
    assert isinstance(item, Exhibit)
    pictures = [image.get_array() for image in item.figure.axes[0].images]
    images = item.table["image"].nunique()
    assert len(pictures) == len(item.table) + 2 * images
    dark = [float(np.asarray(one)[-12:].mean()) for one in pictures[1:2]]
    assert dark[0] < float(np.asarray(pictures[0])[-12:].mean())  # the band with the words


def test_the_sheet_needs_no_map(material: Material) -> None:
    at = headline_of(material)
    assert at is not None
    assert material.predictions is not None
    assert material.store is not None
    chosen = right_and_wrong(material.predictions, at, each=1, seed=0)
    table = resembled(chosen, material.embeddings["pretrained"], neighbours=3)
    figure = why_sheet(table, material.store, [])
    assert len(figure.axes[0].images) == len(table) + table["image"].nunique()
    assert isinstance(table, pd.DataFrame)
