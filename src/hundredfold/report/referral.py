"""Which classes the headline's classifier cannot rule out, and how often it is right in the other images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.config import FitChoices
from hundredfold.learn.scores import SCORE, read_scores
from hundredfold.metrics import Estimate, Resamples, weighted_share
from hundredfold.predict.conformal import Kind, Sets
from hundredfold.report.judged import Judged, calibrations, judged
from hundredfold.report.material import Material
from hundredfold.report.tables import Headline

__all__ = ["LEVELS", "Referral", "coverage_of", "coverage_table", "referral_table"]

#: Coverages that are shown beside the one that was chosen.
LEVELS = (0.8, 0.9, 0.95, 0.99)
RESAMPLES = 500
#: Images that must be left for the classifier, where the line of accuracies ends.
LEFT = 20

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Referral:
    """What is said of the test images and of the labels, in each of r draws.

    Attributes:
        found: the test images and the scores on them.
        probabilities: ``[r, n, c]`` of the test images.
        labels: ``[r, n]`` class numbers that ``predict`` would give.
        known: of each draw the probabilities of its labels ``[m, c]``, by fits that had not seen them.
        codes: of each draw the classes of its labels ``[m]``.
        stated: ``[c]`` shares of the classes, which sets and probabilities are for; ``None``: all alike.
        shares: ``[c]`` the same for what is measured; a class without test images has none.
    """

    found: Judged
    probabilities: Floats
    labels: NDArray[np.int64]
    known: Sequence[Floats]
    codes: Sequence[NDArray[np.int64]]
    stated: Floats | None
    shares: Floats

    @classmethod
    def of(cls, material: Material, at: Headline) -> Self | None:
        """The headline's; ``None`` where there are no held-out scores, or no probabilities fit for sets."""
        found, fitted = judged(material, at), calibrations(material, at)
        if found is None or material.held_out is None or sorted(fitted) != list(range(len(found.predicted))):
            return None
        if not all(one.reusable for one in fitted.values()):
            return None
        there = np.bincount(found.truth, minlength=len(found.classes)) > 0
        stated = found.prevalence if material.prevalence else None
        said = np.stack([
            fitted[repeat].probabilities(scores, stated) for repeat, scores in enumerate(found.scores)
        ])
        rows = read_scores(material.held_out, at.encoder, at.classifier)
        rows = rows[rows["n_per_class"] == at.n_per_class]
        draws = [rows[rows["repeat"] == repeat] for repeat in range(len(said))]
        columns, names = [f"{SCORE}{name}" for name in found.classes], pd.Index(found.classes)
        return cls(
            found, said, found.predicted if stated is None else said.argmax(axis=2).astype(np.int64),
            [fitted[n].probabilities(one[columns].to_numpy(float), stated) for n, one in enumerate(draws)],
            [names.get_indexer(pd.Index(one["label"].astype(str))).astype(np.int64) for one in draws],
            stated, there / there.sum() if stated is None else stated,
        )

    def sets(self, coverage: float, kind: Kind) -> list[Sets] | None:
        """Of each draw; ``None`` where one has too few labels."""
        pairs = zip(self.known, self.codes, strict=True)
        found = [Sets.fit(known, codes, coverage, kind, self.stated) for known, codes in pairs]
        return [one for one in found if one is not None] if all(found) else None

    def members(self, sets: Sequence[Sets]) -> Bools:
        """Whether each class is in the set of each test image ``[r, n, c]``, as ``predict`` writes them."""
        held = np.stack([one.members(said) for one, said in zip(sets, self.probabilities, strict=True)])
        return np.asarray(held | (self.labels[..., None] == np.arange(held.shape[2])))

    def covered(self, held: Bools) -> Bools:
        """Whether the true class is in the set ``[r, n]``."""
        return np.asarray(held[:, np.arange(len(self.found.truth)), self.found.truth])

    def share(self, holds: Bools, among: Bools | None = None) -> Estimate:
        """Of the test images, in the mix of the shares, with its interval."""
        return weighted_share(self.found.truth, holds, self.shares, self.resamples, among=among)

    @cached_property
    def right(self) -> Bools:
        """Whether the label is right ``[r, n]``."""
        return np.asarray(self.labels == self.found.truth)

    @cached_property
    def resamples(self) -> Resamples | None:
        """Of test groups and draws."""
        return self.found.resamples(RESAMPLES)

    @cached_property
    def rank(self) -> Floats:
        """The share of images that are told less clearly ``[r, n]``: nearer to a set of two classes."""
        sizes = np.bincount(self.found.truth, minlength=len(self.shares))
        weight = (self.shares / np.maximum(sizes, 1))[self.found.truth]
        two = np.partition(self.probabilities, -2, axis=2)[..., -2:]
        order = np.argsort(-two[..., 0] / two[..., 1], axis=1, kind="stable")
        rank = np.empty(self.labels.shape)
        before = np.cumsum(weight[order], axis=1) - weight[order]
        np.put_along_axis(rank, order, before / weight.sum(), axis=1)
        return rank


