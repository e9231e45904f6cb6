from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hundredfold.annotate.doubts import doubtful
from hundredfold.annotate.proposals import guess
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.learn.classifiers import make_pipeline


def test_planted_errors_are_found_and_little_else() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 3
    vectors = (np.eye(3)[truth] + 0.25 * rng.standard_normal((300, 3))).astype(np.float32)
    wrong = rng.permutation(300)[:15]
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    found = doubtful(LogisticRegression(), vectors, np.array([*"abc"])[labels])
    rows = [doubt.row for doubt in found]
    assert len(set(rows) & set(wrong)) >= 13
    assert len(set(rows) - set(wrong)) <= 5
    named = {doubt.row: doubt.label for doubt in found}
    assert all(named[row] == "abc"[truth[row]] for row in rows if row in wrong)


def test_an_image_is_not_judged_by_others_of_its_patient() -> None:
    """A patient whose images are all labelled wrongly alike, and who is unlike no one else, is found."""
    rng = np.random.default_rng(1)
    truth = np.arange(200) % 2
    groups = np.array([f"patient {number // 4}" for number in range(200)], dtype=object)
    own = rng.standard_normal((50, 8))[np.arange(200) // 4]  # what images of one patient share
    vectors = np.hstack([4 * np.eye(2)[truth], 2 * own]).astype(np.float32)
    labels = np.array(["cat", "dog"])[truth]
    one = np.flatnonzero(groups == "patient 7")
    labels[one] = np.array(["dog", "cat"])[truth[one]]
    found = {doubt.row for doubt in doubtful(LogisticRegression(C=100), vectors, labels, groups)}
    assert set(one) <= found


def test_a_class_of_one_patient_is_not_doubted_for_want_of_others() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2], [60, 60, 8])
    groups = np.array([f"patient {number // 4}" for number in range(120)] + ["rare"] * 8, dtype=object)
    vectors = (4 * np.eye(3)[truth] + 0.5 * rng.standard_normal((128, 3))).astype(np.float32)
    labels = np.array(["cat", "dog", "rare"])[truth]
    labels[5] = "dog"
    found = [doubt.row for doubt in doubtful(LogisticRegression(), vectors, labels, groups)]
    assert found == [5]


@pytest.mark.parametrize(("patients", "found"), [(3, [5]), (1, [])])
def test_few_patients_are_no_fault(patients: int, found: list[int]) -> None:
    """Fewer than there are folds: a fault there would leave the page without any proposal."""
    rng = np.random.default_rng(2)
    truth, groups = np.arange(60) % 2, np.array([f"patient {n % patients}" for n in range(60)], dtype=object)
    vectors = (4 * np.eye(2)[truth] + 0.5 * rng.standard_normal((60, 2))).astype(np.float32)
    labels = np.array(["cat", "dog"])[truth]
    labels[5] = "cat"
    assert [doubt.row for doubt in doubtful(LogisticRegression(), vectors, labels, groups)] == found


def test_a_class_for_each_patient_is_no_fault() -> None:
    labels = np.repeat(["cat", "dog", "cat"], 10)
    vectors = np.random.default_rng(2).standard_normal((30, 2)).astype(np.float32)
    for groups in (labels, np.repeat(["a", "b", "c"], 10)):  # all others of "dog" are of its own patient
        assert doubtful(LogisticRegression(), vectors, labels, groups) == []


def test_a_copy_does_not_vouch_for_the_label_of_its_original(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truth, own = np.arange(160) % 2, 1.5 * rng.standard_normal((160, 12))
    own[1::40], truth[1::40] = own[::40], truth[::40]  # four images and a near-copy of each
    vectors = np.hstack([4 * np.eye(2)[truth], own]).astype(np.float32)
    ids = [f"{number:03d}" for number in range(160)]
    cluster = [f"pair {number // 40}" if number % 40 < 2 else None for number in range(160)]
    images = ImageTable.of({"id": ids, "cluster": cluster})
    facts = {"name": "twins", "hash": "0" * 64, "dimension": 14}
    Embeddings(images.ids, vectors, facts, images).write(tmp_path / "twins")
    twins = {name for name, pair in zip(ids, cluster, strict=True) if pair}
    labels = {
        name: ("ba" if name in twins else "ab")[kind] for name, kind in zip(ids, truth, strict=True)
    }
    assert {image for image, *_ in guess(tmp_path / "twins", labels).suspects} == twins


def test_one_wild_feature_makes_nobody_certain(tmp_path: Path) -> None:
    """An image of one class, but for one of 60 features that is far beyond those of the labelled ones."""
    rng = np.random.default_rng(0)
    truth = np.arange(61) % 2
    vectors = rng.standard_normal((61, 60)) + 0.8 * np.eye(2)[truth].repeat(30, axis=1)
    vectors[:, 45] = 1 - rng.exponential(0.2, 61) + 0.2 * truth  # skewed to the left: a high power
    vectors[60, 45] = 8
    images = ImageTable.of({"id": [f"{number:02d}" for number in range(61)]})
    facts = {"name": "wild", "hash": "0" * 64, "dimension": 60}
    Embeddings(images.ids, vectors.astype(np.float32), facts, images).write(tmp_path / "wild")
    labels = {f"{number:02d}": "ab"[truth[number]] for number in range(60)}
    found = guess(tmp_path / "wild", labels)
    assert found.classes[found.best[60]] == "a" == "ab"[truth[60]]
    plain = make_pipeline("logistic", samples=60, features=60, classes=2)
    plain.fit(vectors[:60], np.array([*labels.values()]))
    assert plain.predict_proba(vectors[60:]).max() > 0.99  # what it is there for
    assert plain.predict(vectors[60:])[0] == "b"
