"""Comparisons against copying out every resample, and Holm's correction against closed testing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from hundredfold.errors import TableError
from hundredfold.learn.compare import COLUMNS, RESAMPLES, against, compare, holm, p_value
from hundredfold.learn.curve import LearningCurve
from hundredfold.learn.together import Measured, together
from hundredfold.metrics import MIN_GROUPS, Resamples, resampled_accuracy

CLASSES, IMAGES, REPEATS = 3, 90, 3
TRUTH = np.arange(IMAGES) % CLASSES
GROUPS = pd.Series([f"patient {n // 3}" for n in range(IMAGES)], index=[f"{n:03d}" for n in range(IMAGES)])


def predictions(seed: int = 0, **skill: float) -> pd.DataFrame:
    """Encoder → how often its SVM is right, at 10 labels per class; rows in a random order."""
    random = np.random.default_rng(seed)
    rows = []
    for encoder, right in skill.items():
        for repeat in range(REPEATS):
            wrong = random.random(IMAGES) > right
            guess = np.where(wrong, (TRUTH + 1) % CLASSES, TRUTH)
            rows += [
                (encoder, "svm", 10, repeat, f"{n:03d}", f"c{TRUTH[n]}", f"c{guess[n]}")
                for n in range(IMAGES)
            ]
    columns = ["encoder", "classifier", "n_per_class", "repeat", "id", "label", "predicted"]
    table = pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0)
    return table.astype(dict.fromkeys(["encoder", "classifier", "id", "label", "predicted"], "category"))


def svm(encoder: str) -> tuple[str, str]:
    return encoder, "svm"


def test_a_row_a_pair_with_the_plain_difference() -> None:
    table = predictions(good=0.9, fair=0.7, poor=0.4)
    found = compare(table, GROUPS, against(svm("good"), map(svm, ("good", "fair", "poor"))), n_per_class=10)
    assert tuple(found.columns) == COLUMNS
    assert found["other_encoder"].tolist() == ["fair", "poor"]
    assert found["family"].tolist() == [2, 2]
    for row in found.itertuples():
        means = [
            np.mean([balanced_accuracy_score(one["label"].astype(str), one["predicted"].astype(str))
                     for _, one in table[table["encoder"] == name].groupby("repeat")])
            for name in (row.encoder, row.other_encoder)
        ]
        assert row.difference == pytest.approx(means[0] - means[1])
        assert row.low < row.difference < row.high
    assert (found["p_holm"] >= found["p"]).all()
    assert found["p_holm"].max() < 0.05


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_resampled_accuracy_is_that_of_the_resampled_sets(seed: int) -> None:
    """Against copying out every resample, image by image, and asking scikit-learn."""
    random = np.random.default_rng(seed)
    guess = random.integers(CLASSES, size=(REPEATS, IMAGES))
    said = np.where(random.random((REPEATS, IMAGES)) < 0.6, TRUTH, guess)
    group = np.arange(IMAGES) // 5
    drawn = Resamples.draw(group, REPEATS, count=20, seed=seed)
    expected = []
    for counts, repeats in zip(drawn.group_counts, drawn.repeat_counts, strict=True):
        rows = np.repeat(np.arange(IMAGES), counts[group].astype(int))
        chosen = np.repeat(np.arange(REPEATS), repeats.astype(int))
        expected.append(np.mean([balanced_accuracy_score(TRUTH[rows], said[r][rows]) for r in chosen]))
    np.testing.assert_allclose(resampled_accuracy(TRUTH, said, CLASSES, drawn), expected, atol=1e-6)


def test_methods_that_err_alike_are_told_apart_although_their_intervals_overlap() -> None:
    random = np.random.default_rng(0)
    truth = np.tile([0, 1], 100)
    worse = np.where(random.random(200) < 0.3, 1 - truth, truth)[None]
    better = worse.copy()
    wrong = np.flatnonzero(worse[0] != truth)[:12]
    better[0, wrong] = truth[wrong]
    drawn = Resamples.draw(np.arange(200), 1, 1000, 0)
    one, other = (resampled_accuracy(truth, rows, 2, drawn) for rows in (better, worse))
    assert np.percentile(one, 2.5) < np.percentile(other, 97.5)  # the intervals overlap
    assert np.percentile(one - other, 2.5) > 0
    assert p_value(one - other) < 0.01


def test_equal_answers_are_no_difference_and_no_proof_that_there_is_none() -> None:
    table = predictions(one=0.7)
    both = pd.concat([table, table.assign(encoder="two")])
    found = compare(both, None, [(svm("one"), svm("two"))], n_per_class=10).iloc[0]
    # had they differed on 4 % of all images, these 90 would be alike in 2.5 % of test sets
    end = 1 - 0.025 ** (1 / IMAGES)
    assert found[["difference", "low", "high"]].tolist() == pytest.approx([0, -end, end])
    assert found["p"] == found["p_holm"] == 1


def test_of_other_draws_the_interval_is_wider() -> None:
    """Two methods alike in every draw, whose draws differ much: paired they are equal, unpaired open."""
    table = pd.concat([predictions(seed, one=right) .query("repeat == 0").assign(repeat=seed)
                       for seed, right in enumerate((0.4, 0.7, 0.95))])
    both = pd.concat([table, table.assign(encoder="two")])
    pair = [(svm("one"), svm("two"))]
    paired = compare(both, GROUPS, pair, n_per_class=10).iloc[0]
    apart = compare(both, GROUPS, pair, n_per_class=10, draws={"one": "a", "two": "b"}).iloc[0]
    assert paired["paired"]
    assert not apart["paired"]
    assert 2 * paired["high"] < apart["high"]


def test_too_few_groups_give_no_interval() -> None:
    few = pd.Series([f"p{n % (MIN_GROUPS - 1)}" for n in range(IMAGES)], index=GROUPS.index)
    found = compare(predictions(a=0.9, b=0.5), few, [(svm("a"), svm("b"))], n_per_class=10).iloc[0]
    assert found["difference"] > 0.2
    assert found[["low", "high", "p", "p_holm"]].isna().all()


def test_a_method_that_lacks_images_or_has_other_labels_is_refused() -> None:
    table = predictions(a=0.9, b=0.5)
    pair = [(svm("a"), svm("b"))]
    with pytest.raises(TableError, match="svm on b"):
        compare(table[~((table["encoder"] == "b") & (table["id"] == "004"))], GROUPS, pair, n_per_class=10)
    other = table.copy()
    other.loc[(other["encoder"] == "b") & (other["id"] == "004"), "label"] = "c2"
    with pytest.raises(TableError, match="other labels"):
        compare(other, GROUPS, pair, n_per_class=10)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    """The corrected value is the largest Bonferroni value of any set of hypotheses that holds it."""
    everyone = range(len(p))
    sets = [s for size in range(1, len(p) + 1) for s in combinations(everyone, size)]
    expected = [max(min(1, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in everyone]
    np.testing.assert_allclose(holm(p), expected)


def test_holm_leaves_what_is_not_known() -> None:
    assert holm([np.nan, 0.02, 0.5])[1:].tolist() == [0.04, 0.5]
    assert np.isnan(holm([np.nan])).all()


@given(st.floats(0.001, 0.4), st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_the_p_value_and_the_interval_say_the_same(shift: float, seed: int) -> None:
    found = np.random.default_rng(seed).normal(shift, 0.1, RESAMPLES)
    low = np.percentile(found, 2.5)
    assert (p_value(found) < 0.052) if low > 0 else (p_value(found) > 0.045)


def measured(name: str, draws: str | None, supervised: str | None = None, **held: float) -> Measured:
    """A run whose encoders came so far on held-out labels; no two answer alike."""
    answers = predictions(seed=len(name), **dict.fromkeys(held, 0.7))
    frame = pd.DataFrame({"encoder": list(held)})
    accuracy = {f"{encoder}/svm": value for encoder, value in held.items()}
    best = max(held, key=held.__getitem__)
    choice = {"encoder": best, "classifier": "svm", "accuracy": accuracy, "n_per_class": 10}
    return Measured(name, LearningCurve(frame, answers), draws, {}, choice, supervised)


def test_of_runs_with_the_same_labels_cross_validation_chooses_among_all() -> None:
    runs = [
        measured("one", "d", "initial", pretrained=0.6, initial=0.5),
        measured("second", "d", "initial", pretrained=0.8, initial=0.55),
    ]
    facts = together(runs)[0].facts
    assert facts["choice"] == {
        "encoder": "second/pretrained", "classifier": "svm", "n_per_class": 10, "accuracy": {
            "one/pretrained/svm": 0.6, "one/initial/svm": 0.5,
            "second/pretrained/svm": 0.8, "second/initial/svm": 0.55,
        },
    }
    assert facts["supervised"] == "one/initial"


@pytest.mark.parametrize(("first", "second"), [("d", "e"), (None, None)])
def test_of_other_labels_nothing_is_chosen(first: str | None, second: str | None) -> None:
    runs = [measured("one", first, a=0.6), measured("second", second, b=0.8)]
    assert together(runs)[0].facts["choice"] is None


def test_a_difference_that_is_the_same_in_every_resample_is_not_certain() -> None:
    """One method is flawless, the other knows one class: on images not seen either may do otherwise."""
    table = predictions(good=1.0, one=1.0)
    one = (table["encoder"] == "one").to_numpy()
    said = table["predicted"].astype(str).mask(one, "c0").astype("category")
    row = compare(table.assign(predicted=said), GROUPS, [(svm("good"), svm("one"))], n_per_class=10).iloc[0]
    assert row["difference"] == pytest.approx(2 / 3)
    assert row["low"] < row["difference"] - 0.02
    assert row["high"] > row["difference"] + 0.02
