"""Intervals of flawless results, against scipy's optimiser, exact probabilities, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from hundredfold.metrics import Resamples, interval_width, measure, tradeoff
from hundredfold.metrics.certain import (
    certain_accuracy,
    class_trials,
    flawless_accuracy,
    flawless_area,
    flawless_f1,
    least_mean,
)

SIZES = st.lists(st.integers(10, 400), min_size=1, max_size=8)


def of(found: list, metric: str):  # type: ignore[no-untyped-def,type-arg]
    return next(one for one in found if one.metric == metric)


def flawless(sizes: list[int], *, repeats: int = 2) -> list:  # type: ignore[type-arg]
    """The measures of a test set of which nothing is missed, each image its own group."""
    truth = np.repeat(np.arange(len(sizes)), sizes)
    scores = np.stack([np.eye(len(sizes))[truth]] * repeats)
    return measure(truth, scores.argmax(2), scores, Resamples.draw(np.arange(len(truth)), repeats, 50, 0))


@given(SIZES, st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_least_mean_is_what_a_general_optimiser_finds(sizes: list[int], seed: int) -> None:
    """In u = log p the problem is convex with one linear constraint."""
    n = np.array(sizes, float)
    w = np.random.default_rng(seed).dirichlet(np.ones(len(n)) * 3)
    assume(w.min() > 0.01)
    found = minimize(
        lambda u: w @ np.exp(u), np.zeros(len(n)), jac=lambda u: w * np.exp(u), method="SLSQP",
        bounds=[(-5, 0)] * len(n), options={"ftol": 1e-12, "maxiter": 500},
        constraints=[LinearConstraint(n / n.sum(), np.log(0.025) / n.sum(), np.inf)],
    )
    assert least_mean(n, w) == pytest.approx(found.fun, abs=2e-5)


@given(SIZES, st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_no_population_is_ruled_out_in_which_the_result_is_likely(sizes: list[int], seed: int) -> None:
    """Whoever knows the recalls knows how likely no mistake is; then the bound must not be above them."""
    n, random = np.array(sizes, float), np.random.default_rng(seed)
    trials = random.dirichlet(np.ones(len(n))) * -np.log(0.025)  # a population on the very border
    recall = np.exp(-trials / n)
    assert np.prod(recall**n) == pytest.approx(0.025)
    assert flawless_accuracy(n) <= recall.mean() + 1e-12
    assert np.mean(0.025 ** (1 / n)) <= flawless_accuracy(n) + 1e-12  # of each class by itself: no sharper


@given(SIZES, st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_bound_of_the_f1_is_below_that_of_every_such_population(sizes: list[int], seed: int) -> None:
    assume(len(sizes) > 1)
    n, random = np.array(sizes, float), np.random.default_rng(seed)
    recall = np.exp(-random.dirichlet(np.ones(len(n)) * 0.3) * -np.log(0.025) / n)
    lost = random.dirichlet(np.ones(len(n)) * 0.2, len(n))  # where the missed images of each class go
    np.fill_diagonal(lost, 0)
    lost /= np.maximum(lost.sum(1, keepdims=True), 1e-12)
    counts = (n * (1 - recall))[:, None] * lost
    hit = n - counts.sum(1)
    rows, columns = np.indices(counts.shape)
    truth, said = np.r_[np.arange(len(n)), rows.ravel()], np.r_[np.arange(len(n)), columns.ravel()]
    value = f1_score(truth, said, average="macro", sample_weight=np.r_[hit, counts.ravel()])
    assert flawless_f1(n, n) <= value + 1e-12


def test_one_class_alone_has_the_interval_of_clopper_and_pearson() -> None:
    for n in (10, 37, 500):
        exact = binomtest(n, n).proportion_ci(0.95, "exact").low
        assert least_mean([n], [1]) == pytest.approx(exact, rel=1e-9)


def test_a_flawless_result_is_not_certain() -> None:
    found = flawless([30, 12, 100, 4])
    names = ("balanced_accuracy", "balanced_accuracy_without_tiny", "macro_f1", "auroc")
    ends = {name: (of(found, name).low, of(found, name).high) for name in names}
    assert all(high == 1 for _, high in ends.values())
    assert ends["balanced_accuracy"][0] == pytest.approx(flawless_accuracy([30, 12, 100, 4]))
    assert ends["balanced_accuracy_without_tiny"][0] == pytest.approx(flawless_accuracy([30, 12, 100]))
    assert ends["macro_f1"][0] == pytest.approx(flawless_f1([30, 12, 100, 4], [30, 12, 100, 4]))
    assert ends["auroc"][0] == pytest.approx(np.mean(0.025 ** (1 / np.array([30, 12, 46, 4]))))
    assert min(low for low, _ in ends.values()) > 0.5


def test_nothing_right_has_the_mirrored_interval() -> None:
    truth = np.repeat([0, 1], 40)
    scores = np.eye(2)[1 - truth][None]
    found = measure(truth, 1 - truth[None], scores, Resamples.draw(np.arange(80), 1, 50, 0))
    assert of(found, "balanced_accuracy").low == 0
    assert of(found, "balanced_accuracy").high == pytest.approx(1 - 0.025 ** (1 / 80))
    assert of(found, "auroc").high == pytest.approx(1 - 0.025 ** (1 / 40))
    # a recall of p in both classes is an F1 of p: that population must be within
    assert of(found, "macro_f1").high >= 1 - 0.025 ** (1 / 80)


def test_a_group_counts_once_however_many_images_and_classes_it_has() -> None:
    truth, group = np.tile([0, 0, 1], 12), np.repeat(np.arange(12), 3)
    drawn = Resamples.draw(group, 1, 50, 0)
    assert class_trials(truth, drawn).tolist() == [6, 6]
    scores = np.eye(2)[truth][None]
    found = of(measure(truth, truth[None], scores, drawn), "balanced_accuracy")
    # patients of whom all images are right, or all wrong: twelve of them, as likely as at least .025
    assert found.low == pytest.approx(0.025 ** (1 / 12))


def test_classes_that_are_each_recognised_always_or_never_leave_the_mean_open() -> None:
    """One class that nothing was learned of beside two flawless ones: no resample differs from another."""
    sizes = [30, 40, 50]
    truth = np.repeat(np.arange(3), sizes)
    said = np.where(truth == 2, 0, truth)
    scores = np.eye(3)[np.stack([said, said])]
    drawn = Resamples.draw(np.arange(len(truth)), 2, 200, seed=0)
    found = measure(truth, np.stack([said, said]), scores, drawn)[0]
    low, high = (2 * flawless_accuracy(sizes[:2]) / 3, 1 - flawless_accuracy(sizes[2:]) / 3)
    assert found.metric == "balanced_accuracy"
    assert (found.low, found.high) == pytest.approx((low, high))
    assert interval_width(truth, np.stack([said, said]), 3, drawn) == pytest.approx(high - low)
    ends = certain_accuracy(sizes, [1, 1, 0])
    chances = np.random.default_rng(0).random((20_000, 3)) ** 0.05  # of what was seen, in each class
    likely = chances[(chances**sizes).prod(axis=1) >= 0.025]
    assert len(likely) > 100
    means = (likely * [1, 1, -1] + [0, 0, 1]).mean(axis=1)
    assert ends[0] <= means.min()
    assert means.max() <= ends[1]


def test_fewer_than_ten_groups_have_no_interval_however_flawless() -> None:
    truth = np.tile([0, 1], 30)
    drawn = Resamples.draw(np.repeat(np.arange(6), 10), 1, 50, 0)
    found = measure(truth, truth[None], np.eye(2)[truth][None], drawn)
    assert all(np.isnan([one.low, one.high]).all() for one in found)


def test_twice_the_test_images_make_a_flawless_result_surer() -> None:
    truth = np.tile([0, 1], 50)
    widths = [
        interval_width(truth, [truth], 2, Resamples.draw(np.arange(100), 1, 50, 0, times=times))
        for times in (1, 2)
    ]
    assert widths == pytest.approx([1 - 0.025 ** (1 / 100), 1 - 0.025 ** (1 / 200)])


def test_the_area_of_a_class_told_apart_without_mistake_has_an_exact_end() -> None:
    truth, scores = np.repeat([0, 1], [20, 60]), np.eye(2)[np.repeat([0, 1], [20, 60])][None]
    found = tradeoff(truth, scores, 0, Resamples.draw(np.arange(80), 1, 50, 0))
    assert found.area == pytest.approx((1, 0.025 ** (1 / 20), 1))
    assert found.average_precision.value == 1
    assert np.isnan([found.average_precision.low, found.average_precision.high]).all()


@pytest.mark.parametrize("world", ["few of the class score low", "few others score high", "far apart"])
def test_separation_is_as_rare_as_the_bound_of_the_area_says(world: str) -> None:
    """In the first world the bound is sharp: the area there is it, and a separated sample comes in 2.5 %."""
    random, own, other, count = np.random.default_rng(0), 12, 40, 20_000
    bound = flawless_area([own, other])
    x, y = random.random((count, own)) + 1, random.random((count, other))
    if world == "few of the class score low":
        x -= 2 * (random.random((count, own)) > bound)
    elif world == "few others score high":
        y += 2 * (random.random((count, other)) > bound)
    else:
        x -= np.sqrt(2 * (1 - bound))  # both uniform: the area is 1 less half the square of their overlap
    area = roc_auc_score(np.repeat([1, 0], [9000, 9000]), np.r_[x.ravel()[:9000], y.ravel()[:9000]])
    assert area == pytest.approx(bound, abs=0.02)
    separated = float((x.min(1) > y.max(1)).mean())
    assert separated <= 0.03
    assert separated > 0.02 or world != "few of the class score low"


@pytest.mark.parametrize("sizes", [[15, 15], [10, 20, 60], [12] * 8])
@pytest.mark.parametrize("missed", [0.01, 0.03])
def test_the_interval_holds_the_truth_in_nineteen_of_twenty_test_sets(
    sizes: list[int], missed: float
) -> None:
    """Near-perfect classifiers: of the flawless test sets at most 2.5 % may have the truth below the end."""
    random, truth = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    recall = np.r_[1 - missed * len(sizes), np.ones(len(sizes) - 1)]  # all mistakes in the smallest class
    above, flawless_sets = 0, 0
    for seed in range(300):
        right = random.random(len(truth)) < recall[truth]
        said = np.where(right, truth, (truth + 1) % len(sizes))
        drawn = Resamples.draw(np.arange(len(truth)), 1, 20, seed)
        found = of(measure(truth, said[None], np.eye(len(sizes))[said][None], drawn), "balanced_accuracy")
        flawless_sets += found.values[0] == 1
        above += found.values[0] == 1 and found.low > recall.mean()
    assert flawless_sets > 0
    assert above <= 0.025 * 300 + 3 * np.sqrt(0.025 * 0.975 * 300)
