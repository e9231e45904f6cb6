"""Patients against a plain loop over groups."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hundredfold.metrics import Patients

CLASSES = 3


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_means_and_votes_are_those_of_a_plain_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    group = random.integers(-1, 12, size=60)
    truth = np.where(random.random(60) < 0.9, group % CLASSES, random.integers(CLASSES, size=60))
    scores = np.round(random.random((2, 60, CLASSES)), 1)
    predicted = scores.argmax(axis=2)
    found = Patients.of(truth, predicted, scores, group)
    pure = [g for g in range(12) if (group == g).any() and len(set(truth[group == g])) == 1]
    assert found.group.tolist() == pure
    assert found.mixed == len(set(group[group >= 0])) - len(pure)
    assert found.images.tolist() == [g in pure for g in group]
    for place, number in enumerate(pure):
        own = group == number
        assert found.truth[place] == truth[own][0]
        for repeat in range(2):
            mean = scores[repeat, own].mean(axis=0)
            np.testing.assert_allclose(found.scores[repeat, place], mean)
            assert mean[found.by_mean[repeat, place]] == mean.max()
            votes = Counter(predicted[repeat, own].tolist())
            tied = [name for name, count in votes.items() if count == max(votes.values())]
            assert found.by_vote[repeat, place] in tied
            assert mean[found.by_vote[repeat, place]] == mean[tied].max()


def test_a_patient_with_one_image_is_judged_as_that_image() -> None:
    scores = np.random.default_rng(0).random((2, 9, CLASSES))
    found = Patients.of(np.arange(9) % CLASSES, scores.argmax(axis=2), scores, np.arange(9))
    assert (found.by_mean == scores.argmax(axis=2)).all()
    assert (found.by_vote == scores.argmax(axis=2)).all()


def test_where_every_group_is_mixed_there_are_no_patients() -> None:
    scores = np.ones((1, 4, 2))
    found = Patients.of([0, 1, 0, 1], scores.argmax(axis=2), scores, [0, 0, 1, 1])
    assert (len(found.group), found.mixed, int(found.images.sum())) == (0, 2, 0)
