"""Drift: its distance against an oracle, its promise on new patients, its sight of shifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from hundredfold.predict.drift import ALARM, FEWEST, Clean, Reference, clean_batches, drift

PARTS = 6


def patients(
    random: np.random.Generator, groups: int, each: int, between: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Images [n,6] that resemble those of their patient, and whose they are [n]."""
    centres = between * random.normal(size=(groups, PARTS))
    return np.repeat(centres, each, axis=0) + random.normal(size=(groups * each, PARTS)), np.repeat(
        np.arange(groups), each
    )


def test_without_patients_the_difference_and_its_covariance_are_those_of_plain_means() -> None:
    random = np.random.default_rng(0)
    known, new = random.normal(size=(80, 3)), random.normal(size=(10, 3))
    reference = Reference(known, np.arange(80))
    left = np.array([4, 7])
    mean = reference.scaled(new).mean(axis=0)
    difference, covariance = reference.compared(mean, 10, 1 / 10, left)
    rest = np.delete(known, left, axis=0)
    inverse = np.linalg.inv(np.cov(rest.T) / 10)
    expected = mahalanobis(new.mean(axis=0), rest.mean(axis=0), inverse)
    assert np.sqrt(difference @ np.linalg.solve(covariance, difference)) == pytest.approx(expected)


def test_the_covariance_is_that_of_means_over_patients() -> None:
    """Against 4,000 batches of 5 new patients with 8 images each."""
    random = np.random.default_rng(1)
    known, pieces = patients(random, 2000, 8)
    reference = Reference(known, pieces)
    nobody = np.empty(0, dtype=np.int64)
    covariance = reference.compared(np.zeros(PARTS), 40, 1 / 5, nobody)[1] * reference.scale**2
    means = patients(random, 4000 * 5, 8)[0].reshape(4000, 40, PARTS).mean(axis=1)
    np.testing.assert_allclose(np.diag(covariance), means.var(axis=0), rtol=0.12)


def test_a_new_patient_is_no_alarm_where_a_test_that_knows_no_patients_mostly_alarms() -> None:
    alarms: dict[str, list[bool]] = {"patients": [], "images": []}
    for seed in range(5):
        random = np.random.default_rng(seed)
        known, pieces = patients(random, 60, 10)
        for name, own in (("patients", pieces), ("images", np.arange(len(pieces)))):
            clean = Clean({"numbers": known}, own, 40, draws=199, seed=seed)
            for _ in range(20):
                new = patients(random, 4, 10)[0]
                alarms[name].append(clean.compare({"numbers": new}).alarm)
    assert np.mean(alarms["patients"]) <= 0.08
    assert np.mean(alarms["images"]) > 0.7


def test_several_tests_together_keep_the_level() -> None:
    random = np.random.default_rng(3)
    known, pieces = patients(random, 120, 5)
    kinds = {"a": known, "b": known[:, :2], "c": known[:, 3:] ** 2}
    moves = {"a": {"one": np.eye(PARTS)[0], "two": np.eye(PARTS)[1]}}
    clean = Clean(kinds, pieces, 30, draws=199)
    found = []
    for _ in range(100):
        new = patients(random, 6, 5)[0]
        found.append(clean.compare({"a": new, "b": new[:, :2], "c": new[:, 3:] ** 2}, moves).p)
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.09)


def test_a_shift_that_is_looked_for_is_seen_where_the_whole_distance_sees_little() -> None:
    random = np.random.default_rng(4)
    known, pieces = patients(random, 150, 5)
    clean = Clean({"a": known}, pieces, 50, draws=199)
    move = np.eye(PARTS)[2]
    batches = [patients(random, 10, 5)[0] + 1.2 * move for _ in range(20)]
    seen = [clean.compare({"a": batch}, {"a": {"up": move}}) for batch in batches]
    assert np.mean([one.parts["up"] for one in seen]) < np.mean([one.parts["a"] for one in seen])
    assert all(one.towards["up"] > 1 for one in seen)


def test_a_large_shift_gives_the_smallest_p_value_and_lies_outside_the_clean_range() -> None:
    random = np.random.default_rng(5)
    known, pieces = patients(random, 100, 3)
    found = drift({"a": known}, pieces, {"a": patients(random, 20, 3)[0] + 3}, draws=99)
    assert found is not None
    assert found.p == 0.01
    assert found.alarm
    assert (found.new["a"] > found.high["a"]).all()
    assert (found.low["a"] < found.known["a"]).all()
    assert ALARM > 0.01


def test_a_number_that_never_varied_alarms_when_it_does() -> None:
    """Grey images know no colour; coloured ones are another thing, however little colour they have."""
    random = np.random.default_rng(6)
    known = np.column_stack([random.normal(size=200), np.zeros(200)])
    new = np.column_stack([random.normal(size=40), np.full(40, 0.5)])
    found = drift({"a": known}, np.arange(200), {"a": new}, draws=99)
    assert found is not None
    assert found.p == 0.01


@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=20), st.integers(2, 12), st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_clean_batches_hold_no_image_twice_and_leave_a_patient_out(
    lengths: list[int], count: int, alike: bool, seed: int
) -> None:
    pieces = np.repeat(np.arange(len(lengths)), lengths)
    sizes = [2] * (count // 2) + [1] * (count % 2) if alike else None
    for batch in clean_batches(pieces, count, sizes, 5, np.random.default_rng(seed)):
        assert 1 <= len(batch) <= count
        assert len(set(batch.tolist())) == len(batch)
        assert len(set(pieces[batch].tolist())) < len(lengths)


def test_known_patients_of_the_new_images_are_matched() -> None:
    pieces = np.repeat(np.arange(30), 6)
    for batch in clean_batches(pieces, 12, [5, 4, 1, 1, 1], 10, np.random.default_rng(0)):
        assert sorted(np.unique(pieces[batch], return_counts=True)[1], reverse=True) == [5, 4, 1, 1, 1]


def test_too_little_to_tell() -> None:
    random = np.random.default_rng(7)
    few = {"a": random.normal(size=(FEWEST - 1, 2))}
    assert drift(few, np.arange(FEWEST - 1), {"a": np.zeros((9, 2))}) is None
    enough = {"a": random.normal(size=(FEWEST, 2))}
    assert drift(enough, np.arange(FEWEST), {"a": np.zeros((1, 2))}) is None
    found = drift(enough, np.arange(FEWEST), {"a": np.zeros((50, 2))}, draws=99)
    assert found is not None
    assert found.batch == FEWEST // 2
