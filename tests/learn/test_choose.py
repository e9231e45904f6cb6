"""The method that is chosen is the best on held-out groups of the training labels, never on test images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.data.table import ImageTable
from hundredfold.learn.choose import Choice, choose
from hundredfold.learn.held_out import HeldOut, held_out
from hundredfold.learn.trial import Trial

NAMES = ("svm", "knn", "logistic")


def patients(seed: int = 0) -> tuple[np.ndarray, ImageTable]:
    """Vectors that name the patient loudly and the class softly; every patient has one class."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(24), 8)
    labels = np.array(["ill", "well"])[patient % 2]
    soft = 1.2 * (patient % 2)[:, None] + random.normal(size=(192, 3))
    loud = 6 * random.normal(size=(24, 6))[patient]
    x = np.concatenate([soft, loud + 0.01 * random.normal(size=(192, 6))], axis=1).astype(np.float32)
    table = ImageTable.of({
        "id": [f"{n:03d}.png" for n in range(192)], "label": labels,
        "group": [f"patient {n}" for n in patient],
    })
    return x, table


def chosen(vectors: dict[str, np.ndarray], table: ImageTable, *rows: np.ndarray) -> Choice:
    trial = Trial.labelled(table)
    draws = rows or (np.arange(len(table)),)
    own = pd.Index(table.ids).get_indexer(pd.Index(trial.train.ids))
    held = held_out(
        trial, {name: found[own] for name, found in vectors.items()}, draws, NAMES, preset="default", seed=0,
        jobs=1, title="Choosing a method",
    )
    return choose(held, NAMES)


def test_neighbours_from_the_same_patient_do_not_count() -> None:
    x, table = patients()
    by_image = chosen({"a": x}, table.assign(group=None)).accuracy
    by_group = chosen({"a": x}, table)
    assert by_image["a/knn"] > 0.9
    assert by_group.accuracy["a/knn"] < 0.8
    assert by_group.accuracy[f"a/{by_group.classifier}"] == max(by_group.accuracy.values())


def test_the_better_encoder_is_found_and_of_equal_ones_the_first() -> None:
    x, table = patients()
    soft = x[:, :3]
    assert chosen({"noise": x[:, 3:], "soft": soft}, table).encoder == "soft"
    assert chosen({"one": soft, "same": soft.copy()}, table).encoder == "one"


def test_the_order_of_images_does_not_matter() -> None:
    x, table = patients()
    order = np.random.default_rng(1).permutation(len(x))
    moved = ImageTable.of(table.frame.iloc[order])
    assert chosen({"a": x[order]}, moved) == chosen({"a": x}, table)


def test_several_draws_count_alike() -> None:
    x, table = patients()
    rows = [np.arange(0, 192, 2), np.arange(1, 192, 2)]
    both = chosen({"a": x}, table, *rows).accuracy
    each = [chosen({"a": x}, table, some).accuracy for some in rows]
    for name, value in both.items():
        assert abs(value - (each[0][name] + each[1][name]) / 2) < 1e-4


def test_without_a_label_to_hold_out_the_first_is_taken_untested() -> None:
    x, table = patients()
    two = table.select(np.isin(np.arange(192), [0, 8]))
    assert chosen({"a": x[[0, 8]], "b": x[[0, 8]]}, two) == ("a", "svm", {})


def test_a_label_that_is_never_held_out_is_not_judged() -> None:
    scores = np.zeros((1, 3, 2), dtype=np.float32)
    one = HeldOut(np.array([0, 0, 1]), np.array([[0, 1, -1]], dtype=np.int32), scores)
    assert choose({("a", 0): one}, ["svm"]).accuracy == {"a/svm": 0.5}
