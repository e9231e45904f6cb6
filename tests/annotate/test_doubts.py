from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from hundredfold.annotate.doubts import doubtful


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
