"""Sets of classes that cannot be ruled out, at a chosen coverage: split-conformal prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENOUGH", "KINDS", "Kind", "Sets", "bars", "fewest", "strangeness"]

Kind: TypeAlias = Literal["marginal", "class-wise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Held-out labels of a class from which on it has a promise of its own.
ENOUGH = 20
#: Sums of weights and ratios of probabilities are compared up to this.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Sets:
    """Which classes cannot be ruled out: the most probable one, and those that are not much less probable.

    How much is fitted to held-out labels, so that the true class is in the set as often as promised. The
    measure is how many times as probable as a class the most probable other one is (Papadopoulos, Vovk and
    Gammerman 2007, "Conformal prediction with neural networks", ICTAI). So a set is never empty, a higher
    coverage only adds to it, and the images of one class only are those that are told most clearly. Sets
    by the probability alone are a little smaller, but more images have several classes, or none; sets by the
    difference of probabilities leave fewer images to a person, but tell that person next to nothing
    (``benchmarks/conformal.py`` has the numbers). Where even the most probable class need not be taken to
    keep the promise, because the classifier is right more often than that, the set is that class alone, and
    the coverage its accuracy.

    What is promised. *Marginal*: of images as they come, with the shares of the classes that were stated,
    at least ``coverage`` have their true class in the set, on average over the labels that might have been
    drawn. The labels may be of other shares, equal ones for example: they are weighted (Podkopaev and Ramdas
    2021, "Distribution-free uncertainty quantification for classification under label shift", UAI, arXiv
    2103.03323; with weights all alike it is split conformal prediction, Vovk et al. 2005). It is no promise
    for each class: a rare one may be missed every time. *Class-wise*: the same for the images of each
    class that has enough labels, whatever the shares; a class with fewer has the marginal bar and no promise
    of its own.

    What the promise rests on. Labels and new images of a class must be exchangeable, which those of another
    hospital are not; images of one patient count as if they were of several, so the coverage varies from
    patient to patient more than the numbers of images suggest. And two things are not in the theorem: the
    scores of held-out labels are of five classifiers, each of which learned from four fifths of the labels,
    while new images meet one that learned from all; and the calibration was fitted to the same held-out
    labels. Sets of that kind have no distribution-free bound (Barber et al. 2021, "Predictive inference with
    the jackknife+", Annals of Statistics 49, of the jackknife). ``benchmarks/conformal.py`` measures
    how near they come, and a report measures it on the test images of the run.

    Attributes:
        coverage: how often the true class is to be in the set.
        kind: marginal or class-wise.
        bars: ``[c]`` the share of the most probable class's probability from which on each class is in the
            set; 1 for none but the most probable one, 0 for a class that is in every set, because there are
            too few labels to rule it out.
        held_out: ``[c]`` labels of each class that it was fitted to.
    """

    coverage: float
    kind: Kind
    bars: tuple[float, ...]
    held_out: tuple[int, ...]

    @classmethod
    def fit(
        cls, probabilities: NDArray[Any], codes: Integers, coverage: float = 0.9, kind: Kind = "marginal",
        shares: NDArray[Any] | None = None,
    ) -> Self | None:
        """Fit to the probabilities ``[m, c]`` of held-out labels, of classes ``codes`` [m].

        Rows of NaN are labels that could not be held out. ``None`` where there are fewer than the coverage
        needs in any case: ``coverage / (1 - coverage)``, which is 9 for .9 and 99 for .99.

        Args:
            probabilities: as the classes have these shares.
            codes: the classes of the labels.
            coverage: between 0 and 1.
            kind: marginal or class-wise.
            shares: ``[c]`` of the classes where new images come from; by default all alike.

        Examples:
            >>> said = np.repeat([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.1, 0.9]], [10, 10, 10, 10], axis=0)
            >>> found = Sets.fit(said, np.repeat([0, 0, 0, 1], 10))  # a quarter of class 0 is called class 1
            >>> found.members(np.array([[0.9, 0.1], [0.52, 0.48]])).tolist()
            [[True, False], [True, True]]
            >>> [round(bar, 2) for bar in found.bars]  # .45 of .55
            [0.82, 0.82]
        """
        judged = ~np.isnan(probabilities).any(axis=1)
        codes, count = codes[judged], probabilities.shape[1]
        if len(codes) < fewest(coverage):
            return None
        sizes = np.bincount(codes, minlength=count)
        alike = np.full(count, 1 / count) if shares is None else np.asarray(shares, dtype=np.float64)
        own = strangeness(probabilities[judged].astype(np.float64))[np.arange(len(codes)), codes]
        found = bars(own, codes, alike, coverage)
        if kind == "class-wise":
            for number in np.flatnonzero(_enough(sizes, coverage)):
                its = own[codes == number]
                found[number] = bars(its, np.zeros(len(its), dtype=np.int64), np.ones(1), coverage)[0]
        held = tuple(int(size) for size in sizes)
        return cls(coverage, kind, tuple((1 / np.maximum(found, 1)).tolist()), held)

    def members(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each class is in the set of each image ``[n, c]``; the most probable one always is."""
        said = np.asarray(probabilities, dtype=np.float64)
        # The label that made the bar is within it, and so is whatever ties with it, however that was rounded.
        least = (1 - ROUNDING) * np.array(self.bars) * said.max(axis=1, keepdims=True)
        return np.asarray(said >= least)

    @property
    def promised(self) -> NDArray[np.bool_]:
        """Which classes have labels enough for a promise of their own ``[c]``."""
        return _enough(np.array(self.held_out), self.coverage)

    def told(self, classes: Sequence[str]) -> dict[str, Any]:
        """What is promised, as JSON for who reads answers; of class-wise sets also whom it is not.

        Examples:
            >>> Sets(0.9, "class-wise", (0.5, 0.5), (25, 9)).told(["common", "rare"])
            {'coverage': 0.9, 'kind': 'class-wise', 'not_enough_labels': ['rare']}
        """
        pairs = zip(classes, self.promised, strict=True)
        few = [name for name, own in pairs if not own and self.kind == "class-wise"]
        return {"coverage": self.coverage, "kind": self.kind, "not_enough_labels": few}

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, which :meth:`of` reads."""
        return {
            "coverage": self.coverage, "kind": self.kind, "bars": list(self.bars),
            "held_out": list(self.held_out),
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What :attr:`facts` told."""
        return cls(facts["coverage"], facts["kind"], tuple(facts["bars"]), tuple(facts["held_out"]))


