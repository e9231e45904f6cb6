"""Drift: is a batch of new images like the known ones, where images of one patient are like each other?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

__all__ = ["ALARM", "DRAWS", "FEWEST", "RANGE", "Clean", "Drift", "Reference", "clean_batches", "drift"]

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = Mapping[str, NDArray[np.floating[Any]]]

#: A shift is told from this p-value on: by chance of one clean batch in 33.
ALARM = 0.03
#: Clean batches that a new one is compared with.
DRAWS = 499
#: Patients below which another one cannot be told from another scanner.
FEWEST = 20
#: A number that never varied among the known images varies by so much at least.
LEAST = 1e-2
TINY = 1e-300
#: A range that this share of clean batches stays in, of each number by itself.
RANGE = 0.99


@dataclass(frozen=True)
class Drift:
    """How a new batch stands among clean ones, in several kinds of numbers.

    Attributes:
        p: the share of clean batches at least as far off in whichever test is the worst: one p-value for all.
        parts: kind, or shift that was looked for → its own p-value, not corrected for there being several.
        towards: shift → how far the batch lies in its direction, in standard deviations of clean batches.
        known: kind → means ``[p]`` of the known images.
        new: kind → means ``[p]`` of the new ones.
        low: kind → where the means ``[p]`` of clean batches begin, 99 % of them, each number by itself.
        high: kind → where they end.
        batch: how many images were compared; a random part of the new ones where too few are known.
        groups: how many patients a clean batch had on average.
    """

    p: float
    parts: Mapping[str, float]
    towards: Mapping[str, float]
    known: Mapping[str, Floats]
    new: Mapping[str, Floats]
    low: Mapping[str, Floats]
    high: Mapping[str, Floats]
    batch: int
    groups: float

    @property
    def alarm(self) -> bool:
        """Whether the batch is to be called shifted."""
        return self.p <= ALARM


def drift(
    known: Numbers, pieces: Integers, new: Numbers, groups: Integers | None = None, *,
    shifts: Mapping[str, Numbers] | None = None, draws: int = DRAWS, seed: int = 0,
) -> Drift | None:
    """Compare a batch with clean ones, which are made of whole patients of the known images.

    In each kind of numbers the distance is that of the batch's mean from the mean of the known images, by
    Mahalanobis with the covariance that means of such batches have (Hotelling's T²; between and within
    patients by a random-effects analysis of variance). A shift that is looked for in particular is weighed
    the same way along its own direction (Fisher's linear discriminant), which sees far less of it. What
    distances are to be expected is seen from clean batches: images of known patients against all other
    patients. So a batch of seven patients may differ as seven patients do, and no distribution is assumed.
    Of several tests the smallest p-value counts, compared with the smallest of every clean batch (Westfall
    and Young 1993, "Resampling-based multiple testing", section 2.3).

    Args:
        known: kind → numbers ``[m, p]`` of the known images.
        pieces: ``[m]`` which of these share a patient.
        new: kind → numbers ``[n, p]`` of the new images, the same kinds.
        groups: ``[n]`` which of the new ones share a patient. Unknown, clean batches are made of patients
            with all their images, as if the new ones came like that.
        shifts: kind → shift → how it moves an image's numbers ``[p]``.
        draws: how many clean batches.
        seed: of their choice.

    Returns:
        ``None`` where fewer than 20 patients are known, or less than two new images are given.

    Examples:
        >>> random = np.random.default_rng(0)
        >>> known, far = random.normal(size=(300, 2)), random.normal(size=(50, 2)) + 1
        >>> drift({"numbers": known}, np.arange(300), {"numbers": far}, draws=99).p
        0.01
    """
    count = len(next(iter(new.values())))
    batch = min(count, len(pieces) // 2)
    if len(np.unique(pieces)) < FEWEST or batch < 2:
        return None
    chosen = np.random.default_rng(seed).permutation(count)[:batch]
    sizes = None if groups is None else np.sort(np.unique(groups[chosen], return_counts=True)[1])[::-1]
    clean = Clean(known, pieces, batch, sizes, draws=draws, seed=seed)
    return clean.compare({name: numbers[chosen] for name, numbers in new.items()}, shifts)


class Clean:
    """Clean batches of one size, with which many new ones can be compared; see :func:`drift`.

    Args:
        known: kind → numbers ``[m, p]`` of the known images.
        pieces: ``[m]`` which of these share a patient.
        count: images a batch.
        sizes: how many of each of its patients, decreasing; by default all that there are.
        draws: how many batches.
        seed: of their choice.
    """

    def __init__(
        self, known: Numbers, pieces: Integers, count: int, sizes: Sequence[int] | Integers | None = None, *,
        draws: int = DRAWS, seed: int = 0,
    ) -> None:
        pieces = np.unique(pieces, return_inverse=True)[1].astype(np.int64)
        rows = clean_batches(pieces, count, sizes, draws, np.random.default_rng(seed))
        self.count = count
        self.groups = float(np.mean([len(np.unique(pieces[some])) for some in rows]))
        self._kinds = {name: _Kind(numbers, pieces, rows) for name, numbers in known.items()}

    def compare(self, new: Numbers, shifts: Mapping[str, Numbers] | None = None) -> Drift:
        """A batch of ``count`` images: kind → numbers ``[count, p]``; kind → shift → how it moves them."""
        parts: dict[str, float] = {}
        towards: dict[str, float] = {}
        ranks, ends = [], {name: kind.ends for name, kind in self._kinds.items()}
        for name, kind in self._kinds.items():
            moves = (shifts or {}).get(name, {})
            tests = kind.tests(new[name], np.array([*moves.values()]))  # [1 + draws, 1 + s]
            ranks.append(_ranks(np.abs(tests)))
            parts[name] = float(ranks[-1][0, 0])
            parts |= dict(zip(moves, ranks[-1][0, 1:].tolist(), strict=True))
            spreads = np.maximum(tests[1:, 1:].std(axis=0), TINY)
            towards |= dict(zip(moves, (tests[0, 1:] / spreads).tolist(), strict=True))
        worst = np.concatenate(ranks, axis=1).min(axis=1)
        return Drift(
            float((worst <= worst[0]).mean()), parts, towards,
            {name: kind.reference.centre for name, kind in self._kinds.items()},
            {name: np.asarray(new[name], dtype=np.float64).mean(axis=0) for name in self._kinds},
            {name: low for name, (low, _) in ends.items()}, {name: high for name, (_, high) in ends.items()},
            self.count, self.groups,
        )


def clean_batches(
    pieces: Integers, count: int, sizes: Sequence[int] | Integers | None, draws: int,
    random: np.random.Generator,
) -> list[Integers]:
    """Rows of ``count`` known images, patient by patient in random order, for each clean batch.

    Args:
        pieces: ``[m]``, from 0 on.
        count: images a batch; at least a patient is always left out of it.
        sizes: how many images a batch has of each of its patients, decreasing; by default all that there are.
        draws: how many batches.
        random: what chooses.

    Examples:
        >>> random = np.random.default_rng(0)
        >>> pieces = np.array([0, 0, 1, 1, 2, 2, 3, 3])
        >>> batch, = clean_batches(pieces, 4, [2, 1, 1], 1, random)
        >>> len(batch), sorted(np.bincount(pieces[batch], minlength=4).tolist())
        (4, [0, 1, 1, 2])
    """
    members = np.split(np.argsort(pieces, kind="stable"), np.cumsum(np.bincount(pieces))[:-1])
    draw = _whole if sizes is None else _alike
    return [draw(members, count, sizes, random) for _ in range(draws)]


def _whole(
    members: Sequence[Integers], count: int, _: object, random: np.random.Generator
) -> Integers:
    """All images of one patient after the other, until there are enough."""
    chosen, there = [], 0
    for piece in random.permutation(len(members))[:-1]:
        chosen.append(random.permutation(members[piece])[: count - there])
        there += len(chosen[-1])
        if there == count:
            break
    return np.concatenate(chosen)


def _alike(
    members: Sequence[Integers], count: int, sizes: Sequence[int] | Integers | None,
    random: np.random.Generator,
) -> Integers:
    """As many images of each patient as the new batch has of its own, where a known one has so many."""
    assert sizes is not None
    order = random.permutation(len(members))[:-1]
    lengths = np.array([len(members[piece]) for piece in order])
    free, chosen, there = np.ones(len(order), dtype=bool), [], 0
    for size in sizes:
        fitting = np.flatnonzero(free & (lengths >= size))
        place = fitting[0] if len(fitting) else int(np.argmax(np.where(free, lengths, -1)))
        if not free[place]:
            break
        free[place] = False
        chosen.append(random.permutation(members[order[place]])[: min(int(size), count - there)])
        there += len(chosen[-1])
    if there < count and free.any():  # known patients have fewer images than the new ones
        rest = [members[order[place]] for place in np.flatnonzero(free)]
        chosen.append(np.concatenate(rest)[: count - there])
    return np.concatenate(chosen)


class Reference:
    """Known images in one kind of numbers; how far off a batch is, with some patients left out.

    Args:
        numbers: ``[m, p]``.
        pieces: ``[m]`` which share a patient, from 0 on.
    """

    def __init__(self, numbers: NDArray[np.floating[Any]], pieces: Integers) -> None:
        values = np.asarray(numbers, dtype=np.float64)
        self.centre, self.scale = values.mean(axis=0), np.maximum(values.std(axis=0), LEAST)
        self.values, self.pieces = self.scaled(values), pieces
        self.sizes = np.bincount(pieces).astype(np.float64)
        self.sums = np.zeros((len(self.sizes), values.shape[1]))
        np.add.at(self.sums, pieces, self.values)
        self._squares = self.values.T @ self.values
        self._between = (self.sums / self.sizes[:, None]).T @ self.sums

    def scaled(self, numbers: NDArray[np.floating[Any]]) -> Floats:
        """Numbers as differences from the known mean, in standard deviations of the known images."""
        return np.asarray((np.asarray(numbers, dtype=np.float64) - self.centre) / self.scale)

    def compared(self, mean: Floats, count: int, spread: float, without: Integers) -> tuple[Floats, Floats]:
        """A batch's difference ``[p]`` from all patients but some, and the covariance ``[p, p]`` of such.

        Args:
            mean: of the batch ``[p]``, scaled.
            count: images in it.
            spread: Σ(share of each patient)²: 1 over their number, if all have equally many images.
            without: pieces that are left out of the reference.

        Source:
            Searle, Casella and McCulloch 1992, "Variance components", section 3.6, for vectors.
        """
        rows = self.values[np.isin(self.pieces, without)]
        sums, sizes = self.sums[without], self.sizes[without]
        images, pieces = len(self.values) - len(rows), len(self.sizes) - len(without)
        middle = (self.sums.sum(axis=0) - sums.sum(axis=0)) / images
        between = self._between - (sums / sizes[:, None]).T @ sums
        inner = (self._squares - rows.T @ rows - between) / max(1, images - pieces)
        outer = (between - images * np.outer(middle, middle)) / (pieces - 1)
        # Expected: outer = inner + each · the covariance between patients.
        each = (images - ((self.sizes**2).sum() - (sizes**2).sum()) / images) / (pieces - 1)
        covariance = spread / each * outer + max(0.0, 1 / count - spread / each) * inner
        return mean - middle, covariance


class _Kind:
    """Clean batches in one kind of numbers: what each differs by, and what it may differ by."""

    def __init__(
        self, numbers: NDArray[np.floating[Any]], pieces: Integers, clean: Sequence[Integers]
    ) -> None:
        self.reference, self.count = Reference(numbers, pieces), len(clean[0])
        self.spread = float(np.mean([_spread(pieces[rows]) for rows in clean]))
        self._compared = [
            self._of(self.reference.values[rows].mean(axis=0), np.unique(pieces[rows])) for rows in clean
        ]

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """Where the means ``[p]`` of clean batches begin and end."""
        differences = [difference for difference, _, _ in self._compared]
        low, high = np.quantile(differences, [(1 - RANGE) / 2, (1 + RANGE) / 2], axis=0)
        scale, centre = self.reference.scale, self.reference.centre
        return centre + low * scale, centre + high * scale

    def tests(self, new: NDArray[np.floating[Any]], shifts: Floats) -> Floats:
        """T², then the signed distance along each shift ``[1 + draws, 1 + s]``; the new batch first."""
        mean = self.reference.scaled(new).mean(axis=0)
        moves = shifts.reshape(-1, len(mean)) / self.reference.scale
        return np.stack([
            _tests(*one, moves) for one in (self._of(mean, np.empty(0, dtype=np.int64)), *self._compared)
        ])

    def _of(self, mean: Floats, without: Integers) -> tuple[Floats, Floats, Floats]:
        """Difference ``[p]``, what each number of it may be ``[p]``, and the Cholesky factor ``[p, p]``.

        The fewer patients there are, the less is believed of the correlations.
        """
        difference, covariance = self.reference.compared(mean, self.count, self.spread, without)
        least = LEAST**2 * covariance.trace() / len(covariance) + TINY
        own = np.sqrt(np.maximum(np.diag(covariance), least))
        doubt = len(own) / (len(own) + len(self.reference.sizes) - len(without))
        believed = (1 - doubt) * covariance / np.outer(own, own)
        believed[np.diag_indices_from(believed)] = 1
        return difference, own, np.asarray(np.linalg.cholesky(believed), dtype=np.float64)


def _tests(difference: Floats, own: Floats, factor: Floats, shifts: Floats) -> Floats:
    """Mahalanobis' distance, squared, then the signed distance along each shift ``[1 + s]``."""
    white = solve_triangular(factor, (np.vstack([difference, shifts]) / own).T, lower=True).T  # [1 + s, p]
    lengths = np.sqrt(np.maximum((white[1:] ** 2).sum(axis=1), TINY))
    return np.concatenate([[white[0] @ white[0]], white[1:] @ white[0] / lengths])


def _spread(pieces: Integers) -> float:
    return float(((np.unique(pieces, return_counts=True)[1] / len(pieces)) ** 2).sum())


def _ranks(tests: Floats) -> Floats:
    """The share of rows with a value at least as large, column by column."""
    count, order = len(tests), np.sort(tests, axis=0)
    columns = zip(order.T, tests.T, strict=True)
    below = [np.searchsorted(known, values, side="left") for known, values in columns]
    return np.asarray((count - np.stack(below, axis=1)) / count)
