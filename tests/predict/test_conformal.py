"""Sets: those of crepes where it can, brute force where labels are weighted, and what they promise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from crepes import ConformalClassifier
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import norm

from hundredfold.predict.conformal import ENOUGH, KINDS, Sets, bars, strangeness

CENTRES = np.array([-1.5, 0.0, 1.5])
ALIKE = np.full(3, 1 / 3)


def world(random: np.random.Generator, codes: np.ndarray) -> np.ndarray:
    """Probabilities of three classes that overlap, too sure of themselves, as if the classes were alike."""
    values = CENTRES[codes] + random.normal(size=len(codes))
    return softmax(3 * norm.logpdf(values[:, None] - CENTRES), axis=1)


def labels(seed: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    codes = np.repeat(np.arange(3), sizes)
    return world(np.random.default_rng(seed), codes), codes


def ratios(said: np.ndarray) -> np.ndarray:
    """How many times as probable the most probable other class is, one by one."""
    return np.array([
        [max(p for place, p in enumerate(row) if place != number) / own for number, own in enumerate(row)]
        for row in said
    ])


def of_labels(said: np.ndarray, codes: np.ndarray) -> np.ndarray:
    return ratios(said)[np.arange(len(codes)), codes]


def at_shares(alike: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return alike * shares / (alike * shares).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("sizes", [(30, 30, 30), (60, 9, 31)])
def test_sets_are_those_of_crepes_where_the_labels_are_as_the_images(
    coverage: float, sizes: tuple[int, ...]
) -> None:
    known, codes = labels(0, sizes)
    new, _ = labels(1, (200, 200, 200))
    oracle = ConformalClassifier().fit(of_labels(known, codes), seed=0)
    expected = oracle.predict_set(ratios(new), confidence=coverage, smoothing=False).astype(bool)
    found = Sets.fit(known, codes, coverage, shares=np.array(sizes) / sum(sizes))
    expected |= new == new.max(axis=1, keepdims=True)  # ours are never empty
    np.testing.assert_array_equal(found.members(new), expected)


def test_the_labels_that_make_the_bar_are_within_it_however_ratios_are_rounded() -> None:
    """Nine labels at .9: the bar is the strangest of them, so all nine are in their sets."""
    random = np.random.default_rng(0)
    for _ in range(200):
        known, codes = random.dirichlet(np.ones(4), 9), random.integers(0, 4, 9)
        found = Sets.fit(known, codes, 0.9, shares=np.bincount(codes, minlength=4) / 9)
        assert found.members(known)[np.arange(9), codes].all()


@pytest.mark.parametrize("coverage", [0.6, 0.8, 0.9])
def test_class_wise_sets_are_those_of_crepes(coverage: float) -> None:
    known, codes = labels(0, (40, 25, 31))
    new, _ = labels(1, (200, 200, 200))
    oracle = ConformalClassifier().fit(of_labels(known, codes), bins=codes, seed=0)
    bins = np.tile(np.arange(3), (len(new), 1))
    expected = np.stack([
        oracle.predict_set(ratios(new), bins=bins[:, number], confidence=coverage, smoothing=False)[:, number]
        for number in range(3)
    ], axis=1).astype(bool)
    expected |= new == new.max(axis=1, keepdims=True)
    for shares in (ALIKE, np.array([0.9, 0.05, 0.05])):  # whatever they are
        found = Sets.fit(known, codes, coverage, "class-wise", shares)
        np.testing.assert_array_equal(found.members(new), expected)


def test_strangeness_is_the_ratio_and_infinite_for_the_impossible() -> None:
    known, _ = labels(0, (20, 20, 20))
    np.testing.assert_allclose(strangeness(known), ratios(known))
    assert strangeness(np.array([[0.5, 0.5, 0.0]])).tolist() == [[1.0, 1.0, np.inf]]


@given(st.data())
def test_weighted_bars_are_those_of_brute_force(data: st.DataObject) -> None:
    """A class is in the set unless the labels less strange make up the coverage (Podkopaev & Ramdas 2021)."""
    count = data.draw(st.integers(1, 4))
    codes = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=30)))
    scores = np.array(data.draw(st.lists(
        st.integers(-20, 20), min_size=len(codes), max_size=len(codes)
    ))) / 20
    shares = np.array(data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count)), float)
    there = np.isin(np.arange(count), codes)
    shares /= shares[there].sum()
    coverage = data.draw(st.integers(1, 19)) / 20
    found = bars(scores, codes, shares, coverage)
    for number in range(count):
        if not there[number]:
            assert found[number] == np.inf
            continue
        weights = shares[codes] / np.bincount(codes, minlength=count)[codes]
        own = shares[number] / (codes == number).sum()
        for asked in np.arange(-21, 22) / 20:
            less = weights[scores < asked].sum() / (weights.sum() + own)
            assert (asked <= found[number]) == (less < coverage - 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_coverage_never_takes_a_class_out_and_no_set_is_empty(kind: str) -> None:
    known, codes = labels(0, (60, 60, 60))
    new, _ = labels(1, (300, 300, 300))
    before = new == new.max(axis=1, keepdims=True)
    for coverage in (0.3, 0.7, 0.8, 0.9, 0.95):
        held = Sets.fit(known, codes, coverage, kind).members(new)
        assert (held >= before).all()
        before = held
    assert before.sum(axis=1).max() > 1


def test_the_promise_is_kept_on_average_and_spreads_as_theory_says() -> None:
    """Over many draws: (m + 1)·coverage rounded up of m + 1 (Vovk 2012: a beta distribution)."""
    random, found = np.random.default_rng(0), []
    for _ in range(400):
        codes = random.choice(3, 2049, p=(0.6, 0.3, 0.1))
        said = world(random, codes)
        sets = Sets.fit(said[:49], codes[:49], 0.8, shares=np.bincount(codes[:49], minlength=3) / 49)
        found.append(sets.members(said[49:])[np.arange(2000), codes[49:]].mean())
    assert np.mean(found) == pytest.approx(0.8, abs=0.01)
    assert np.std(found) == pytest.approx(np.sqrt(0.8 * 0.2 / 51), rel=0.15)


@pytest.mark.parametrize("each", [7, 30])
def test_equal_labels_of_unequal_classes_are_weighted(each: int) -> None:
    """As many labels of each class, nine tenths of the images of one: unweighted sets would fail."""
    there, random = np.array([0.02, 0.9, 0.08]), np.random.default_rng(1)
    weighted, plain = [], []
    for _ in range(300):
        codes = np.concatenate([np.repeat(np.arange(3), each), random.choice(3, 1000, p=there)])
        said = at_shares(world(random, codes), there)
        known, new, truth = said[: 3 * each], said[3 * each :], codes[3 * each :]
        for shares, into in ((there, weighted), (ALIKE, plain)):
            sets = Sets.fit(known, codes[: 3 * each], 0.8, shares=shares)
            into.append(sets.members(new)[np.arange(1000), truth].mean())
    assert 0.79 < np.mean(weighted) < 0.8 + 0.9 / each + 0.015
    assert abs(np.mean(plain) - 0.8) > 0.1


def test_class_wise_sets_keep_the_promise_in_a_rare_class_which_marginal_ones_do_not() -> None:
    there, random = np.array([0.02, 0.9, 0.08]), np.random.default_rng(1)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(100):
        codes = np.concatenate([np.repeat(np.arange(3), 40), np.zeros(300, dtype=int)])
        said = at_shares(world(random, codes), there)
        for kind in KINDS:
            sets = Sets.fit(said[:120], codes[:120], 0.9, kind, there)
            found[kind].append(sets.members(said[120:])[:, 0].mean())
    assert np.mean(found["class-wise"]) == pytest.approx(0.9, abs=0.025)
    assert np.mean(found["marginal"]) < 0.6


def test_a_class_of_too_few_labels_has_the_bar_of_all_and_no_promise_of_its_own() -> None:
    known, codes = labels(0, (40, 40, ENOUGH - 1))
    plain, own = (Sets.fit(known, codes, 0.9, kind) for kind in KINDS)
    assert own.promised.tolist() == [True, True, False]
    assert own.bars[2] == plain.bars[2]
    assert own.bars[:2] != plain.bars[:2]
    assert not Sets.fit(known, codes, 0.98).promised.any()  # 40 labels cannot tell one in fifty


def test_too_few_labels_make_no_sets() -> None:
    known, codes = labels(0, (3, 3, 3))
    assert Sets.fit(known, codes, 0.9) is not None
    assert Sets.fit(known[:-1], codes[:-1], 0.9, shares=np.bincount(codes[:-1]) / 8) is None
    known[0] = np.nan  # could not be held out
    assert Sets.fit(known, codes, 0.9, shares=np.array([2, 3, 3]) / 8) is None
    assert Sets.fit(known, codes, 0.95) is None


def test_a_class_that_labels_cannot_rule_out_is_in_every_set() -> None:
    known, codes = labels(0, (3, 40, 40))
    found = Sets.fit(known, codes, 0.9, shares=np.array([0.9, 0.05, 0.05]))
    assert found.bars[0] == 0
    assert found.members(labels(1, (50, 50, 50))[0])[:, 0].all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_round_trip_through_json_changes_nothing(kind: str) -> None:
    known, codes = labels(0, (30, 30, 5))
    found = Sets.fit(known, codes, 0.9, kind)
    assert Sets.of(json.loads(json.dumps(found.facts))) == found