def coverage_of(material: Material) -> tuple[float, Kind]:
    """The coverage and kind of the predictor, else as ``fit`` would choose them."""
    predictor = material.predictor or material.evaluation.get("external") or {}
    fitted: dict[str, Any] = dict(predictor.get("sets") or material.settings.get("fit", {}))
    kind: Kind = "class-wise" if (fitted.get("kind") or fitted.get("sets")) == "class-wise" else "marginal"
    return float(fitted.get("coverage") or FitChoices.model_fields["coverage"].default), kind


def coverage_table(of: Referral, coverage: float, kind: Kind) -> pd.DataFrame:
    """How often the true class is in the set: a row for all images, then one a class with test images.

    The columns are class (missing for all), n_test, n_held_out (labels, mean of the draws), covered, size
    (mean number of classes in a set), one (share of sets of one class), own (covered by class-wise sets;
    missing where a class has too few labels for a promise of its own); the shares with _low and _high.
    """
    plain, apart = of.sets(coverage, kind), of.sets(coverage, "class-wise")
    if plain is None or apart is None:
        return pd.DataFrame()
    truth, held, own = of.found.truth, of.members(plain), of.members(apart)
    promised = np.all([one.promised for one in apart], axis=0)
    labels = np.mean([one.held_out for one in plain], axis=0)
    size = held.sum(axis=2).mean(axis=0)

    def row(name: str | None, number: int | None) -> dict[str, Any]:
        among = np.ones(len(truth), bool) if number is None else truth == number
        every = np.broadcast_to(among, of.labels.shape)
        found: dict[str, Any] = {
            "class": name, "n_test": int(among.sum()),
            "n_held_out": float(labels.sum() if number is None else labels[number]),
            **_ends("covered", of.share(of.covered(held), every)),
            **_ends("one", of.share(held.sum(axis=2) == 1, every)),
        }
        weight = of.shares[truth] / np.bincount(truth)[truth] * among
        found["size"] = float(size @ weight / weight.sum())
        told = number is not None and promised[number]
        nothing = Estimate(np.nan, np.nan, np.nan)
        return found | _ends("own", of.share(of.covered(own), every) if told else nothing)

    classes = [(of.found.classes[number], int(number)) for number in np.unique(truth)]
    return pd.DataFrame([row(None, None), *(row(name, number) for name, number in classes)])


def referral_table(of: Referral, levels: Sequence[float], kind: Kind) -> pd.DataFrame:
    """How often the label is right where no person looks.

    ``kind`` is "line": the images that are told least clearly are referred, whichever share of them is asked
    for; or "sets": those with more than one class in their set at ``level``, the coverage. The columns are
    kind, level, referred, right, low, high. The line ends where few images are left, or none that is wrong.
    """
    rows: list[dict[str, Any]] = []
    for asked in np.linspace(0, 1, 41)[:-1]:
        if (kept := of.rank >= asked - 1e-9).sum(axis=1).min() < min(LEFT, kept.shape[1]):
            break
        right = of.share(of.right, kept)
        if rows and right.value == 1:
            break
        rows.append({"kind": "line", "referred": 1 - of.share(kept).value, **_right(right)})
    for level in sorted({*levels}):
        if (sets := of.sets(level, kind)) is not None:
            kept = of.members(sets).sum(axis=2) == 1
            right = of.share(of.right, kept)
            referred = of.share(~kept).value
            rows.append({"kind": "sets", "level": level, "referred": referred, **_right(right)})
    return pd.DataFrame(rows, columns=["kind", "level", "referred", "right", "low", "high"])


def _ends(name: str, found: Estimate) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def _right(found: Estimate) -> dict[str, float]:
    return {"right": found.value, "low": found.low, "high": found.high}
