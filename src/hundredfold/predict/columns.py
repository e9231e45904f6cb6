"""Answers → the columns of a table of predictions, the same in a file, over HTTP and when they are judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.predict.answers import Answers
from hundredfold.predict.novelty import ALARM
from hundredfold.predict.predictor import Predictor

__all__ = [
    "BETWEEN", "NEIGHBOURS", "NOVELTY", "PROBABILITY", "SCORE", "SETS", "UNUSUAL", "column_names", "columns",
]

#: Before the name of a class: the column of its probability, or of its score where there are none.
PROBABILITY, SCORE = "p:", "score:"
#: The column of the classes that cannot be ruled out, the most probable first.
SETS, BETWEEN = "conformal_set", "|"
#: Share of known images that are less unusual, and whether so many are that a person should look.
NOVELTY, UNUSUAL = "novelty", "unusual"
#: The column of the nearest labelled images, as JSON; see :mod:`hundredfold.predict.explain`.
NEIGHBOURS = "neighbours"
DECIMALS = 4


def columns(predictor: Predictor, answers: Answers) -> pd.DataFrame:
    """One row an image: ``label, p:<class> …, conformal_set, novelty, unusual``.

    Numbers are rounded to four decimals. The set holds the classes that cannot be ruled out, the most
    probable first, with ``|`` between them; it is never empty. ``unusual`` is ``yes`` from a novelty of .95
    on, which one in twenty images like the known ones reaches, else ``no``. Where labels are too few there
    are ``score:<class>`` and no sets, where images are too few no novelty.
    """
    numbers = answers.scores if answers.probabilities is None else answers.probabilities
    found = pd.DataFrame(np.round(numbers, DECIMALS), columns=_numbers(predictor))
    found.insert(0, "label", pd.Series(answers.labels, dtype="str"))
    if answers.sets is not None:
        found[SETS] = pd.Series(_written(answers.sets, numbers, predictor.classes), dtype="str")
    if answers.novelty is not None:
        found[NOVELTY] = np.round(answers.novelty, DECIMALS)
        found[UNUSUAL] = pd.Series(np.where(answers.novelty >= ALARM, "yes", "no"), dtype="str")
    return found


def column_names(predictor: Predictor) -> list[str]:
    """The names of the columns of :func:`columns`, in their order."""
    sets = [] if predictor.sets is None else [SETS]
    strange = [] if predictor.novelty is None else [NOVELTY, UNUSUAL]
    return ["label", *_numbers(predictor), *sets, *strange]


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
