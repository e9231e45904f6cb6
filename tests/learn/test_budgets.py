"""Draws of labels: nested, complete, by seed, the same whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from hundredfold.errors import LeakError, SettingsError
from hundredfold.learn.budgets import LabelBudgetSplit, draw_labels, group_folds

LABELS = st.lists(st.sampled_from("abc"), min_size=1, max_size=60)


def names(count: int) -> np.ndarray:
    return np.array([f"slide/{number:03d}.png" for number in range(count)], dtype=object)


@given(LABELS, st.integers(1, 30), st.integers(0, 30), st.integers(0, 3), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_draws_are_nested_and_full(labels: list[str], few: int, more: int, repeat: int, seed: int) -> None:
    ids = names(len(labels))
    small, large = (draw_labels(ids, labels, n, repeat=repeat, seed=seed) for n in (few, few + more))
    assert set(small) <= set(large)  # the 10 are among the 25
    for name in set(labels):
        own = [row for row in small if labels[row] == name]
        assert len(own) == min(few, labels.count(name))  # a class with fewer gives all it has
    assert small.tolist() == sorted(set(small.tolist()))


@given(LABELS, st.integers(1, 10), st.integers(0, 5), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_does_not_matter(labels: list[str], budget: int, seed: int, random: object) -> None:
    ids = names(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = draw_labels(ids, labels, budget, seed=seed)
    moved = draw_labels(ids[order], np.array(labels)[order], budget, seed=seed)
    assert set(ids[drawn]) == set(ids[order][moved])


def test_other_classes_and_new_images_of_them_do_not_change_a_draw() -> None:
    ids, labels = names(40), np.repeat(["a", "b"], 20)
    drawn = draw_labels(ids[:20], labels[:20], 5)
    assert set(drawn) == {row for row in draw_labels(ids, labels, 5) if row < 20}


def test_the_draw_is_the_same_on_any_machine() -> None:
    """Written down once: SHA-256 of seed, repeat and id is the same everywhere."""
    assert draw_labels(names(12), ["a"] * 6 + ["b"] * 6, 2, repeat=1, seed=0).tolist() == [0, 4, 9, 10]


def test_seeds_and_repeats_draw_otherwise_and_zero_is_a_seed() -> None:
    ids, labels = names(200), np.repeat(["a", "b"], 100)
    draws = {
        (seed, repeat): tuple(draw_labels(ids, labels, 10, repeat=repeat, seed=seed))
        for seed in (0, 1, 2) for repeat in (0, 1, 2)
    }
    assert len(set(draws.values())) == 9
    assert draws[0, 0] == tuple(draw_labels(ids, labels, 10, repeat=0, seed=0))


def test_every_image_is_drawn_about_equally_often() -> None:
    ids, labels = names(20), ["a"] * 20
    counts = np.zeros(20)
    for seed in range(400):
        counts[draw_labels(ids, labels, 5, seed=seed)] += 1
    assert abs(counts - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize("budget", [0, -3])
def test_a_budget_below_one_is_refused(budget: int) -> None:
    with pytest.raises(SettingsError, match=f"found {budget}"):
        draw_labels(names(2), ["a", "b"], budget)


def rows(split: LabelBudgetSplit, labels: np.ndarray, **given: object) -> list[tuple[int, ...]]:
    return [tuple(train) for train, _ in split.split(labels, labels, **given)]


def test_the_splitter_repeats_itself_with_seed_zero_but_not_without_a_seed() -> None:
    labels = np.repeat(["a", "b"], 50)
    assert rows(LabelBudgetSplit(5, seed=0), labels) == rows(LabelBudgetSplit(5, seed=0), labels)
    assert rows(LabelBudgetSplit(5, seed=None), labels) != rows(LabelBudgetSplit(5, seed=None), labels)
    assert rows(LabelBudgetSplit(5, seed=0), labels) != rows(LabelBudgetSplit(5, seed=None), labels)


def test_the_splitter_tests_on_what_was_not_drawn_and_on_no_group_that_was() -> None:
    labels, groups = np.tile(["a", "b"], 20), np.repeat(np.arange(20), 2)
    for train, test in LabelBudgetSplit(3, repeats=4).split(labels, labels, groups):
        assert len(train) == 6
        assert not set(groups[train]) & set(groups[test])
        assert set(groups[train]) | set(groups[test]) == set(groups)


def test_the_splitter_keeps_a_fixed_test_set() -> None:
    labels = np.tile(["a", "b"], 20)
    held = np.arange(40) >= 30
    for train, test in LabelBudgetSplit(50, repeats=2, test=held).split(labels, labels):
        assert train.tolist() == list(range(30))
        assert test.tolist() == list(range(30, 40))


def test_the_splitter_draws_from_no_group_of_the_fixed_test_set() -> None:
    labels, groups = np.tile(["a", "b"], 20), np.repeat(np.arange(20), 2)
    even = LabelBudgetSplit(2, test=np.arange(40) >= 30)
    for train, test in even.split(labels, labels, groups):
        assert not set(groups[train]) & set(groups[test])
    with pytest.raises(LeakError, match="whole groups in test, found 1 of which"):
        next(LabelBudgetSplit(2, test=np.arange(40) >= 31).split(labels, labels, groups))


def test_scikit_learn_accepts_the_splitter() -> None:
    x = np.concatenate([np.zeros((30, 2)), np.ones((30, 2))])
    labels = np.repeat(["a", "b"], 30)
    scores = cross_val_score(KNeighborsClassifier(1), x, labels, cv=LabelBudgetSplit(2, repeats=3))
    assert scores.tolist() == [1, 1, 1]


def test_the_splitter_needs_labels() -> None:
    with pytest.raises(SettingsError, match="labels y"):
        next(LabelBudgetSplit(2).split(np.zeros(3)))


@given(LABELS, st.integers(2, 5), st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_folds_keep_groups_together(labels: list[str], folds: int, groups: int, seed: int) -> None:
    ids = names(len(labels))
    group = [f"patient {row % groups}" for row in range(len(labels))]
    fold = group_folds(ids, labels, group, folds=folds, seed=seed)
    assert len({(g, f) for g, f in zip(group, fold, strict=True)}) == len(set(group))
    assert ((fold >= 0) & (fold < folds)).all()


def test_folds_of_single_images_are_stratified() -> None:
    labels = np.array(["a"] * 50 + ["b"] * 10)
    fold = group_folds(names(60), labels, None, folds=5)
    assert [np.bincount(fold[labels == name]).tolist() for name in "ab"] == [[10] * 5, [2] * 5]
