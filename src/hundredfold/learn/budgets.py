"""Which images get labels: n a class, nested over budgets, the same on any machine; and folds by group."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator

from hundredfold.errors import LeakError, SettingsError
from hundredfold.metrics import group_codes

__all__ = ["LabelBudgetSplit", "draw_labels", "group_folds", "headline_budget"]

#: Labels per class that the paper, and with it a report, speaks of.
USUAL_BUDGET = 100

Rows = NDArray[np.int64]


def draw_labels(
    ids: Sequence[str] | NDArray[np.object_], labels: ArrayLike, budget: int, *,
    repeat: int = 0, seed: int = 0,
) -> Rows:
    """The rows of ``budget`` random images of each class; a class with fewer gives all it has.

    The images of a class are ordered by a hash of seed, repeat and id, and the first are taken. So the
    10 are among the 25, and neither the order of rows, nor other classes, nor the machine matters.

    Args:
        ids: ``[n]`` the images that may be labelled.
        labels: ``[n]`` their classes.
        budget: images a class.
        repeat: number of the draw.
        seed: another seed, other draws; 0 is a seed like any other.

    Returns:
        Ascending row numbers.

    Raises:
        SettingsError: the budget is below 1.

    Examples:
        >>> ids, labels = [f"{n}.png" for n in range(9)], ["a"] * 6 + ["b"] * 3
        >>> two, five = draw_labels(ids, labels, 2), draw_labels(ids, labels, 5)
        >>> len(two), len(five), set(two) <= set(five)
        (4, 8, True)
    """
    if budget < 1:
        raise SettingsError(
            f"expected a budget of at least one label a class, found {budget}", where="budgets"
        )
    places = _places(ids, seed, repeat)
    labels = np.asarray(labels).astype(str)
    chosen = []
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        chosen.append(own[np.argsort(places[own], kind="stable")[:budget]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def headline_budget(labels: Mapping[int, int]) -> int:
    """The budget that is spoken of: the largest of at most 100 labels a class that is not a repetition.

    The rule looks at numbers of labels alone, never at a result.

    Args:
        labels: budget → labels drawn in all. Beyond the first that takes every label, budgets repeat it.

    Examples:
        >>> headline_budget({10: 20, 100: 150, 250: 310}), headline_budget({10: 20, 50: 60, 100: 60})
        (100, 50)
    """
    every = min(budget for budget, count in labels.items() if count == max(labels.values()))
    usual = [budget for budget in labels if budget <= min(USUAL_BUDGET, every)]
    return max(usual) if usual else min(labels)


class LabelBudgetSplit(BaseCrossValidator):  # type: ignore[misc]
    """A scikit-learn cross-validator: few labels to learn from, everything else to be judged by.

    Split r trains on the r-th draw of ``budget`` images a class and tests on ``test``, or else on all
    images that were not drawn and share no group with one that was (Nielsen et al. 2023, section 2.4,
    with nested draws and a fixed test set).

    Args:
        budget: labels a class.
        repeats: number of draws.
        seed: of the draws; ``None`` for draws that differ at every call.
        ids: ``[n]`` names of the samples, so that the draws do not depend on the order of rows; row
            numbers by default.
        test: ``[n]`` true for the samples that are only ever tested on.

    Examples:
        >>> from sklearn.model_selection import cross_val_score
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> X, y = np.arange(20.0)[:, None], np.repeat(["low", "high"], 10)
        >>> cross_val_score(KNeighborsClassifier(1), X, y, cv=LabelBudgetSplit(5, repeats=3)).shape
        (3,)
    """

    def __init__(
        self, budget: int, *, repeats: int = 5, seed: int | None = 0,
        ids: Sequence[str] | None = None, test: ArrayLike | None = None,
    ) -> None:
        self.budget = budget
        self.repeats = repeats
        self.seed = seed
        self.ids = ids
        self.test = test

    def get_n_splits(
        self, X: object = None, y: object = None, groups: object = None,  # noqa: ARG002, N803
    ) -> int:
        """The number of repeats."""
        return self.repeats

    def split(
        self, X: ArrayLike, y: ArrayLike | None = None,  # noqa: ARG002, N803
        groups: Sequence[object] | None = None,
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield the rows to train on and those to test on, for each repeat.

        Raises:
            SettingsError: there are no labels ``y``, or the budget is below 1.
            LeakError: a group has samples in ``test`` and others.
        """
        if y is None:
            raise SettingsError("expected the labels y, found none", remedy="Call split(X, y).")
        labels = np.asarray(y)
        ids = np.asarray(range(len(labels)) if self.ids is None else self.ids).astype(str)
        seed = secrets.randbits(64) if self.seed is None else self.seed
        held = np.zeros(len(labels), bool) if self.test is None else np.asarray(self.test, bool)
        group = group_codes(groups, len(labels))
        free = np.flatnonzero(~held)
        if len(torn := np.intersect1d(group[held], group[free])):
            raise LeakError(
                f"expected whole groups in test, found {len(torn):,} of which other samples may be drawn",
                where="groups", remedy="Put all samples of a group in test, or none.",
            )
        for repeat in range(self.repeats):
            train = free[draw_labels(ids[free], labels[free], self.budget, repeat=repeat, seed=seed)]
            judged = held if self.test is not None else ~np.isin(group, group[train])
            yield train, np.flatnonzero(judged)


def group_folds(
    ids: Sequence[str] | NDArray[np.object_], labels: ArrayLike, groups: Sequence[object] | None, *,
    folds: int, seed: int = 0,
) -> Rows:
    """Deal images into folds, class by class, so that no group is in two of them: ``[n]`` fold numbers.

    The rarest class is dealt first; each of its groups, in the order of a hash of seed and smallest id,
    goes to the fold that has fewest of the class.

    Examples:
        >>> fold = group_folds(list("abcdef"), ["x", "y"] * 3, ["p", "p", "q", "q", "r", "r"], folds=3)
        >>> sorted(fold.tolist()), bool((fold[::2] == fold[1::2]).all())
        ([0, 0, 1, 1, 2, 2], True)
    """
    labels = np.asarray(labels).astype(str)
    group = group_codes(groups, len(labels))
    places = _places(ids, seed, 0)
    first = np.full(group.max() + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(first, group, places)
    names, sizes = np.unique(labels, return_counts=True)
    fold_of_group = np.full(len(first), -1, dtype=np.int64)
    for name in names[np.argsort(sizes, kind="stable")]:
        own = group[labels == name]
        counts = np.bincount(own, minlength=len(first))
        filled = np.zeros(folds, dtype=np.int64)
        dealt = fold_of_group[own]
        np.add.at(filled, dealt[dealt >= 0], 1)
        waiting = np.flatnonzero((counts > 0) & (fold_of_group < 0))
        for number in waiting[np.argsort(first[waiting], kind="stable")]:
            fold_of_group[number] = target = int(np.argmin(filled))
            filled[target] += counts[number]
    return fold_of_group[group]


def _places(ids: Sequence[str] | NDArray[np.object_], seed: int, repeat: int) -> NDArray[np.uint64]:
    """A random number for each id, a function of seed, repeat and id alone."""
    digests = b"".join(hashlib.sha256(f"{seed}/{repeat}/{name}".encode()).digest()[:8] for name in ids)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
