"""ROC and precision–recall curves against scikit-learn, their bands against copied-out resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from hundredfold.metrics import GRID, Resamples, tradeoff
from hundredfold.metrics.certain import flawless_area
from hundredfold.metrics.tradeoff import Sweep

CLASSES = 3


def sample(seed: int, images: int = 50, repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(CLASSES), random.integers(CLASSES, size=images - CLASSES)])
    return truth, np.round(random.normal(size=(repeats, images, CLASSES)) + np.eye(CLASSES)[truth], 1)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_weighted_areas_are_those_of_scikit_learn(seed: int) -> None:
    truth, scores = sample(seed)
    own, weights = truth == 1, np.random.default_rng(seed).integers(0, 4, size=(50, 1)).astype(float)
    weights[[0, 1]] = 1  # an image of each side at the least
    sweep = Sweep.of(own, scores[0, :, 1], weights)
    given_weights = {"sample_weight": weights[:, 0]}
    assert sweep.area()[0] == pytest.approx(roc_auc_score(own, scores[0, :, 1], **given_weights))
    assert sweep.average_precision()[0] == pytest.approx(
        average_precision_score(own, scores[0, :, 1], **given_weights)
    )


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_curves_read_off_scikit_learns(seed: int) -> None:
    truth, scores = sample(seed, repeats=1)
    found, own = tradeoff(truth, scores, 2, None), truth == 2
    false, true, _ = roc_curve(own, scores[0, :, 2], drop_intermediate=False)
    expected = [
        np.interp(x, false, true) if not np.isclose(false, x).any() else true[np.isclose(false, x)].max()
        for x in GRID
    ]
    np.testing.assert_allclose(found.sensitivity[:, 0], expected, atol=1e-9)
    precision, recall, _ = precision_recall_curve(own, scores[0, :, 2])
    # from the strictest threshold on; scikit-learn's last point belongs to no threshold
    precision, recall = precision[-2::-1], recall[-2::-1]
    first = [np.flatnonzero(recall >= max(x - 1e-9, 1e-9))[0] for x in GRID]
    np.testing.assert_allclose(found.precision[:, 0], precision[first])


def test_the_curve_is_the_mean_of_the_repeats_curves_and_no_pooling_of_scores() -> None:
    truth, scores = sample(3)
    both = tradeoff(truth, scores, 0, None)
    each = [tradeoff(truth, row[None], 0, None) for row in scores]
    np.testing.assert_allclose(both.sensitivity[:, 0], np.mean([e.sensitivity[:, 0] for e in each], axis=0))
    scaled = tradeoff(truth, scores * np.array([1.0, 100.0])[:, None, None], 0, None)
    np.testing.assert_allclose(scaled.precision[:, 0], both.precision[:, 0])
    assert scaled.area == pytest.approx(both.area, nan_ok=True)


def test_bands_equal_copying_out_every_resample() -> None:
    truth, scores = sample(seed=5, images=60)
    group = np.arange(60) // 3
    drawn = Resamples.draw(group, repeats=2, count=25, seed=2)
    prevalence = np.array([0.2, 0.5, 0.3])
    found = tradeoff(truth, scores, 0, drawn, prevalence)
    areas, averages, half = [], [], []
    for counts, repeats in zip(drawn.group_counts, drawn.repeat_counts, strict=True):
        rows = np.repeat(np.arange(60), counts[group].astype(int))
        share = (prevalence / np.bincount(truth[rows], minlength=CLASSES))[truth[rows]]
        given_weights = {"sample_weight": share}
        chosen = np.repeat(np.arange(2), repeats.astype(int))
        own = truth[rows] == 0
        pairs = [(own, scores[repeat, rows, 0]) for repeat in chosen]
        areas.append(np.mean([roc_auc_score(*pair, **given_weights) for pair in pairs]))
        averages.append(np.mean([average_precision_score(*pair, **given_weights) for pair in pairs]))
        curves = [roc_curve(*pair, **given_weights)[:2] for pair in pairs]
        half.append(np.mean([np.interp(GRID[50], *curve) for curve in curves]))
    for ends, values in (
        (found.area[1:], areas), (found.average_precision[1:], averages), (found.sensitivity[50, 1:], half)
    ):
        np.testing.assert_allclose(ends, np.percentile(values, [2.5, 97.5]))


def test_few_groups_have_a_curve_but_no_band() -> None:
    truth, scores = sample(seed=1)
    found = tradeoff(truth, scores, 0, Resamples.draw(np.arange(50) % 9, 2, 30, seed=0))
    assert np.isfinite([found.area.value, found.average_precision.value]).all()
    assert np.isfinite(found.sensitivity[:, 0]).all()
    assert np.isnan([*found.area[1:], *found.sensitivity[:, 1]]).all()


def test_a_rarer_class_has_the_same_roc_curve_and_a_lower_precision() -> None:
    truth, scores = sample(seed=2, images=200)
    often, seldom = (
        tradeoff(truth, scores, 0, None, [share, (1 - share) / 2, (1 - share) / 2]) for share in (0.5, 0.05)
    )
    np.testing.assert_allclose(often.sensitivity[:, 0], seldom.sensitivity[:, 0])
    assert (seldom.precision[1:, 0] <= often.precision[1:, 0]).all()
    assert seldom.precision[-1, 0] == pytest.approx(0.05, abs=0.03)  # all called so: the prevalence


@pytest.mark.parametrize("share", [None, [0.2, 0.5, 0.3]])
def test_a_flawless_area_is_exact_however_the_weights_are_rounded(share: list[float] | None) -> None:
    """Sums of weights only come near 1 and 0, and no resample differs from another."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        sizes = random.integers(11, 40, CLASSES)
        truth, count = np.repeat(np.arange(CLASSES), sizes), int(sizes.sum())
        scores = 10.0 * (truth == 0)[:, None] + random.random((2, count, CLASSES))
        drawn = Resamples.draw(np.arange(count), 2, 20, 0)
        bound = flawless_area([sizes[0], sizes[1:].sum()])
        best, worst = (tradeoff(truth, sign * scores, 0, drawn, share) for sign in (1, -1))
        assert best.area == pytest.approx((1, bound, 1), abs=0)
        assert worst.area == pytest.approx((0, 0, 1 - bound), abs=0)
        assert np.isnan(best.average_precision[1:]).all()
