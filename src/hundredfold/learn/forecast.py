"""What more labels would bring: a power law through a learning curve, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FEWEST", "Forecast", "PowerLaw", "Refusal", "fit_power_law", "forecast"]

Floats = NDArray[np.float64]

#: budgets that a law of three parameters needs, so that something is left to contradict it
FEWEST = 4
#: times the labels measured; beyond that, curves were not checked
FARTHEST = 4.0
EXPONENTS = np.geomspace(0.03, 3, 400)
#: error of a point that no bootstrap sees: curves are no exact power laws
FLOOR = 0.005
#: Error of the law beyond the measured end, a factor e of labels farther, below and above the forecast, in
#: balanced accuracy: so wide that of the hidden points of real curves at most 2.5 % lie outside on either
#: side, in the set that is hardest to forecast (.0375 and .09 would have done). Over all three sets 99 % lie
#: inside, without the widening 51 %; with what two sets ask for, 66 % to 100 % of the third. Gains are more
#: often under- than overrated, hence the longer upper arm. Measured by benchmarks/forecast.py.
BEYOND = (0.06, 0.095)
#: points; a smaller gain is not worth the name
SMALLEST = 0.5


@dataclass(frozen=True)
class PowerLaw:
    """``accuracy = a - b n^(-c)``, for one curve or, with arrays, for many.

    Attributes:
        a: where it ends, with endless labels; at most 1.
        b: what is missing there at one label per class; at least 0.
        c: how fast that shrinks.
    """

    a: Floats
    b: Floats
    c: Floats

    def at(self, n: float) -> Floats:
        """Accuracy at n labels per class.

        Examples:
            >>> float(PowerLaw(np.array(0.9), np.array(0.4), np.array(0.5)).at(100))
            0.86
        """
        return np.asarray(self.a - self.b * n**-self.c, dtype=np.float64)


@dataclass(frozen=True)
class Forecast:
    """What ``labels`` more labels per class would bring.

    Attributes:
        start: labels per class from which it is counted: the most that every class has.
        labels: how many more.
        value: balanced accuracy at ``start``, as measured.
        gain: expected gain, in balanced accuracy.
        low: lower end of its 95 % interval.
        high: upper end.
        law: the curve through the points.
        left_out: larger budgets that were not used, because some class has fewer labels.
    """

    start: int
    labels: int
    value: float
    gain: float
    low: float
    high: float
    law: PowerLaw
    left_out: tuple[int, ...] = ()

    @property
    def sentence(self) -> str:
        """The forecast in words, in percentage points."""
        ends = f"{_points(self.low)} to {_points(self.high)} points"
        more = f"{self.labels:,} more labels per class (from {self.start:,} to {self.start + self.labels:,})"
        if 100 * self.gain < SMALLEST and self.low <= 0:
            return f"{more}: no gain visible ({ends})."
        doubt = ", and it may be none" if self.low <= 0 else ""
        return f"{more}: {ends}, most likely {_points(self.gain)}{doubt}."


@dataclass(frozen=True)
class Refusal:
    """Why no forecast is made."""

    reason: str

    @property
    def sentence(self) -> str:
        """The reason as a sentence."""
        return f"What more labels would bring cannot be forecast: {self.reason}."


def forecast(
    budgets: ArrayLike, samples: ArrayLike, values: ArrayLike, *, capped: ArrayLike | None = None,
    labels: int = 50,
) -> Forecast | Refusal:
    """Forecast what ``labels`` more labels per class would bring, or say why not.

    The law is fitted to the uncapped points, weighted by n over their variance over the resamples (what is to
    be continued is the right end), and refitted to every resample. That tells how far labels and test images
    leave the law open, but not how far the law itself is wrong beyond the last point; so the interval is
    widened, by ``BEYOND`` times the logarithm of how many times the labels (added in squares). That was
    measured on curves of SVM and logistic regression, on histograms and thumbnails, whose right end was
    hidden. A kNN follows no power law while its neighbours are most of its labels: there it held 89 %. No
    interval goes beyond what is missing to 1.

    Args:
        budgets: ``[k]`` labels per class, ascending.
        samples: ``[b, k]`` balanced accuracy in each bootstrap resample of test groups and draws, the same
            resamples for all budgets (see :func:`~hundredfold.metrics.resampled_accuracy`).
        values: ``[k]`` balanced accuracy, the mean over the draws.
        capped: ``[k]`` whether a class had fewer labels; such points lie on no law of n labels per class
            and are left out.
        labels: how many more, counted from the last uncapped budget.

    Examples:
        >>> n = np.array([1, 5, 10, 25, 50, 100])
        >>> values = 0.9 - 0.5 * n**-0.5
        >>> noise = np.random.default_rng(0).normal(0, 0.002, (200, 6))
        >>> found = forecast(n, values + noise, values)
        >>> round(found.low, 3), round(found.gain, 3), round(found.high, 3)
        (-0.015, 0.009, 0.048)
        >>> forecast(n[:3], values[:3] + noise[:, :3], values[:3]).reason
        'it takes 4 numbers of labels that every class has, and there are 3'
    """
    every = np.asarray(budgets, dtype=float)
    free = np.ones(len(every), bool) if capped is None else ~np.asarray(capped, bool)
    if (refused := _refusal(every, free, labels)) is not None:
        return refused
    left_out = tuple(int(budget) for budget in every[~free])
    n, measured = every[free], np.asarray(values, dtype=float)[free]
    drawn = np.asarray(samples, dtype=float)[:, free]
    weights = n / (np.nanvar(drawn, axis=0) + FLOOR**2)
    law = fit_power_law(n, measured, weights)
    refitted = fit_power_law(n, drawn[~np.isnan(drawn).any(axis=1)], weights)
    end, beyond = n[-1], n[-1] + labels
    gain = float(law.at(beyond) - law.at(end))
    low, high = np.percentile(refitted.at(beyond) - refitted.at(end), (2.5, 97.5))
    below, above = (error * np.log(beyond / end) for error in BEYOND)
    most = max(gain, 1 - float(measured[-1]))  # nobody gains more than what is missing
    return Forecast(
        start=int(end), labels=labels, value=float(measured[-1]), gain=gain,
        low=gain - float(np.hypot(max(0.0, gain - low), below)),
        high=min(most, gain + float(np.hypot(max(0.0, high - gain), above))), law=law, left_out=left_out,
    )


def fit_power_law(n: ArrayLike, values: ArrayLike, weights: ArrayLike) -> PowerLaw:
    """Fit ``a - b n^(-c)`` by weighted least squares, for one curve or many at once.

    For a given c the law is linear in a and b and solved directly; c is the best of 400 from .03 to 3
    (variable projection; Golub and Pereyra 1973, SIAM Journal on Numerical Analysis 10, 413–432). ``b`` is
    held at 0 or above (labels do no harm) and ``a`` at 1 or below. The form is that of Hestness et al. 2017
    (arXiv 1712.00409).

    Args:
        n: ``[k]`` labels per class.
        values: ``[k]``, or ``[m, k]`` for m curves.
        weights: ``[k]``.

    Examples:
        >>> n = np.array([1, 5, 10, 50, 100])
        >>> law = fit_power_law(n, 0.9 - 0.5 * n**-0.5, np.ones(5))
        >>> float(law.at(200).round(2))
        0.86
    """
    n, y, w = np.asarray(n, float), np.asarray(values, float), np.asarray(weights, float)
    w = w / w.sum()
    curves = np.atleast_2d(y)  # [m, k]
    best = np.full(len(curves), np.inf)
    a, b, c = np.zeros((3, len(curves)))
    mean = curves @ w  # [m]
    for exponent in EXPONENTS:
        x = n**-exponent  # [k]
        centre = x @ w
        slope = -((curves - mean[:, None]) @ (w * (x - centre))) / (w @ (x - centre) ** 2)  # [m]
        slope = np.maximum(slope, 0)
        ceiling = mean + slope * centre
        over = ceiling > 1
        slope = np.where(over, np.maximum((1 - curves) @ (w * x) / (w @ x**2), 0), slope)
        ceiling = np.minimum(ceiling, 1)
        error = (curves - ceiling[:, None] + slope[:, None] * x) ** 2 @ w  # [m]
        better = error < best
        best = np.where(better, error, best)
        a, b, c = (np.where(better, new, old) for new, old in ((ceiling, a), (slope, b), (exponent, c)))
    return PowerLaw(a, b, c) if y.ndim == 2 else PowerLaw(a[0], b[0], c[0])


def _points(part: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{100 * part:+.1f}".replace("-", "−")


def _refusal(n: Floats, free: NDArray[np.bool_], labels: int) -> Refusal | None:
    if (count := int(free.sum())) < FEWEST:
        fewer = f" (of {len(n)}; the other points are of classes with fewer labels)" if count < len(n) else ""
        there = "there is 1" if count == 1 else f"there are {count}"
        return Refusal(f"it takes {FEWEST} numbers of labels that every class has, and {there}{fewer}")
    end = n[free][-1]
    if end + labels > FARTHEST * end:
        return Refusal(
            f"{end + labels:,.0f} labels per class are more than {FARTHEST:g} times the {end:,.0f} that "
            "every class has, too far to tell"
        )
    return None
