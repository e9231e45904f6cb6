"""Further fits at one number of labels: on parts of a draw, and on labels of other sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hundredfold.learn.draws import Outcome, solve
from hundredfold.learn.processes import in_processes
from hundredfold.learn.study import Vectors
from hundredfold.learn.trial import Trial
from hundredfold.progress import bar

__all__ = ["Refit", "refitted"]


@dataclass(frozen=True)
class Refit:
    """One fit, and whom it judges.

    Attributes:
        encoder: whose vectors.
        repeat: the draw.
        rows: the labelled rows of the training side to learn from.
        asked: ``[m, d]`` the vectors to judge.
    """

    encoder: str
    repeat: int
    rows: NDArray[np.int64]
    asked: Vectors


def refitted(
    refits: Sequence[Refit], trial: Trial, train: Mapping[str, Vectors], classifiers: Sequence[str], *,
    preset: str, jobs: int, title: str,
) -> list[Outcome]:
    """What the classifiers say in each of the fits, in their order.

    Args:
        refits: what to fit.
        trial: the training side.
        train: encoder → its vectors.
        classifiers: on frozen vectors.
        preset: whose settings.
        jobs: processes of one thread each, where the work is worth starting them.
        title: of the bar.
    """
    def fit(one: Refit) -> partial[Outcome]:
        return partial(
            solve, train[one.encoder][one.rows], trial.train_codes[one.rows], one.asked, classifiers,
            len(trial.classes), groups=trial.train_groups[one.rows], preset=preset,
        )

    numbers = sum((len(one.rows) + len(one.asked)) * one.asked.shape[1] for one in refits)
    work = ((place, fit(one)) for place, one in enumerate(refits))
    found = {}
    with bar(title, len(refits), "fits") as progress:
        for place, outcome in in_processes(work, count=len(refits), numbers=numbers, jobs=jobs):
            found[place] = outcome
            progress.advance()
    return [found[place] for place in range(len(refits))]
