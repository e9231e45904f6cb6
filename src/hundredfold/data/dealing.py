"""Which pieces to hold out, so that every class comes near its share: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Classes", "deal"]

ROUNDS = 10
NEAR = 0.005

Piece = tuple[int, NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Classes:
    """What is known of the c classes before dealing.

    Args:
        total: images of each class [c].
        held: images of each class that are held out already [c].
        kept: images of each class that are on the train side for good [c].
        share: share of each class to hold out.
    """

    total: NDArray[np.int64]
    held: NDArray[np.int64]
    kept: NDArray[np.int64]
    share: float


def deal(
    pieces: NDArray[np.int64], labels: NDArray[np.int64], order: pd.Series, classes: Classes
) -> NDArray[np.int64]:
    """Choose the pieces to hold out.

    Pieces of several images are dealt first, in random order, and then moved from one side to the
    other as long as that brings the classes nearer to their shares, each class weighing the same
    however rare it is; pieces of one image fill what is lacking. The last piece of a class is
    never held out, and each class that has two gives one where it can. Unlike in iterative
    stratification (Sechidis, Tsoumakas & Vlahavas 2011) the pieces with the rarest class do not
    come first: they tend to be the large ones, which would then fill the test set.

    Args:
        pieces: the piece each image belongs to [n].
        labels: the class of each image, from 0 [n].
        order: piece → a random number.
        classes: what is known of the classes.

    Returns:
        The pieces held out.

    Examples:
        >>> pieces, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
        >>> three = np.array([3, 3])
        >>> classes = Classes(total=three, held=0 * three, kept=0 * three, share=1 / 3)
        >>> deal(pieces, labels, pd.Series([9, 5, 7], index=[0, 1, 2]), classes)
        array([1])
    """
    cells = pd.DataFrame({"piece": pieces, "label": labels}).value_counts(sort=False).reset_index()
    size = cells.groupby("piece")["count"].transform("sum")
    hand = _Hand(cells, classes)
    large = _dealt(cells[size > 1], order)
    hand.settle(large)
    hand.fill(cells[size == 1], order)
    hand.spare(large)
    return np.array(sorted(hand.chosen), dtype=np.int64)


class _Hand:
    """What is held out so far."""

    def __init__(self, cells: pd.DataFrame, classes: Classes) -> None:
        c = len(classes.total)
        self.chosen: set[int] = set()
        self.held = classes.held.copy()
        self.target = classes.total * classes.share
        self.total = classes.total
        #: pieces of each class on the train side [c]
        self.left = np.bincount(cells["label"], minlength=c) + (classes.kept > 0)
        self.several = self.left + (classes.held > 0) > 1

    def settle(self, large: list[Piece]) -> None:
        """Move pieces from side to side until no move helps, or all classes are near enough."""
        for _ in range(ROUNDS):
            moved = sum(self._move(piece) for piece in large)
            if not moved or (np.abs(self.held - self.target) <= NEAR * self.total).all():
                break

    def fill(self, cells: pd.DataFrame, order: pd.Series) -> None:
        """Of the pieces of one image, hold out as many of each class as it lacks, at random."""
        quota = np.floor(self.target - self.held + 0.5)
        quota = np.where((quota < 1) & (self.held == 0) & self.several, 1, quota)
        quota = np.clip(quota, 0, np.maximum(self.left - 1, 0)).astype(np.int64)
        dealt = cells.iloc[np.argsort(order[cells["piece"]].to_numpy(), kind="stable")]
        place = dealt.groupby("label").cumcount().to_numpy()
        taken = dealt[place < quota[dealt["label"].to_numpy()]]
        counts = np.bincount(taken["label"], minlength=len(self.held))
        self.held += counts
        self.left -= counts
        self.chosen.update(int(piece) for piece in taken["piece"])

    def spare(self, large: list[Piece]) -> None:
        """Hold out the smallest piece of each class that has nothing held out yet, if it can be spared."""
        for label in np.flatnonzero((self.held == 0) & self.several):
            having = [piece for piece in large if label in piece[1] and piece[0] not in self.chosen]
            for piece in sorted(having, key=lambda piece: int(piece[2].sum())):
                if not self.held[label] and not self._is_last(piece[1]):
                    self._shift(piece, 1)

    def _move(self, piece: Piece) -> bool:
        name, labels, counts = piece
        sign = -1 if name in self.chosen else 1
        if sign > 0 and self._is_last(labels):
            return False
        lack, size = self.target[labels] - self.held[labels], self.total[labels]
        gain = ((lack / size) ** 2 - ((lack - sign * counts) / size) ** 2).sum()
        if gain <= 1e-8:
            return False
        self._shift(piece, sign)
        return True

    def _shift(self, piece: Piece, sign: int) -> None:
        name, labels, counts = piece
        self.held[labels] += sign * counts
        self.left[labels] -= sign
        self.chosen ^= {name}

    def _is_last(self, labels: NDArray[np.int64]) -> bool:
        return bool((self.left[labels] <= 1).any())


def _dealt(cells: pd.DataFrame, order: pd.Series) -> list[Piece]:
    """Pieces with their classes and counts, at random."""
    return list(_by_piece(cells, order)) if len(cells) else []


def _by_piece(cells: pd.DataFrame, order: pd.Series) -> Iterator[Piece]:
    place = np.lexsort((cells["label"], cells["piece"], order[cells["piece"]].to_numpy()))
    piece, label, count = (cells[name].to_numpy()[place] for name in ("piece", "label", "count"))
    starts = np.flatnonzero(np.diff(piece, prepend=piece[0] - 1))
    for start, end in zip(starts, [*starts[1:], len(piece)], strict=True):
        yield int(piece[start]), label[start:end], count[start:end]
