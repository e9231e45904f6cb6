"""Two methods on the same test images: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hundredfold.errors import TableError
from hundredfold.metrics import (
    MIN_GROUPS,
    Resamples,
    balanced_accuracy,
    class_trials,
    flawless_accuracy,
    group_codes,
    resampled_accuracy,
)

__all__ = ["COLUMNS", "Method", "against", "compare", "holm", "p_value", "resampled_curve", "smallest_p"]

COLUMNS = (
    "encoder", "classifier", "other_encoder", "other_classifier", "n_per_class", "accuracy",
    "other_accuracy", "difference", "low", "high", "p", "p_holm", "family", "paired", "draws", "n_test",
)
RESAMPLES = 1000
#: resamples for each comparison of a family: the smallest p-value times the family is then .02
RESAMPLES_EACH = 100
ROUNDING = 1e-9

Floats = NDArray[np.float64]
#: encoder and classifier
Method: TypeAlias = tuple[str, str]
Pair: TypeAlias = tuple[Method, Method]


def compare(
    predictions: pd.DataFrame, groups: pd.Series | None, pairs: Sequence[Pair], *, n_per_class: int,
    draws: Mapping[str, str] | None = None, seed: int = 0,
) -> pd.DataFrame:
    """Compare methods in pairs by balanced accuracy, on the same images, labels and bootstrap resamples.

    The interval is the percentile interval of the difference over resamples of test groups and draws, each
    for itself, as the two-sided ``p`` is. ``p_holm`` is corrected over all ``pairs`` (Holm 1979), which are
    the family; so an interval may leave out 0 where the corrected p-value is above .05.

    Args:
        predictions: encoder, classifier, n_per_class, repeat, id, label, predicted.
        groups: image id → group, missing where unknown; ``None`` where no image has one.
        pairs: which is compared with which; the difference is the first less the second.
        n_per_class: the labels per class at which they are compared.
        draws: encoder → a name of its draws of labels. Encoders with the same name (by default all) were
            given the same labels and are compared draw by draw; of others the draws are resampled apart.
        seed: of the resamples.

    Returns:
        a row a pair, with ``COLUMNS``. Interval and p-values are NaN where the test images come from fewer
        than ten groups.

    Raises:
        TableError: a method has no prediction for a test image, or two methods have other labels of it.

    Examples:
        >>> rows = [("a", "svm", 5, 0, f"{n}", "xy"[n % 2], "x" if m == "a" else "xy"[n % 2], m)
        ...         for m in "ab" for n in range(40)]
        >>> table = pd.DataFrame(rows, columns=["encoder", "classifier", "n_per_class", "repeat", "id",
        ...                                     "label", "predicted", "m"]).assign(encoder=lambda t: t["m"])
        >>> found = compare(table, None, [(("b", "svm"), ("a", "svm"))], n_per_class=5)
        >>> found[["difference", "low", "high"]].round(2).iloc[0].tolist(), bool(found["p"].iloc[0] < .01)
        ([0.5, 0.32, 0.68], True)
    """
    rows = predictions[predictions["n_per_class"].astype(int) == n_per_class]
    answers = _Answers.of(rows, {method for pair in pairs for method in pair})
    group = answers.codes(groups)
    known = len(np.unique(group)) >= MIN_GROUPS
    names = {encoder: (draws or {}).get(encoder, "") for encoder, _ in answers.predicted}
    count = _resamples(len(pairs))
    drawn = Resamples.draw(group, 1, count, seed)
    spread = _spread(answers, names, drawn, seed) if known else {}
    unseen = 1 - flawless_accuracy(class_trials(answers.truth, drawn))
    compared = [_row(answers, pair, spread, names, unseen) for pair in pairs]
    table = pd.DataFrame(compared, columns=list(COLUMNS))
    return table.assign(
        n_per_class=n_per_class, p_holm=holm(table["p"]), family=len(pairs), n_test=len(answers.ids)
    )


def resampled_curve(
    predictions: pd.DataFrame, groups: pd.Series | None, method: Method, *, seed: int = 0
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """One method's curve, and the same curve in every bootstrap resample of test groups and draws.

    Args:
        predictions: as in :func:`compare`.
        groups: as in :func:`compare`.
        method: encoder and classifier.
        seed: of the resamples, which are the same for all budgets.

    Returns:
        budgets ``[k]``, balanced accuracy as the mean over the draws ``[k]``, and that in each resample
        ``[b, k]``.

    Examples:
        >>> rows = [("a", "svm", n, 0, f"{i}", "xy"[i % 2], "xy"[i % 2]) for n in (1, 5) for i in range(20)]
        >>> table = pd.DataFrame(rows, columns=["encoder", "classifier", "n_per_class", "repeat", "id",
        ...                                     "label", "predicted"])
        >>> budgets, values, samples = resampled_curve(table, None, ("a", "svm"))
        >>> budgets.tolist(), values.tolist(), samples.shape
        ([1, 5], [1.0, 1.0], (1000, 2))
    """
    own = predictions[_is(predictions, method)]
    budgets = np.sort(own["n_per_class"].astype(int).unique())
    values, samples = [], []
    for budget in budgets:
        answers = _Answers.of(own[own["n_per_class"].astype(int) == budget], {method})
        drawn = Resamples.draw(answers.codes(groups), 1, RESAMPLES, seed)
        samples.append(_spread(answers, {method[0]: ""}, drawn, seed)[method])
        values.append(float(np.mean(answers.accuracies(method))))
    return budgets, np.array(values), np.stack(samples, axis=1)


def against(first: Method, methods: Iterable[Method]) -> list[Pair]:
    """One method with each of the others.

    Examples:
        >>> against(("a", "svm"), [("a", "svm"), ("b", "svm")])
        [(('a', 'svm'), ('b', 'svm'))]
    """
    return [(first, other) for other in methods if other != first]


def p_value(differences: ArrayLike) -> float:
    """Two-sided p-value of no difference, by inverting the percentile interval.

    Twice the share of resamples on the rarer side of 0, the observed sample counted among them, so that it
    is never 0 (Davison and Hinkley 1997, Bootstrap Methods and their Application, section 4.4).

    Examples:
        >>> p_value([0.1] * 99), p_value([-0.1, 0.1]), p_value([0.0, 0.0])
        (0.02, 1.0, 1.0)
    """
    found = np.asarray(differences, dtype=float)
    found = found[~np.isnan(found)]
    rarer = min(int((found <= 0).sum()), int((found >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(found) + 1)) if len(found) else float("nan")


def smallest_p(family: int) -> float:
    """The least corrected p-value that a comparison in a family of so many can have: no resample across 0.

    Examples:
        >>> round(smallest_p(11), 3), round(smallest_p(1), 3)
        (0.02, 0.002)
    """
    return min(1.0, family * 2 / (_resamples(family) + 1))


def _resamples(family: int) -> int:
    return max(RESAMPLES, RESAMPLES_EACH * family)


def holm(p: ArrayLike) -> Floats:
    """P-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6, 65); NaN stays.

    However many are compared, the chance of calling any chance find real stays below the level.

    Examples:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=float)
    corrected = given.copy()
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * given[order]
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected


