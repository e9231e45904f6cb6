"""Images → rows of predictions, in their order, a part of the table at a time; nothing of a part is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.recipe import Recipe
from hundredfold.data.stream import Passing, Square, passing
from hundredfold.data.supply import LOCAL, Supply
from hundredfold.data.table import ImageTable
from hundredfold.errors import ImageError
from hundredfold.predict.columns import NEIGHBOURS, column_names, columns
from hundredfold.predict.explain import Resemblance, written
from hundredfold.predict.predictor import Predictor

__all__ = ["listed", "part_size", "predicted"]

#: Rows of a part, at least: what a kill costs.
LEAST = 256


def part_size(batch: int) -> int:
    """Rows of a part: whole batches, so that a part is the same whichever came before it.

    Examples:
        >>> part_size(64), part_size(100), part_size(1000)
        (256, 300, 1000)
    """
    return -(-LEAST // batch) * batch


def listed(table: ImageTable, supply: Supply) -> list[Passing]:
    """The usable images of a table, with the fingerprints of their files as they are now."""
    usable = table.frame.loc[table.frame["problem"].isna(), ["id", "path"]]
    return [
        Passing(str(name), str(path), supply.stamp(str(path)))
        for name, path in usable.itertuples(index=False, name=None)
    ]


def predicted(
    predictor: Predictor, table: ImageTable, images: list[Passing], supply: Supply = LOCAL, *,
    batch: int = 64, first: int = 0, shares: NDArray[np.float64] | None = None,
    known: Resemblance | None = None,
) -> Iterator[pd.DataFrame]:
    """Part after part of the rows ``image``, :func:`~hundredfold.predict.columns.columns` …, ``problem``.

    What is said of an image does not depend on the images beside it, but for the last bits of its numbers,
    which may depend on its batch; a part has the same batches whenever it is made.

    Args:
        predictor: says what the images are.
        table: the images; those with a problem get their rows, too.
        images: its usable ones, as :func:`listed` gives them.
        supply: where their bytes come from.
        batch: images encoded at once.
        first: the part to begin with.
        shares: how common the classes are where the images come from; by default all alike.
        known: the labelled images of which the nearest stand in a column ``neighbours``.
    """
    size, recipe = part_size(batch), Recipe.of(predictor.facts)
    frame = table.frame[["id", "problem", "group"]]
    names = [*column_names(predictor), *([] if known is None else [NEIGHBOURS])]
    before = int(frame["problem"].iloc[: first * size].isna().sum())
    with passing(images[before:], recipe, supply, ahead=2 * batch) as coming:
        for start in range(first * size, len(frame), size):
            some = _Part(frame.iloc[start : start + size])
            while squares := some.next_batch(coming, batch):
                answers = predictor.answer(recipe.batch(squares), shares)
                some.add(columns(predictor, answers), answers.vectors, known)
            yield some.rows(names)


class _Part:
    """Some rows of the table, and what was said of them so far."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.ids = frame["id"].to_numpy(dtype=object)
        self.problems, self.groups = frame["problem"].to_list(), frame["group"].to_list()
        self.good: list[int] = []
        self.said: list[pd.DataFrame] = []
        self._waiting = iter(np.flatnonzero(frame["problem"].isna()).tolist())

    def next_batch(self, coming: Iterator[Square], size: int) -> list[NDArray[np.uint8]]:
        """The next squares, ``size`` of them or what is left; empty at the end of the part."""
        squares: list[NDArray[np.uint8]] = []
        for place in self._waiting:
            square = next(coming)
            if isinstance(square, ImageError):
                self.problems[place] = square.reason
                continue
            squares.append(square)
            self.good.append(place)
            if len(squares) == size:
                break
        return squares

    def add(self, said: pd.DataFrame, vectors: NDArray[np.float32], known: Resemblance | None) -> None:
        """Keep what was said of the last squares, and whom they resemble."""
        if known is not None:
            groups = [self.groups[place] for place in self.good[-len(said):]]
            near = [written(one) for one in known.nearest(vectors, groups)]
            said[NEIGHBOURS] = pd.Series(near, dtype="str")
        self.said.append(said)

    def rows(self, names: list[str]) -> pd.DataFrame:
        known = pd.concat(self.said) if self.said else pd.DataFrame(columns=names)
        rows = known.set_axis(pd.Index(self.good, dtype=int)).reindex(range(len(self.ids)))
        rows.insert(0, "image", pd.Series(self.ids, dtype="str"))
        return rows.assign(problem=pd.Series(self.problems, dtype="str"))
