"""Metrics against scikit-learn, the bootstrap against a plain restatement image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score

from hundredfold.metrics import (
    MIN_GROUPS,
    WITHOUT_TINY,
    Resamples,
    auroc,
    balanced_accuracy,
    confusion,
    group_codes,
    interval_width,
    macro_f1,
    measure,
    recalls,
)

CLASSES = 4


def one_against_rest(truth: np.ndarray, scores: np.ndarray) -> float:
    """AUROC by scikit-learn, averaged over the classes that are there."""
    areas = [roc_auc_score(truth == number, scores[:, number]) for number in np.unique(truth)]
    return float(np.mean(areas))


def sample(seed: int, images: int = 60, repeats: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, predictions and coarse scores (with ties) of a mediocre classifier."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(CLASSES), random.integers(CLASSES, size=images - CLASSES)])
    scores = np.round(random.normal(size=(repeats, images, CLASSES)) + np.eye(CLASSES)[truth], 1)
    return truth, scores.argmax(axis=2), scores


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_every_metric_equals_scikit_learn(seed: int) -> None:
    truth, predicted, scores = sample(seed, images=25, repeats=1)
    assert confusion(truth, predicted[0], CLASSES).tolist() == confusion_matrix(truth, predicted[0]).tolist()
    assert balanced_accuracy(truth, predicted[0], CLASSES) == pytest.approx(
        balanced_accuracy_score(truth, predicted[0])
    )
    assert macro_f1(truth, predicted[0], CLASSES) == pytest.approx(
        f1_score(truth, predicted[0], average="macro")
    )
    assert auroc(truth, scores[0]) == pytest.approx(one_against_rest(truth, scores[0]))


def test_classes_without_test_images_are_in_no_average() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert np.isnan(recalls(truth, predicted, 3)[2])
    assert balanced_accuracy(truth, predicted, 3) == 0.75
    assert macro_f1(truth, predicted, 3) == pytest.approx(
        f1_score(truth, predicted, labels=[0, 1], average="macro")
    )


def test_a_class_that_no_score_tells_apart_has_half_the_area() -> None:
    assert auroc([0, 0, 1, 1], np.zeros((4, 2))) == 0.5


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_images_does_not_matter(seed: int) -> None:
    truth, predicted, scores = sample(seed, repeats=2)
    groups = np.arange(len(truth)) % 12
    order = np.random.default_rng(seed).permutation(len(truth))
    resamples = Resamples.draw(groups, 2, 50, seed)
    moved = Resamples(groups[order], resamples.group_counts, resamples.repeat_counts)
    before = measure(truth, predicted, scores, resamples)
    after = measure(truth[order], predicted[:, order], scores[:, order], moved)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(
            [*one.values, one.low, one.high], [*other.values, other.low, other.high], atol=1e-12
        )


def test_the_intervals_equal_a_plain_bootstrap_image_by_image() -> None:
    truth, predicted, scores = sample(seed=3, images=60)
    groups = np.random.default_rng(1).integers(14, size=len(truth))
    groups[:14] = np.arange(14)
    resamples = Resamples.draw(groups, repeats=3, count=20, seed=5)

    def value(metric: str, rows: np.ndarray, repeat: int) -> float:
        if metric == "auroc":
            return one_against_rest(truth[rows], scores[repeat, rows])
        if metric == "balanced_accuracy":
            return float(balanced_accuracy_score(truth[rows], predicted[repeat, rows]))
        there = np.unique(truth[rows])
        return float(f1_score(truth[rows], predicted[repeat, rows], labels=there, average="macro"))

    for metric in ("balanced_accuracy", "macro_f1", "auroc"):
        means = []
        for counts, draws in zip(resamples.group_counts, resamples.repeat_counts, strict=True):
            drawn = np.repeat(np.arange(14), counts.astype(int))
            rows = np.concatenate([np.flatnonzero(groups == group) for group in drawn])
            repeats = np.repeat(np.arange(3), draws.astype(int))
            means.append(np.mean([value(metric, rows, repeat) for repeat in repeats]))
        found = next(m for m in measure(truth, predicted, scores, resamples) if m.metric == metric)
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-6)


def test_resamples_draw_as_many_groups_and_repeats_as_there_are() -> None:
    resamples = Resamples.draw([0, 0, 1, 2, 2], repeats=4, count=30, seed=0)
    assert set(resamples.group_counts.sum(axis=1)) == {3}
    assert set(resamples.repeat_counts.sum(axis=1)) == {4}
    assert (resamples.weights[0] == resamples.weights[1]).all()  # images of one group are drawn together


def test_every_method_gets_the_same_resamples_and_another_seed_others() -> None:
    first, second, third = (Resamples.draw(np.arange(30), 5, 20, seed) for seed in (0, 0, 1))
    assert (first.group_counts == second.group_counts).all()
    assert (first.group_counts != third.group_counts).any()


def test_fewer_than_ten_groups_give_no_interval() -> None:
    truth, predicted, scores = sample(seed=0)
    for count, known in ((MIN_GROUPS - 1, False), (MIN_GROUPS, True)):
        resamples = Resamples.draw(np.arange(len(truth)) % count, 3, 50, seed=0)
        found = measure(truth, predicted, scores, resamples)[0]
        assert np.isfinite([found.low, found.high]).all() == known
        assert np.isfinite(found.values).all()


def test_the_recall_of_a_class_needs_ten_groups_with_that_class() -> None:
    truth = np.array([0] * 30 + [1] * 9)
    predicted = np.zeros((1, 39), dtype=int)
    scores = np.eye(2)[predicted]
    resamples = Resamples.draw(np.arange(39), 1, 50, seed=0)
    found = measure(truth, predicted, scores, resamples)
    by_class = {m.class_number: m for m in found if m.metric == "recall"}
    assert np.isfinite(by_class[0].low)
    assert np.isnan(by_class[1].low)
    assert (by_class[0].n_test, by_class[1].n_test) == (30, 9)


def test_patients_who_are_all_right_or_all_wrong_widen_the_interval() -> None:
    truth = np.tile([0, 1], 120)
    groups = np.repeat(np.arange(12), 20)
    predicted = np.where(groups % 3 == 0, 1 - truth, truth)[None]
    scores = np.eye(2)[predicted]

    def width(group: np.ndarray) -> float:
        found = measure(truth, predicted, scores, Resamples.draw(group, 1, 400, seed=0))[0]
        return found.high - found.low

    assert width(groups) > 2 * width(np.arange(240))


def test_other_labels_widen_the_interval() -> None:
    truth = np.tile([0, 1], 100)
    good, bad = truth, np.where(np.arange(200) % 2, 0, truth)
    steady, shaky = np.stack([good, good]), np.stack([good, bad])
    resamples = Resamples.draw(np.arange(200), 2, 300, seed=0)
    found = [measure(truth, rows, np.eye(2)[rows], resamples)[0] for rows in (steady, shaky)]
    assert found[0].high - found[0].low < 0.02
    assert found[1].high - found[1].low > 0.4


def test_images_without_a_group_are_groups_of_their_own() -> None:
    assert group_codes(None, 3).tolist() == [0, 1, 2]
    assert group_codes(["p", float("nan"), "p", None, "q"], 5).tolist() == [0, 1, 0, 2, 3]
    assert len(set(group_codes(["1", None], 2))) == 2  # a group named like a position


def test_classes_of_fewer_than_ten_test_images_are_left_out_of_a_second_figure() -> None:
    truth = np.array([0] * 12 + [1] * 10 + [2] * 9)
    predicted = np.stack([np.where(np.arange(31) % 4 == 0, (truth + 1) % 3, truth)] * 2)
    scores, drawn = np.eye(3)[predicted], Resamples.draw(np.arange(31), 2, 50, seed=0)
    found = {m.metric: m for m in measure(truth, predicted, scores, drawn)}
    larger = truth < 2
    expected = np.mean([recalls(truth[larger], predicted[0][larger], 3)[number] for number in (0, 1)])
    np.testing.assert_allclose(found[WITHOUT_TINY].values, [expected, expected])
    assert found[WITHOUT_TINY].n_test == 22
    assert found[WITHOUT_TINY].low < expected < found[WITHOUT_TINY].high
    # where it would be the same, or of nothing, it is not there
    for kept in (larger, truth == 2):
        few = measure(truth[kept], predicted[:, kept], scores[:, kept], None)
        assert WITHOUT_TINY not in {m.metric for m in few}


def test_the_width_with_twice_the_groups_is_that_of_drawing_twice_as_many() -> None:
    """Against copying out the images of 2 g drawn groups, one after the other."""
    truth, predicted, _ = sample(seed=6, images=60)
    group = np.arange(60) // 3
    drawn = Resamples.draw(group, 3, 30, seed=0, times=2)
    assert set(drawn.group_counts.sum(axis=1)) == {40}
    means = []
    for counts, repeats in zip(drawn.group_counts, drawn.repeat_counts, strict=True):
        groups = np.repeat(np.arange(20), counts.astype(int))
        rows = np.concatenate([np.flatnonzero(group == one) for one in groups])
        chosen = np.repeat(np.arange(3), repeats.astype(int))
        means.append(np.mean([balanced_accuracy_score(truth[rows], predicted[r][rows]) for r in chosen]))
    low, high = np.percentile(means, [2.5, 97.5])
    assert interval_width(truth, predicted, CLASSES, drawn) == pytest.approx(high - low)


def test_twice_the_groups_promise_the_width_that_twice_the_groups_have() -> None:
    """A test set really drawn twice as large from the same population has about the promised width."""
    random = np.random.default_rng(0)

    def world(groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group = np.repeat(np.arange(groups), 4)
        truth = np.tile([0, 1], 2 * groups)
        skill = random.beta(4, 1.5, groups)[group]  # patients are not all equally hard
        return group, truth, np.where(random.random(4 * groups) < skill, truth, 1 - truth)[None]

    group, truth, predicted = world(80)
    promised = interval_width(truth, predicted, 2, Resamples.draw(group, 1, 1000, seed=0, times=2))
    now = interval_width(truth, predicted, 2, Resamples.draw(group, 1, 1000, seed=0))
    larger = []
    for _ in range(12):
        group, truth, predicted = world(160)
        larger.append(interval_width(truth, predicted, 2, Resamples.draw(group, 1, 500, seed=0)))
    assert promised == pytest.approx(np.mean(larger), rel=0.15)
    assert promised == pytest.approx(now / np.sqrt(2), rel=0.1)
