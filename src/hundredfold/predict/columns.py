"""Answers → the columns of a table of predictions, the same in a file, over HTTP and when they are judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.predict.answers import Answers
from hundredfold.predict.predictor import Predictor

__all__ = ["BETWEEN", "PROBABILITY", "SCORE", "SETS", "column_names", "columns"]

#: Before the name of a class: the column of its probability, or of its score where there are none.
PROBABILITY, SCORE = "p:", "score:"
#: The column of the classes that cannot be ruled out, the most probable first.
SETS, BETWEEN = "conformal_set", "|"
DECIMALS = 4


def columns(predictor: Predictor, answers: Answers) -> pd.DataFrame:
    """One row an image: ``label, p:<class> …, conformal_set``; without probabilities ``score:<class> …``.

    Numbers are rounded to four decimals. The set holds the classes that cannot be ruled out, the most
    probable first, with ``|`` between them; it is never empty.
    """
    numbers = answers.scores if answers.probabilities is None else answers.probabilities
    found = pd.DataFrame(np.round(numbers, DECIMALS), columns=_numbers(predictor))
    found.insert(0, "label", pd.Series(answers.labels, dtype="str"))
    if answers.sets is not None:
        found[SETS] = pd.Series(_written(answers.sets, numbers, predictor.classes), dtype="str")
    return found


def column_names(predictor: Predictor) -> list[str]:
    """The names of the columns of :func:`columns`, in their order."""
    return ["label", *_numbers(predictor), *([] if predictor.sets is None else [SETS])]


def _numbers(predictor: Predictor) -> list[str]:
    kind = SCORE if predictor.calibration is None else PROBABILITY
    return [f"{kind}{name}" for name in predictor.classes]


def _written(
    sets: NDArray[np.bool_], probabilities: NDArray[np.float64], classes: Sequence[str]
) -> list[str]:
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        BETWEEN.join(classes[place] for place in places if held[place])
        for held, places in zip(sets, order, strict=True)
    ]
