"""How common the classes are where images come from, estimated from the audit set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hundredfold.data.splits import pieces_of
from hundredfold.data.table import ImageTable
from hundredfold.metrics import Resamples

__all__ = ["Prevalence"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Prevalence:
    """The classes of the labelled audit images, counted.

    The audit set is drawn at random from all images (``scan --audit``), so the shares of the classes in it
    are those of the images as they come. Nothing else of it is used: no classifier, calibration or set is
    fitted to it.

    Attributes:
        counts: class → labelled audit images.
        ends: class → the ends of the 95 % interval of its share, whole groups being resampled; of fewer than
            ten groups there are none.
        unlabelled: audit images without a label. If they are those that were hard to label, the shares are
            wrong.
    """

    counts: Mapping[str, int]
    ends: Mapping[str, tuple[float, float]]
    unlabelled: int

    @classmethod
    def fit(cls, table: ImageTable, classes: Sequence[str]) -> Self | None:
        """Count the labelled audit images of a table; ``None`` where there are none.

        Args:
            table: images with labels and splits.
            classes: those of a predictor, which are counted though no audit image shows them.

        Examples:
            >>> table = ImageTable.of({"id": list("abcd"), "label": ["x", "x", "y", None],
            ...     "split": ["audit", "audit", "audit", "audit"]})
            >>> found = Prevalence.fit(table, ["x", "y", "z"])
            >>> found.counts, found.unlabelled
            ({'x': 2, 'y': 1, 'z': 0}, 1)
            >>> found.shares(["x", "y", "z"]).round(3).tolist()
            [0.583, 0.333, 0.083]
        """
        audit = table.usable.select(table.usable.frame["split"] == "audit")
        known = audit.select(audit.labelled)
        if not len(known):
            return None
        names = sorted({*classes, *known.classes})
        labels = known.frame["label"].to_numpy(dtype=object).astype(str)
        own = labels[:, None] == np.array(names)  # [n, c]
        counts = {name: int(count) for name, count in zip(names, own.sum(axis=0), strict=True)}
        return cls(counts, _ends(own, pieces_of(known), names), len(audit) - len(known))

    def shares(self, classes: Sequence[str]) -> NDArray[np.float64]:
        """The share of each of these classes ``[c]``.

        One image more is counted, divided among them, so that a class that none of the audit images happens
        to show is thought rare and not impossible (Perks 1947, Journal of the Institute of Actuaries 73).
        """
        counts = np.array([self.counts.get(name, 0) for name in classes], dtype=np.float64)
        found: NDArray[np.float64] = (counts + 1 / len(classes)) / (counts.sum() + 1)
        return found

    def sentences(self, classes: Sequence[str]) -> list[str]:
        """The estimate in words, and what may be wrong with it.

        Args:
            classes: those of the predictor.
        """
        parts = []
        for name in classes:
            low, high = self.ends.get(name, (np.nan, np.nan))
            between = f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
            parts.append(f"{name} {self.counts.get(name, 0) / sum(self.counts.values()):.2f}{between}")
        found = [f"In the audit set, of {sum(self.counts.values()):,} labelled images: {', '.join(parts)}."]
        if not self.ends:
            found.append("They are of fewer than ten groups: how sure these shares are cannot be said.")
        if others := sum(count for name, count in self.counts.items() if name not in classes):
            found.append(f"{others:,} of them are of classes that the predictor does not know.")
        if self.unlabelled:
            found.append(f"{self.unlabelled:,} audit images have no label: if they are the hard ones, these "
                         "shares are wrong.")
        return found

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, which :meth:`of` reads."""
        ends = {name: list(pair) for name, pair in self.ends.items()}
        return {"counts": dict(self.counts), "ends": ends, "unlabelled": self.unlabelled}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What :attr:`facts` told."""
        ends = {name: (pair[0], pair[1]) for name, pair in facts["ends"].items()}
        return cls(facts["counts"], ends, facts["unlabelled"])


def _ends(
    own: NDArray[np.bool_], pieces: NDArray[np.int64], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    drawn = Resamples.draw(pieces, 1, RESAMPLES, seed=0)
    if drawn.too_few():
        return {}
    groups = drawn.group_counts.shape[1]
    each = np.stack([np.bincount(pieces, column, groups) for column in own.T], axis=1)  # [g, c]
    found = drawn.group_counts.astype(np.float64) @ each
    spread = found / found.sum(axis=1, keepdims=True)
    shares = own.mean(axis=0)
    return {
        name: drawn.share_interval(float(shares[place]), spread[:, place]) for place, name in enumerate(names)
    }
