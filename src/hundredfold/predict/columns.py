"""Answers → the columns of a table of predictions, the same in a file, over HTTP and when they are judged."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.predict.answers import Answers
from hundredfold.predict.predictor import Predictor

__all__ = ["PROBABILITY", "SCORE", "column_names", "columns"]

#: Before the name of a class: the column of its probability, or of its score where there are none.
PROBABILITY, SCORE = "p:", "score:"
DECIMALS = 4


def columns(predictor: Predictor, answers: Answers) -> pd.DataFrame:
    """One row an image: ``label, p:<class> …``, or ``score:<class> …`` where they are no probabilities.

    Numbers are rounded to four decimals.
    """
    numbers = answers.scores if answers.probabilities is None else answers.probabilities
    names = column_names(predictor)[1:]
    found = pd.DataFrame(np.round(numbers, DECIMALS), columns=names)
    found.insert(0, "label", pd.Series(answers.labels, dtype="str"))
    return found


def column_names(predictor: Predictor) -> list[str]:
    """The names of the columns of :func:`columns`, in their order."""
    kind = SCORE if predictor.calibration is None else PROBABILITY
    return ["label", *(f"{kind}{name}" for name in predictor.classes)]
