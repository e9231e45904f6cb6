"""The forecast against scipy's fit, by hiding the right end of curves, and where it must be silent."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from hundredfold.learn.forecast import FARTHEST, Forecast, Refusal, fit_power_law, forecast

N = np.array([1, 5, 10, 25, 50, 100, 250])
#: Balanced accuracy at 1, 5, 10, 25, 50, 100, 250 labels per class as curves of many kinds have it: each a
#: law of its own kind, none of them exactly ours.
CURVES = {
    "power law": 0.9 - 0.6 * N**-0.4,
    "logarithm": 0.3 + 0.09 * np.log(N),
    "saturating": 0.8 - 0.5 * np.exp(-((N / 12) ** 0.6)),
    "shoulder": 0.85 / (1 + (6 / N) ** 0.7),
    "flat": np.full(7, 0.7),
}


def samples(values: np.ndarray, noise: float = 0.006, seed: int = 0) -> np.ndarray:
    """Resamples whose error is mostly common to all points, as that of one test set is."""
    random = np.random.default_rng(seed)
    return values + random.normal(0, 2 * noise, (300, 1)) + random.normal(0, noise, (300, len(values)))


def forecast_of(values: np.ndarray, seen: int, labels: int, **given: object) -> Forecast | Refusal:
    return forecast(N[:seen], samples(values[:seen]), values[:seen], labels=labels, **given)


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_that_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b, c = random.uniform([0.7, 0.3, 0.2], [0.95, 0.6, 0.9])
    values = a - b * N**-c + random.normal(0, 0.004, 7)
    sigma = random.uniform(0.005, 0.02, 7)
    law = fit_power_law(N, values, 1 / sigma**2)
    found, _ = curve_fit(
        lambda n, a, b, c: a - b * n**-c, N, values, p0=[a, b, c], sigma=sigma,
        bounds=([0, 0, 0.03], [1, np.inf, 3]),
    )
    mine, theirs = (
        np.sum(((values - (p[0] - p[1] * N ** -p[2])) / sigma) ** 2) for p in ((law.a, law.b, law.c), found)
    )
    assert mine <= theirs * 1.02 + 1e-3
    assert float(law.at(400)) == pytest.approx(found[0] - found[1] * 400 ** -found[2], abs=0.003)


def test_many_curves_are_fitted_as_each_alone() -> None:
    weights = np.linspace(1, 2, 7)
    together = fit_power_law(N, np.stack(list(CURVES.values())), weights)
    for place, values in enumerate(CURVES.values()):
        alone = fit_power_law(N, values, weights)
        assert float(alone.at(300)) == pytest.approx(float(together.at(300)[place]))


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("seen", "hidden"), [(5, 5), (6, 6)])
def test_the_hidden_end_of_a_curve_is_in_the_interval(name: str, seen: int, hidden: int) -> None:
    values = CURVES[name]
    found = forecast_of(values, seen, int(N[hidden] - N[seen - 1]))
    assert isinstance(found, Forecast)
    gained = values[hidden] - values[seen - 1]
    assert found.low <= gained <= found.high
    assert found.high - found.low < 0.25


def test_noisy_curves_are_covered_at_least_as_often_as_promised() -> None:
    """Curves with the error of five draws, hidden from 100 labels on: 95 % or more of the intervals hold."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        a, b, c = random.uniform([0.7, 0.3, 0.2], [0.95, 0.6, 0.9])
        truth = a - b * N**-c
        seen = truth[:6] + random.normal(0, 0.006, 6)
        found = forecast(N[:6], samples(seen), seen, labels=50)
        assert isinstance(found, Forecast)
        held += found.low <= (a - b * 150**-c) - truth[5] <= found.high
    assert held >= 57


def test_the_interval_grows_with_the_distance() -> None:
    found = [forecast_of(CURVES["power law"], 6, labels) for labels in (10, 50, 200)]
    widths = [one.high - one.low for one in found if isinstance(one, Forecast)]
    assert len(widths) == 3
    assert widths == sorted(widths)
    assert widths[0] < 0.04


def test_no_gain_is_called_no_gain() -> None:
    flat = forecast_of(CURVES["flat"], 7, 50)
    assert isinstance(flat, Forecast)
    assert "no gain visible" in flat.sentence
    steep = forecast_of(0.2 + 0.13 * np.log(N), 6, 50)
    assert isinstance(steep, Forecast)
    assert steep.sentence.startswith("50 more labels per class (from 100 to 150): +")
    assert "none" not in steep.sentence


@pytest.mark.parametrize("end", [0.985, 1.0])
def test_nobody_gains_more_than_what_is_missing(end: float) -> None:
    values = end - 0.3 * (N**-0.9 - 100.0**-0.9)
    found = forecast_of(np.minimum(values, end), 6, 50)
    assert isinstance(found, Forecast)
    assert found.value == pytest.approx(end)
    assert found.gain <= found.high <= max(found.gain, 1 - end + 1e-9)


def test_capped_points_are_left_out_and_named() -> None:
    values = CURVES["power law"].copy()
    values[-1] = 0.2  # a point of other classes must not matter
    drawn = samples(values)
    found = forecast(N, drawn, values, capped=N >= 250)
    plain = forecast(N[:6], drawn[:, :6], values[:6])
    assert isinstance(found, Forecast)
    assert isinstance(plain, Forecast)
    assert (found.start, found.left_out) == (100, (250,))
    assert found.gain == plain.gain


@pytest.mark.parametrize(
    ("seen", "capped_from", "labels", "reason"),
    [
        (3, 999, 50, "it takes 4 numbers of labels that every class has, and there are 3"),
        (7, 25, 50, r"there are 3 \(of 7; the other points are of classes with fewer labels\)"),
        (4, 999, 90, "115 labels per class are more than 4 times the 25"),
    ],
)
def test_too_little_is_refused_with_the_reason(seen: int, capped_from: int, labels: int, reason: str) -> None:
    found = forecast_of(CURVES["power law"], seen, labels, capped=N[:seen] >= capped_from)
    assert isinstance(found, Refusal)
    assert re.search(reason, found.sentence)
    assert FARTHEST == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.05, 0.99), min_size=4, max_size=7))
def test_whatever_the_curve_the_gain_is_in_its_interval_and_accuracy_below_one(values: list[float]) -> None:
    given = np.array(values)
    found = forecast_of(given, len(given), 20)
    assert isinstance(found, Forecast)
    assert found.low <= found.gain <= found.high
    assert found.gain >= 0
    assert float(found.law.at(10_000)) <= 1