@dataclass(frozen=True)
class _Answers:
    """What each method says of the same test images: class numbers ``[r, n]``."""

    ids: pd.Index
    truth: NDArray[np.int64]
    classes: int
    predicted: Mapping[Method, NDArray[np.int64]]

    @classmethod
    def of(cls, rows: pd.DataFrame, methods: set[Method]) -> _Answers:
        parts = {method: rows[_is(rows, method)] for method in sorted(methods)}
        some = next(iter(parts.values())).drop_duplicates("id")
        ids = pd.Index(sorted(some["id"].astype(str)))
        names = sorted({str(n) for column in ("label", "predicted") for n in rows[column].unique()})
        classes = pd.Index(names)
        truth = _codes(some, "label", classes)[np.argsort(ids.get_indexer(pd.Index(some["id"].astype(str))))]
        found = {name: _grid(part, ids, classes, truth, name) for name, part in parts.items()}
        return cls(ids, truth, len(classes), found)

    def codes(self, groups: pd.Series | None) -> NDArray[np.int64]:
        """The group number of each image."""
        return group_codes(None if groups is None else groups.reindex(self.ids).tolist(), len(self.ids))

    def accuracies(self, method: Method) -> list[float]:
        """Balanced accuracy of each repeat."""
        return [balanced_accuracy(self.truth, row, self.classes) for row in self.predicted[method]]


