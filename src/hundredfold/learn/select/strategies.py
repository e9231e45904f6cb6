"""Which images to label next: the strategies by name, and what they choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.errors import SettingsError
from hundredfold.learn.select.clusters import medoids, typiclust
from hundredfold.learn.select.explore import explore
from hundredfold.learn.select.margin import hardest, margin
from hundredfold.learn.select.picks import Picks
from hundredfold.learn.select.pool import Pool
from hundredfold.registry import Registry

__all__ = ["DEFAULT", "STRATEGIES", "Selection", "Strategy", "select"]

Strategy = Callable[[Pool, int], Picks]

STRATEGIES: Registry[Strategy] = Registry("strategy")
#: What is best in ``benchmarks/selection``.
DEFAULT = "mixture"


@dataclass(frozen=True)
class Selection:
    """What to label next, and what to look at besides.

    Attributes:
        suggested: rows to label, the first first.
        outliers: rows that are far from every neighbour, the farthest first.
    """

    suggested: Picks
    outliers: Picks

    def frame(self, ids: NDArray[np.object_]) -> pd.DataFrame:
        """The columns image, rank, kind (``suggested`` or ``outlier``) and reason.

        Args:
            ids: ``[n]`` the images of the rows.
        """
        parts = {"suggested": self.suggested, "outlier": self.outliers}
        return pd.concat([
            pd.DataFrame({
                "image": ids[picks.rows], "rank": np.arange(1, len(picks.rows) + 1), "kind": kind,
                "reason": list(picks.reasons),
            })
            for kind, picks in parts.items()
        ], ignore_index=True)


def select(
    vectors: NDArray[np.floating[Any]], budget: int, *, labels: Sequence[str | None] | None = None,
    useless: str | None = None, strategy: str = DEFAULT, seed: int = 0,
) -> Selection:
    """Choose the images to label next.

    Args:
        vectors: ``[n,d]`` of the images that may be labelled, and of those that are.
        budget: how many to choose; fewer where there are not as many.
        labels: ``[n]`` what is labelled already, ``None`` or NaN elsewhere.
        useless: the label of images that are of no use; no more of their kind are sought.
        strategy: a name in :data:`STRATEGIES`.
        seed: of everything that is left to chance.

    Raises:
        SettingsError: an unknown strategy, a budget below 1, no images, or no labels where they
            are needed.

    Examples:
        >>> vectors = np.random.default_rng(0).normal(size=(60, 5)) + 9 * np.repeat(np.eye(5)[:3], 20, axis=0)
        >>> chosen = select(vectors, 3, strategy="typiclust").suggested
        >>> sorted((chosen.rows // 20).tolist()), chosen.reasons[0]
        ([0, 1, 2], 'typical of 20 unlabelled images')
    """
    choose = STRATEGIES[strategy]
    if budget < 1:
        raise SettingsError(f"expected a budget of at least one image, found {budget}", where="budget")
    pool = Pool.of(vectors, labels, useless=useless, seed=seed)
    return Selection(choose(pool, budget), _outliers(pool))


def _outliers(pool: Pool) -> Picks:
    rows = pool.strange
    why = "unlike any other: {:.1f} times as far from its neighbours as is usual"
    return Picks(rows, tuple(why.format(times) for times in pool.alone[rows]))


def _random(pool: Pool, budget: int) -> Picks:
    """Images drawn at random, outliers among them: what every other strategy has to beat."""
    rows = np.flatnonzero(~pool.taken)
    order = np.random.default_rng([pool.seed, len(rows)]).permutation(rows)
    return Picks.of(order[:budget], "drawn at random")


def _mixture(pool: Pool, budget: int) -> Picks:
    """First the middles of clusters, and what is far, in turn; later what is hard, and a tenth that is far.

    Of what is hard two thirds level the classes, and a third is the hardest whatever its class. Without
    what is far, a class that nobody has seen yet would stay unseen.
    """
    if len(pool.classes) < 2:
        parts = {medoids: budget - budget // 2}
    else:
        parts = {hardest: 3 * budget // 10, margin: budget - 3 * budget // 10 - budget // 10}
    chosen: list[Picks] = []
    for strategy, share in parts.items():
        chosen.append(strategy(pool, share))
        pool = pool.after(chosen[-1].rows)
    left = budget - sum(len(picks.rows) for picks in chosen)
    return Picks.in_turn([*chosen, explore(pool, left)])


for _name, _strategy in {
    "typiclust": typiclust, "kmeans": medoids, "explore": explore, "margin": margin, "mixture": _mixture,
    "random": _random,
}.items():
    STRATEGIES.add(_name, _strategy)
