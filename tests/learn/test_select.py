"""Strategies: what each must do by definition, by brute force; labels count; outliers are named."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from hundredfold.config import SuggestSettings
from hundredfold.errors import SettingsError
from hundredfold.learn.select.clusters import clustered, typiclust
from hundredfold.learn.select.explore import explore
from hundredfold.learn.select.margin import margin, shares
from hundredfold.learn.select.pool import Pool
from hundredfold.learn.select.strategies import DEFAULT, STRATEGIES, select

SIZES = (60, 30, 10)


def world(sizes: Sequence[int] = SIZES, *, strays: int = 0, seed: int = 0) -> np.ndarray:
    """Tight clouds of these sizes, then single images far from all."""
    rng = np.random.default_rng(seed)
    clouds = [9 * np.eye(12)[number] + rng.normal(size=(size, 12)) for number, size in enumerate(sizes)]
    return np.concatenate([*clouds, -60 * np.eye(12)[11 - np.arange(strays)]]).astype(np.float32)


def cloud_of(rows: np.ndarray, sizes: Sequence[int] = SIZES) -> list[int]:
    return np.searchsorted(np.cumsum(sizes), rows, side="right").tolist()


def labels_of(rows: Sequence[int], total: int = sum(SIZES)) -> list[str | None]:
    labels: list[str | None] = [None] * total
    for row in rows:
        labels[row] = "abc"[cloud_of(np.array([row]))[0]]
    return labels


@pytest.mark.parametrize("name", list(STRATEGIES))
@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_every_strategy_gives_each_unlabelled_row_at_most_once_with_a_reason(name: str, budget: int) -> None:
    labels = labels_of([0, 1, 61, 62])
    chosen = select(world(), budget, labels=labels, strategy=name)
    rows = np.concatenate([chosen.suggested.rows, chosen.outliers.rows])
    assert len(set(rows)) == len(rows)
    assert not set(rows) & {0, 1, 61, 62}
    assert len(chosen.suggested.rows) == len(chosen.suggested.reasons) >= min(budget, 90)
    assert all(len(reason) > 9 for reason in chosen.suggested.reasons)
    again = select(world(), budget, labels=labels, strategy=name)
    np.testing.assert_array_equal(again.suggested.rows, chosen.suggested.rows)


@pytest.mark.parametrize("name", ["typiclust", "kmeans", "explore", "mixture"])
def test_each_cloud_is_seen_by_as_many_images(name: str) -> None:
    assert sorted(cloud_of(select(world(), 3, strategy=name).suggested.rows)) == [0, 1, 2]


@pytest.mark.parametrize("name", ["typiclust", "kmeans", "explore"])
def test_what_is_labelled_is_not_sought_again(name: str) -> None:
    chosen = select(world(), 1, labels=labels_of([5, 70]), strategy=name).suggested.rows
    assert cloud_of(chosen) == [2]


def test_the_largest_cluster_comes_first_and_its_size_is_told() -> None:
    suggested = select(world(), 3, strategy="typiclust").suggested
    assert cloud_of(suggested.rows) == [0, 1, 2]
    assert suggested.reasons == tuple(f"typical of {size} unlabelled images" for size in SIZES)
    labelled = select(world(), 2, labels=labels_of([0]), strategy="typiclust").suggested
    assert labelled.reasons == ("typical of 30 unlabelled images", "typical of 10 unlabelled images")


def test_spread_is_the_distance_to_the_nearest_by_brute_force() -> None:
    pool = Pool.of(world())
    distances = np.sort(cosine_distances(world()), axis=1)[:, 1:21].mean(axis=1)
    # The neighbours are sought among components about the mean, so now and then one is not the very nearest.
    assert (pool.spread >= distances - 1e-5).all()
    assert np.mean(pool.spread / distances) < 1.05
    assert typiclust(pool, 3).rows[0] == np.argmin(pool.spread[:60])


def test_components_keep_the_angles_about_the_mean() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 200)) + 3
    reduced = Pool.of(vectors).vectors
    assert reduced.shape == (50, 64)
    expected = cosine_distances(vectors - vectors.mean(axis=0))
    np.testing.assert_allclose(euclidean_distances(reduced, squared=True) / 2, expected, atol=1e-4)


def test_clusters_are_as_good_as_those_of_scikit_learn() -> None:
    pool = Pool.of(world((30, 30, 30, 30)))
    ours = clustered(pool.vectors, 4, seed=0)[0]
    theirs = KMeans(4, n_init=3, random_state=0).fit_predict(pool.vectors)
    assert silhouette_score(pool.vectors, ours) >= 0.95 * silhouette_score(pool.vectors, theirs)


@given(seed=st.integers(0, 999), labelled=st.integers(0, 9), budget=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_explore_is_farthest_first_by_brute_force(seed: int, labelled: int, budget: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(40, 6))
    labels = ["x" if row < labelled else None for row in range(40)]
    pool = Pool.of(vectors, labels, seed=seed)
    distances, free = euclidean_distances(pool.vectors), set(pool.free.tolist())
    covered = list(range(labelled))
    for row in explore(pool, budget).rows.tolist():
        gaps = {other: distances[other, covered].min() for other in free} if covered else {}
        if gaps:
            assert distances[row, covered].min() == pytest.approx(max(gaps.values()), abs=1e-5)
        covered.append(row)
        free.remove(row)


def test_margin_seeks_the_border_between_two_classes() -> None:
    between = 4.5 * (np.eye(12)[0] + np.eye(12)[1]) + np.random.default_rng(1).normal(size=(60, 12))
    vectors = np.concatenate([world((60, 40)), between])
    labels = ["a" if row < 8 else "b" if 60 <= row < 68 else None for row in range(160)]
    assert (select(vectors, 4, labels=labels, strategy="margin").suggested.rows >= 100).all()


def test_margin_names_no_class_to_the_reader() -> None:
    labels = labels_of([0, 1, 61, 62])
    reasons = select(world(), 9, labels=labels, strategy="margin").suggested.reasons
    why = r"(hard to tell so far|of what is left .*): its two likeliest classes are \d\.\d\d apart"
    assert all(re.fullmatch(why, reason) for reason in reasons)


def test_margin_without_two_classes_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match="Label a first round"):
        margin(Pool.of(world(), labels_of([0, 1])), 5)


@given(
    have=st.lists(st.integers(0, 30), min_size=1, max_size=6), more=st.integers(0, 60), data=st.data()
)
def test_shares_level_what_classes_have(have: list[int], more: int, data: st.DataObject) -> None:
    most = data.draw(st.lists(st.integers(0, 30), min_size=len(have), max_size=len(have)))
    given_out = shares(np.array(have), np.array(most), more)
    assert given_out.sum() == min(more, sum(most))
    assert (given_out <= most).all()
    after = np.array(have) + given_out
    # No class could give one to another that has two fewer: the shares are as level as they can be.
    for giver in np.flatnonzero(given_out):
        for taker in np.flatnonzero(given_out < most):
            assert after[giver] - after[taker] <= 1


def test_a_rare_class_gets_its_share() -> None:
    labels = labels_of([*range(20), 60, 61, 90, 91])
    rows = select(world(), 8, labels=labels, strategy="margin").suggested.rows
    assert cloud_of(rows).count(0) == 0


def test_what_is_of_no_use_is_not_sought_again() -> None:
    labels = [{"c": "junk"}.get(label or "", label) for label in labels_of([0, 1, 61, 62, 91, 92])]
    chosen = select(world(), 20, labels=labels, useless="junk", strategy="margin").suggested.rows
    assert 2 not in cloud_of(chosen)
    assert Pool.of(world(), labels, useless="junk").classes == ("a", "b")


@pytest.mark.parametrize("name", ["typiclust", "kmeans", "explore", "mixture"])
def test_outliers_are_set_apart_and_none_is_lost(name: str) -> None:
    vectors = world(strays=3)
    chosen = select(vectors, 1000, strategy=name)
    assert {100, 101, 102} <= set(chosen.outliers.rows.tolist())
    assert len(chosen.outliers.rows) <= 5
    assert sorted([*chosen.suggested.rows, *chosen.outliers.rows]) == list(range(103))
    frame = chosen.frame(np.array([f"{row}.png" for row in range(103)], dtype=object))
    assert frame["image"].is_unique
    assert frame[frame["kind"] == "outlier"]["reason"].str.contains("times as far from its neighbours").all()
    assert frame.groupby("kind")["rank"].apply(list).map(lambda ranks: ranks == sorted(ranks)).all()


def test_a_small_class_is_no_outlier() -> None:
    assert not Pool.of(world((200, 100, 12))).outlier[300:].any()


@pytest.mark.parametrize("name", ["typiclust", "kmeans", "explore", "mixture"])
def test_many_copies_of_one_image_make_no_outliers_of_the_others(name: str) -> None:
    vectors = np.concatenate([world(), np.repeat(world()[:1], 400, axis=0)])
    chosen = select(vectors, 12, strategy=name)
    assert len(chosen.outliers.rows) <= 5
    assert len(np.unique(vectors[chosen.suggested.rows], axis=0)) == 12


def test_an_outlier_that_is_labelled_is_not_listed_again() -> None:
    labels = [*labels_of([0]), "a", None]
    assert select(world(strays=2), 2, labels=labels, strategy="kmeans").outliers.rows.tolist()[:1] == [101]


@pytest.mark.parametrize("copies", [2, 3, 50])
def test_equal_vectors_are_no_fault(copies: int) -> None:
    chosen = select(np.ones((copies, 4)), 5)
    assert len(chosen.suggested.rows) == min(5, copies)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_vectors_that_are_scaled_change_nothing(name: str) -> None:
    labels = labels_of([0, 1, 61, 62])
    plain, other = (select(v, 6, labels=labels, strategy=name) for v in (world(), 8 * world()))
    np.testing.assert_array_equal(plain.suggested.rows, other.suggested.rows)


def test_the_default_is_one_and_is_what_the_verb_takes() -> None:
    assert SuggestSettings.model_fields["strategy"].default == DEFAULT
    assert DEFAULT in STRATEGIES


def test_what_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'typiclust'"):
        select(world(), 3, strategy="typiclus")
    with pytest.raises(SettingsError, match="at least one image"):
        select(world(), 0)
    with pytest.raises(SettingsError, match="two images or more"):
        select(np.ones((1, 4)), 3)
    with pytest.raises(SettingsError, match="100 labels"):
        select(world(), 3, labels=["a"])