def _is(rows: pd.DataFrame, method: Method) -> pd.Series:
    return (rows["encoder"] == method[0]) & (rows["classifier"] == method[1])


def _codes(rows: pd.DataFrame, column: str, classes: pd.Index) -> NDArray[np.int64]:
    return classes.get_indexer(pd.Index(rows[column].astype(str))).astype(np.int64)


def _grid(
    part: pd.DataFrame, ids: pd.Index, classes: pd.Index, truth: NDArray[np.int64], method: Method
) -> NDArray[np.int64]:
    """The method's answers in the order of ``ids``, a row a repeat."""
    repeat, _ = pd.factorize(part["repeat"], sort=True)
    place = ids.get_indexer(pd.Index(part["id"].astype(str)))
    grid = np.full((repeat.max(initial=0) + 1, len(ids)), -1, dtype=np.int64)
    if len(part) == 0 or (place < 0).any() or grid.size != len(part):
        raise TableError(
            f"expected one prediction for each of {len(ids):,} test images, found {len(part):,} rows",
            where=" on ".join(reversed(method)), remedy="Compare methods of the same test set.",
        )
    if (truth[place] != _codes(part, "label", classes)).any():
        raise TableError(
            "the test images have other labels than with the first method",
            where=" on ".join(reversed(method)),
            remedy="Run `hundredfold curve` with the same labels for both.",
        )
    grid[repeat, place] = _codes(part, "predicted", classes)
    return grid


def _spread(
    answers: _Answers, names: Mapping[str, str], groups: Resamples, seed: int
) -> dict[Method, Floats]:
    """Balanced accuracy of each method in every resample: same groups for all, same draws for a name."""
    found = {}
    order = sorted(set(names.values()))
    for method, predicted in answers.predicted.items():
        repeats = len(predicted)
        random = np.random.default_rng([seed, order.index(names[method[0]]), repeats])
        drawn = random.multinomial(repeats, [1 / repeats] * repeats, len(groups)).astype(np.float64)
        own = replace(groups, repeat_counts=drawn)
        found[method] = resampled_accuracy(answers.truth, predicted, answers.classes, own)
    return found


def _row(
    answers: _Answers, pair: Pair, spread: Mapping[Method, Floats], names: Mapping[str, str], unseen: float
) -> dict[str, object]:
    """Where no resample differs from another, images not seen may: as many as could have been missed.

    On such an image a difference of 0 may become one of 1, and any other changes by 2 at most.
    """
    values = [answers.accuracies(method) for method in pair]
    means = [float(np.mean(found)) for found in values]
    low = high = p = float("nan")
    if spread:
        differences = spread[pair[0]] - spread[pair[1]]
        low, high = (float(end) for end in np.nanpercentile(differences, (2.5, 97.5)))
        if high - low < ROUNDING:
            reach = 2 * unseen if abs(low) > ROUNDING else unseen
            low, high = max(-1.0, low - reach), min(1.0, high + reach)
        p = p_value(differences)
    (encoder, classifier), (other_encoder, other_classifier) = pair
    return {
        "encoder": encoder, "classifier": classifier, "other_encoder": other_encoder,
        "other_classifier": other_classifier, "accuracy": means[0], "other_accuracy": means[1],
        "difference": means[0] - means[1], "low": low, "high": high, "p": p,
        "paired": names[encoder] == names[other_encoder] and len(values[0]) == len(values[1]),
        "draws": min(map(len, values)),
    }
