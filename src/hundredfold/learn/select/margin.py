"""Where the labels so far leave two classes open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hundredfold.errors import SettingsError
from hundredfold.learn.means import SharedCovariance
from hundredfold.learn.select.clusters import clustered
from hundredfold.learn.select.picks import Picks
from hundredfold.learn.select.pool import Pool, Rows

__all__ = ["hardest", "margin", "shares"]

#: Of so many times as many hard images as are wanted, those are taken that are unlike each other.
CANDIDATES = 5
OPEN = "hard to tell so far: its two likeliest classes are {:.2f} apart"
LEFT = "of what is left among the hardest to tell: its two likeliest classes are {:.2f} apart"


def margin(pool: Pool, budget: int) -> Picks:
    """Images whose two most probable classes are close, unlike each other, more of classes with few labels.

    Linear discriminant analysis of the labels so far, with equal weight for each class, says which class each
    image would be, and how much more probable that is than the next one (the margin). The budget is shared so
    that the classes come to have equally many labels, as far as it is right; of the images of a class those
    of the smallest margins are clustered, and the smallest of each cluster is taken.

    Source:
        Scheffer, Decomain, Wrobel 2001 (the margin); Zhdanov 2019, arXiv 1901.05954 (the clusters).

    Raises:
        SettingsError: there are no labels of two classes.
    """
    free, margins, guessed = _margins(pool)
    count = len(pool.classes)  # what is of no use has the next number, and gets no share
    have = np.bincount(pool.labels[pool.labels >= 0], minlength=count)[:count]
    wanted = shares(have, np.bincount(guessed, minlength=count)[:count], budget)
    parts = [
        _unlike(pool, np.flatnonzero(guessed == number), free, margins, share)
        for number, share in enumerate(wanted) if share
    ]
    return _told(free, margins, np.concatenate(parts) if parts else np.empty(0, np.int64))


def hardest(pool: Pool, budget: int) -> Picks:
    """As :func:`margin`, whatever the classes: those of many images near a border then get the most.

    Raises:
        SettingsError: there are no labels of two classes.
    """
    free, margins, guessed = _margins(pool)
    useful = np.flatnonzero(guessed < len(pool.classes))
    return _told(free, margins, _unlike(pool, useful, free, margins, budget))


def shares(have: Rows, most: Rows, budget: int) -> Rows:
    """How many each class is to get, so that those with the fewest come up to the others [c].

    Args:
        have: ``[c]`` what each has.
        most: ``[c]`` what each can get.
        budget: how many are given out, where there are as many.

    Examples:
        >>> shares(np.array([0, 5, 9]), np.array([3, 99, 99]), 8).tolist()
        [3, 5, 0]
    """
    given = np.zeros_like(most)
    for _ in range(min(budget, int(most.sum()))):
        open_ones = np.flatnonzero(given < most)
        given[open_ones[np.argmin((have + given)[open_ones])]] += 1
    return given


def _margins(pool: Pool) -> tuple[Rows, NDArray[np.float64], Rows]:
    """The free rows; of each how much more probable the first class is than the second, and the first."""
    if len(pool.classes) < 2:
        raise SettingsError(
            f"the strategy margin needs labels of two classes or more, found {len(pool.classes)}",
            where="strategy", remedy="Label a first round with --strategy mixture.",
        )
    told, free = np.flatnonzero(pool.labels >= 0), pool.free
    model = SharedCovariance().fit(pool.vectors[told], pool.labels[told])
    values = pool.vectors[free] @ model.coef_.T.astype(np.float32) + model.intercept_
    probable = softmax(values, axis=1)
    two = np.partition(probable, -2, axis=1)[:, -2:]
    return free, two[:, 1] - two[:, 0], probable.argmax(axis=1)


def _told(free: Rows, margins: NDArray[np.float64], places: Rows) -> Picks:
    """The smallest margins first. No class is named: who reads this is about to say what the image shows."""
    places = places[np.argsort(margins[places], kind="stable")]
    return Picks(free[places], tuple((OPEN if gap < 0.5 else LEFT).format(gap) for gap in margins[places]))


def _unlike(pool: Pool, places: Rows, free: Rows, margins: NDArray[np.float64], count: int) -> Rows:
    """Of some places those of small margins, one a cluster."""
    hard = places[np.argsort(margins[places], kind="stable")][: CANDIDATES * count]
    if len(hard) <= count:
        return hard
    members, _ = clustered(pool.vectors[free[hard]], count, seed=pool.seed)
    first = np.unique(members, return_index=True)[1]  # the smallest margin of each: they are in that order
    rest = np.setdiff1d(np.arange(len(hard)), first)
    chosen: Rows = hard[np.concatenate([first, rest])[:count]]
    return chosen
