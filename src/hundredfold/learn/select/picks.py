"""What a strategy gives: rows in order, with a reason each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picks"]


@dataclass(frozen=True)
class Picks:
    """Rows to label, the first first.

    Attributes:
        rows: ``[b]`` row numbers, each once.
        reasons: ``[b]`` one clause each.
    """

    rows: NDArray[np.int64]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[int] | NDArray[np.int64], reason: str) -> Self:
        """Rows with one reason."""
        return cls(np.asarray(rows, dtype=np.int64), (reason,) * len(rows))

    @classmethod
    def in_turn(cls, parts: Sequence[Self]) -> Self:
        """The first of each part, then the second of each, and so on.

        Examples:
            >>> Picks.in_turn([Picks.of([1, 2, 3], "a"), Picks.of([9], "b")]).rows.tolist()
            [1, 9, 2, 3]
        """
        pairs = [list(zip(part.rows.tolist(), part.reasons, strict=True)) for part in parts]
        taken = [pair for pair in chain.from_iterable(zip_longest(*pairs)) if pair is not None]
        return cls(np.array([row for row, _ in taken], dtype=np.int64), tuple(why for _, why in taken))
