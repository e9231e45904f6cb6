"""What a choice is worth where test splits take turns: each chooses a method for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isnan
from typing import Any

from hundredfold.encode.embed import Embeddings
from hundredfold.learn.choose import choose
from hundredfold.learn.held_out import held_out_in
from hundredfold.learn.outer import Judged
from hundredfold.learn.study import Cell
from hundredfold.metrics import measure

__all__ = ["chosen_by_split"]


def chosen_by_split(
    judged: Judged, embeddings: Mapping[str, Embeddings], *, jobs: int
) -> dict[str, Any] | None:
    """How well a method does that is chosen for each split on its training labels, without its test images.

    This is nested cross-validation (Varma & Simon 2006): no label has a part in what judges it.

    Args:
        judged: the splits, and what their classifiers say of the test images.
        embeddings: encoder → vectors.
        jobs: processes.

    Returns:
        balanced accuracy and its interval, at which budget, and how many splits chose which method; ``None``
        where there is nothing to choose, or nothing to choose by.
    """
    budget, cells = judged.headline, []
    for study in judged.studies:
        if len(study.encoders) * len(study.shallow) < 2:
            return None
        vectors = {name: study.trial.vectors(found) for name, found in embeddings.items()}
        choice = choose(held_out_in(study, vectors, budget, jobs=jobs), study.shallow)
        if not choice.accuracy:  # no label could be held out
            return None
        cells.append(Cell(choice.encoder, choice.classifier, budget))
    study = judged.study
    found = measure(study.trial.test_codes, *judged.said_by(cells), study.resamples)[0]
    low, high = (None if isnan(end) else end for end in (found.low, found.high))
    return {
        "n_per_class": budget, found.metric: float(found.values.mean()), "low": low, "high": high,
        "methods": [[cell.encoder, cell.classifier, count] for cell, count in Counter(cells).most_common()],
    }