def fewest(coverage: float) -> int:
    """How many held-out labels a coverage needs in any case.

    Examples:
        >>> fewest(0.9), fewest(0.95), fewest(0.99)
        (9, 19, 99)
    """
    return int(np.ceil(coverage / (1 - coverage) - ROUNDING))


def strangeness(probabilities: Floats) -> Floats:
    """How many times as probable as each class the most probable other one is ``[n, c]``.

    Examples:
        >>> strangeness(np.array([[0.5, 0.4, 0.1]])).round(3).tolist()
        [[0.8, 1.25, 5.0]]
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    others = np.where(probabilities < first[:, None], first[:, None], second[:, None])
    found: Floats = np.full(others.shape, np.inf)
    np.divide(others, probabilities, out=found, where=probabilities > 0)
    return found


def bars(scores: Floats, codes: Integers, shares: Floats, coverage: float) -> Floats:
    """The weighted quantile of held-out scores that each class must not exceed ``[c]``.

    A class y is in the set of a new image while the labels that are not stranger, each weighing the share of
    its class over its number of labels, make less than ``coverage`` of all with the image itself among them,
    counted as a label of y that is stranger than any. So the bars differ a little between classes; where the
    shares are those of the labels they are all alike, the ⌈(m + 1) · coverage⌉-th smallest score.

    Args:
        scores: ``[m]`` how strange the true classes of held-out labels are.
        codes: ``[m]`` these classes.
        shares: ``[c]`` of the classes where new images come from.
        coverage: between 0 and 1.

    Returns:
        infinity for a class that there are too few labels to rule out.

    Examples:
        >>> bars(np.arange(9.0), np.zeros(9, dtype=int), np.ones(1), 0.8)
        array([7.])
    """
    sizes = np.bincount(codes, minlength=len(shares))
    there, weights = sizes > 0, np.full(len(shares), np.inf)
    weights[there] = shares[there] / shares[there].sum() / sizes[there]
    order = np.argsort(scores, kind="stable")
    wanted = coverage * (1 + weights) - ROUNDING
    return np.append(scores[order], np.inf)[np.searchsorted(np.cumsum(weights[codes[order]]), wanted)]


def _enough(sizes: Integers, coverage: float) -> NDArray[np.bool_]:
    return np.asarray(sizes >= max(ENOUGH, fewest(coverage)))
