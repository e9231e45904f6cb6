"""What a predictor remembers: its training side and nothing else, the same after a round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.thumbnail import ThumbnailEncoder
from hundredfold.errors import ModelFileError
from hundredfold.learn.calibrate import METHODS, Calibration, Method
from hundredfold.learn.classifiers import judge, make_pipeline
from hundredfold.predict import memory as module
from hundredfold.predict.memory import Memory, hidden_group
from hundredfold.predict.predictor import Predictor

CLASSES = ("cat", "dog")
#: From below: a broken image, one of the audit set, a copy of a test image, one without a label …
TABLE = ImageTable.of({
    "id": list("gfedcba"),
    "label": ["dog", "dog", "cat", None, None, "cat", "dog"],
    "group": ["p1", "p2", "p1", "p3", "p4", None, "p5"],
    "split": ["train", "test", "train", "train", "train", "audit", "train"],
    "cluster": [None, "k", None, None, "k", None, None],
    "problem": [None, None, None, None, None, None, "corrupt"],
})


def embedded(table: ImageTable) -> Embeddings:
    images = table.usable
    vectors = np.array([[ord(name), 1] for name in images.ids], dtype=np.float32)
    return Embeddings(images.ids, vectors, ThumbnailEncoder().facts, images)


def test_the_training_side_is_remembered_in_the_order_of_ids_and_nothing_held_out() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    found = Memory.of(TABLE, embedded(TABLE), CLASSES, scores=scores)
    assert found.ids.tolist() == ["d", "e", "g"]
    assert found.codes.tolist() == [-1, 0, 1]
    assert found.labelled.tolist() == [False, True, True]
    assert found.vectors[:, 0].tolist() == [ord(name) for name in "deg"]
    assert np.isnan(found.scores[0]).all()
    np.testing.assert_array_equal(found.scores[1:], scores)


def test_groups_are_known_apart_but_not_by_name() -> None:
    found = Memory.of(TABLE, embedded(TABLE), CLASSES)
    assert found.groups.tolist() == [hidden_group("p3"), hidden_group("p1"), hidden_group("p1")]
    assert found.pieces[1] == found.pieces[2] != found.pieces[0]


def test_what_lies_column_by_column_comes_back_as_it_was(tmp_path: Path) -> None:
    """safetensors would write it in another order, without a word."""
    found = Memory.of(TABLE, embedded(TABLE), CLASSES)
    scores = np.asfortranarray(np.arange(2 * len(found), dtype=np.float32).reshape(len(found), 2))
    replace(found, scores=scores).save(tmp_path, CLASSES)
    loaded = Memory.load(tmp_path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.scores, scores)


def test_a_round_trip(tmp_path: Path) -> None:
    found = Memory.of(TABLE, embedded(TABLE), CLASSES)
    found.save(tmp_path, CLASSES)
    again = Memory.load(tmp_path)
    assert again is not None
    for name in ("ids", "codes", "groups", "pieces", "vectors", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert "p1" not in (tmp_path / "memory.csv").read_text()


def test_many_images_without_a_label_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNLABELLED", 10)
    table = ImageTable.of({
        "id": [f"{number:03d}" for number in range(100)],
        "label": [CLASSES[number % 2] if number < 20 else None for number in range(100)],
        "split": "train",
    })
    images = Embeddings(table.ids, np.ones((100, 2), dtype=np.float32), ThumbnailEncoder().facts, table)
    one, other = (Memory.of(table, images, CLASSES, seed=seed) for seed in (0, 1))
    assert one.labelled.sum() == 20
    assert len(one) == 30
    assert one.ids.tolist() != other.ids.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_before_are_brought_up_or_refused(method: Method, coloured: Any, tmp_path: Path) -> None:
    """They were discriminants: logarithms of probabilities, but for a number an image."""
    found = Predictor.load(coloured.predictor)
    memory = found.memory
    assert memory is not None
    labels = np.array(found.classes)[memory.codes]
    samples, features = memory.vectors.shape
    pipeline = make_pipeline("lda", samples=samples, features=features, classes=3)
    pipeline.fit(memory.vectors, labels)
    now = judge(pipeline, memory.vectors)[1]
    before = now + 50 * np.random.default_rng(0).standard_normal((samples, 1))
    for name, scores in (("now", now), ("before", before)):
        calibration = Calibration.fit(scores, memory.codes, method)
        assert calibration is not None
        kept = replace(memory, scores=scores.astype(np.float32))
        facts = {**found.facts, "classifier": "lda", "calibration": calibration.facts}
        replace(found, pipeline=pipeline, facts=facts, memory=kept).save(tmp_path / name)
    if method == "temperature":
        loaded = Predictor.load(tmp_path / "before").memory
        assert loaded is not None
        np.testing.assert_allclose(loaded.scores, now, atol=1e-4)
    else:
        with pytest.raises(ModelFileError, match="Fit the predictor again"):
            Predictor.load(tmp_path / "before")
    loaded = Predictor.load(tmp_path / "now").memory
    assert loaded is not None
    np.testing.assert_allclose(loaded.scores, now, atol=1e-5)


def test_what_was_fitted_to_margins_of_an_svm_is_refused(coloured: Any, tmp_path: Path) -> None:
    found = Predictor.load(coloured.predictor)
    memory = found.memory
    assert memory is not None
    scores = judge(found.pipeline, memory.vectors)[1]
    for name, told in (("now", scores), ("before", scores - scores.mean(axis=1, keepdims=True))):
        calibration = Calibration.fit(told, memory.codes)
        assert calibration is not None
        facts = {**found.facts, "calibration": calibration.facts}
        kept = replace(memory, scores=told.astype(np.float32))
        replace(found, facts=facts, memory=kept).save(tmp_path / name)
    assert Predictor.load(tmp_path / "now").facts["classifier"] == "svm"
    uncalibrated = {**facts, "calibration": None}  # evaluate chooses thresholds by what it remembers
    replace(found, facts=uncalibrated, memory=kept).save(tmp_path / "uncalibrated")
    for name in ("before", "uncalibrated"):
        with pytest.raises(ModelFileError, match="was fitted with scores that this version does not give"):
            Predictor.load(tmp_path / name)


def test_nothing_remembered_is_no_error_but_a_damaged_memory_is(tmp_path: Path) -> None:
    assert Memory.load(tmp_path) is None
    Memory.of(TABLE, embedded(TABLE), CLASSES).save(tmp_path, CLASSES)
    (tmp_path / "memory.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelFileError, match="cannot read what the predictor remembers"):
        Memory.load(tmp_path)


@pytest.mark.parametrize("name", ["a\rb.png", "a\r\nb.png", ' "a", b.png'])
def test_names_with_line_ends_and_quotes_come_back(name: str, tmp_path: Path) -> None:
    """A lone carriage return would else end the row, and the predictor be refused for ever after."""
    table = ImageTable.of({"id": [name, "b"], "label": ["cat", "dog"], "split": ["train"] * 2})
    vectors = np.ones((2, 2), dtype=np.float32)
    Memory.of(table, Embeddings(table.ids, vectors, ThumbnailEncoder().facts, table), CLASSES).save(
        tmp_path, CLASSES
    )
    again = Memory.load(tmp_path)
    assert again is not None
    assert set(again.ids) == {name, "b"}
    assert again.fits(2, 2)
