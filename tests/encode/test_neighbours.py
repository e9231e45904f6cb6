"""Neighbours: the same as brute force and scikit-learn, and never of the same patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from hundredfold.encode import neighbours
from hundredfold.encode.neighbours import knn_balanced_accuracy, nearest, nearest_others
from hundredfold.errors import InputError


@given(seed=st.integers(0, 999), k=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_nearest_is_brute_force(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    query, pool = rng.normal(size=(7, 5)), rng.normal(size=(23, 5)) * 9
    distances, rows = nearest(query, pool, k)
    expected = cosine_distances(query, pool)
    assert rows.shape == (7, min(k, 23))
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(expected, rows, 1), distances, atol=1e-5)


def test_nearest_refuses_other_encoders_and_nothing() -> None:
    with pytest.raises(InputError, match="same encoder"):
        nearest(np.ones((2, 3)), np.ones((4, 5)), 1)
    with pytest.raises(InputError, match="same encoder"):
        nearest(np.ones((2, 3)), np.ones((0, 3)), 1)


def clouds(seed: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    centres = np.array([[5.0, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0]])
    return centres[labels] + rng.normal(size=(images, 4)) * 2, np.array(["a", "b", "c"])[labels]


@pytest.mark.parametrize("k", [1, 3, 7])
def test_balanced_accuracy_is_that_of_scikit_learn(k: int) -> None:
    vectors, labels = clouds(0)
    classifier = KNeighborsClassifier(k, metric="cosine")
    predicted = cross_val_predict(classifier, vectors, labels, cv=LeaveOneOut())
    ours = knn_balanced_accuracy(vectors, labels, k=k)
    # Ties are broken by nearness here and by name there; for one neighbour there are none.
    assert ours == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12 if k == 1 else 0.05)


def test_classes_count_the_same_and_groups_are_left_out_as_in_scikit_learn() -> None:
    vectors, labels = clouds(5, images=90)
    rare = np.concatenate([np.flatnonzero(labels == "a")[:6], np.flatnonzero(labels != "a")])
    vectors, labels = vectors[rare], labels[rare]
    groups = np.arange(len(labels)) // 3
    classifier = KNeighborsClassifier(1, metric="cosine")
    predicted = cross_val_predict(classifier, vectors, labels, cv=LeaveOneGroupOut(), groups=groups)
    assert knn_balanced_accuracy(vectors, labels, groups, k=1) == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )


def test_neighbours_of_the_same_group_do_not_vote() -> None:
    """Two copies of every image, one patient each pair: without groups the copy gives it away."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(30, 8)), 2, axis=0)
    labels = np.repeat(rng.integers(0, 2, 30), 2)
    patients = np.repeat(np.arange(30), 2)
    assert knn_balanced_accuracy(vectors, labels, k=1) == 1
    assert knn_balanced_accuracy(vectors, labels, patients, k=1) < 0.8


@pytest.mark.parametrize(("images", "classes"), [(20, 2), (20, 4), (22, 11), (40, 2), (100, 10)])
def test_at_few_labels_an_images_own_class_is_not_outvoted(images: int, classes: int) -> None:
    """Of twenty labels of two classes nineteen would vote, ten of them of the other class: always wrong."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    vectors = np.eye(classes)[labels] + rng.normal(size=(images, classes)) * 0.02
    assert knn_balanced_accuracy(vectors, labels) == 1
    told_nothing = [knn_balanced_accuracy(rng.normal(size=(images, 8)), labels) for _ in range(40)]
    chance = (images / classes - 1) / (images - 1)  # of others, one is of the image's own class so often
    assert np.mean(told_nothing) == pytest.approx(chance, rel=0.25)


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_images_without_a_group_are_no_kin(nothing: object) -> None:
    vectors, labels = clouds(1)
    groups = np.array([nothing] * len(labels), dtype=object)
    assert knn_balanced_accuracy(vectors, labels, groups) == knn_balanced_accuracy(vectors, labels)


def test_one_group_only_leaves_nobody_to_vote() -> None:
    vectors, labels = clouds(2)
    assert knn_balanced_accuracy(vectors, labels, np.zeros(len(labels))) == 0


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = clouds(3)
    groups = np.arange(len(labels)) // 4
    whole = knn_balanced_accuracy(vectors, labels, groups)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    assert knn_balanced_accuracy(vectors, labels, groups) == whole


def test_more_voters_than_images_are_as_many_as_there_are() -> None:
    vectors, labels = clouds(4, images=5)
    assert 0 <= knn_balanced_accuracy(vectors, labels, k=100) <= 1
    with pytest.raises(InputError, match="at least 2"):
        knn_balanced_accuracy(vectors[:1], labels[:1])


@pytest.mark.parametrize("exact", [True, False])
def test_nearest_others_are_those_of_brute_force(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 8))
    vectors = (centres[rng.integers(30, size=1500)] + 0.2 * rng.normal(size=(1500, 8))).astype(np.float32)
    monkeypatch.setattr(neighbours, "EXACT", 2000 if exact else 1000)
    rows = nearest_others(vectors, 9)
    between = euclidean_distances(vectors)
    np.fill_diagonal(between, np.inf)
    expected = np.sort(between, axis=1)[:, :9]
    found = np.take_along_axis(between, rows, axis=1)
    assert found.shape == (1500, 9)
    assert (np.diff(found) >= -1e-5).all()
    assert np.mean(np.abs(found - expected) < 1e-3) > (0.9999 if exact else 0.95)


def test_many_equal_vectors_are_neighbours_but_never_of_themselves() -> None:
    rows = nearest_others(np.ones((40, 3)), 5)
    assert rows.shape == (40, 5)
    assert (rows != np.arange(40)[:, None]).all()
    assert nearest_others(np.ones((1, 3)), 5).shape == (1, 0)
