"""``auto``: the best classifier by held-out groups, never by an image's own group."""

from __future__ import annotations

import numpy as np

from hundredfold.learn.choose import choose_classifier


def patients(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Vectors that name the patient loudly and the class softly; every patient has one class."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(24), 8)
    labels = np.array(["ill", "well"])[patient % 2]
    soft = 1.2 * (patient % 2)[:, None] + random.normal(size=(192, 3))
    loud = 6 * random.normal(size=(24, 6))[patient]
    x = np.concatenate([soft, loud + 0.01 * random.normal(size=(192, 6))], axis=1).astype(np.float32)
    return x, labels, [f"{n:03d}.png" for n in range(192)], [f"patient {n}" for n in patient]


def test_neighbours_from_the_same_patient_do_not_count() -> None:
    x, labels, ids, groups = patients()
    _, by_image = choose_classifier(x, labels, ids=ids, groups=None)
    chosen, by_group = choose_classifier(x, labels, ids=ids, groups=groups)
    assert by_image["knn"] > 0.9
    assert by_group["knn"] < 0.8
    assert by_group[chosen] == max(by_group.values())


def test_the_order_of_images_does_not_matter() -> None:
    x, labels, ids, groups = patients()
    order = np.random.default_rng(1).permutation(len(ids))
    moved = choose_classifier(
        x[order], labels[order], ids=[ids[n] for n in order], groups=[groups[n] for n in order]
    )
    assert moved == choose_classifier(x, labels, ids=ids, groups=groups)


def test_without_folds_the_first_is_taken_untested() -> None:
    x = np.float32([[0], [1]])
    assert choose_classifier(x, ["a", "b"], ids=["1", "2"], groups=None) == ("svm", {})


def test_one_label_of_a_class_is_enough() -> None:
    x, labels, ids, _ = patients()
    few = [0, 1, 2, 3, 4, 5, 6, 7, 9]
    chosen, accuracy = choose_classifier(x[few], labels[few], ids=[ids[n] for n in few], groups=None)
    assert chosen in accuracy
