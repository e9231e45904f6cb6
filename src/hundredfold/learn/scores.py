"""What every classifier says of every test image, at one number of labels; and of labels held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.learn.held_out import HeldOut
from hundredfold.learn.study import Cell, Study
from hundredfold.learn.trial import Trial

__all__ = ["SCORE", "Said", "held_out_table", "read_scores", "score_table"]

#: Before the name of a class: the column of its scores.
SCORE = "score:"


class Said(NamedTuple):
    """What one classifier says in all repeats: class numbers ``[r, n]`` and scores float32 ``[r, n, c]``."""

    predicted: NDArray[np.int32]
    scores: NDArray[np.float32]


def score_table(trial: Trial, said: Mapping[Cell, Said]) -> pd.DataFrame:
    """One row an answer: who said it, of which image, and its score for every class.

    The columns are encoder, classifier, n_per_class, repeat, id, group, piece, label, predicted, and a
    ``score:CLASS`` for each class. ``group`` is a number that tells patients or slides apart, -1 where
    none is known; ``piece`` one that images of a group share, and near-copies.

    A score is the classifier's own, the higher the likelier: a probability or its logarithm, a share of votes
    or a decision value. It is the same for all images, and no higher than any other, for a class without
    training images. For 20,000 test images, 21 classes, 5
    repeats and 12 classifiers and encoders the table takes 120 MB.
    """
    ids, classes = pd.Index(trial.test.ids), pd.Index(trial.classes)
    names = [(*cell, repeat) for cell, one in said.items() for repeat in range(len(one.predicted))]
    each, count = len(ids), len(names)

    def of_cell(place: int) -> pd.Categorical:
        codes, values = pd.factorize(pd.Index([name[place] for name in names]))
        return pd.Categorical.from_codes(np.repeat(codes, each), values)

    scores = np.concatenate([one.scores.reshape(-1, len(classes)) for one in said.values()])
    predicted = np.concatenate([one.predicted.ravel() for one in said.values()])
    return pd.DataFrame({
        "encoder": of_cell(0),
        "classifier": of_cell(1),
        "n_per_class": np.repeat(np.array([name[2] for name in names], dtype=np.int32), each),
        "repeat": np.repeat(np.array([name[3] for name in names], dtype=np.int32), each),
        "id": pd.Categorical.from_codes(np.tile(np.arange(each), count), ids),
        "group": np.tile(pd.factorize(trial.test.frame["group"])[0].astype(np.int32), count),
        "piece": np.tile(trial.test_groups.astype(np.int32), count),
        "label": pd.Categorical.from_codes(np.tile(trial.test_codes, count), classes),
        "predicted": pd.Categorical.from_codes(predicted, classes),
        **{f"{SCORE}{name}": scores[:, number] for number, name in enumerate(trial.classes)},
    })


def held_out_table(study: Study, held: Mapping[tuple[str, int], HeldOut]) -> pd.DataFrame | None:
    """One row a label of a draw and classifier: what was said of it by a fit that had not seen its group.

    The columns are encoder, classifier, n_per_class, repeat, id, label, and a ``score:CLASS`` for each class.
    Labels that could not be held out are missing; ``None`` where none could.
    """
    parts, classes = [], pd.Index(study.trial.classes)
    for (encoder, repeat), one in held.items():
        ids = study.trial.train.ids[study.draws[study.headline, repeat]]
        for name, scores in zip(study.shallow, one.scores, strict=True):
            rows = pd.DataFrame(scores, columns=[f"{SCORE}{label}" for label in classes])
            label = pd.Categorical.from_codes(one.codes, classes)
            parts.append(rows.assign(
                encoder=encoder, classifier=name, n_per_class=study.headline, repeat=repeat, id=ids,
                label=label,
            )[one.judged])
    if not parts:
        return None
    table = pd.concat(parts, ignore_index=True)
    names = ["encoder", "classifier", "n_per_class", "repeat", "id", "label"]
    return table[[*names, *table.columns.drop(names)]] if len(table) else None


def read_scores(path: Path, encoder: str, classifier: str) -> pd.DataFrame:
    """The rows of one encoder and classifier in a table that was written; the others are not read."""
    return pd.read_parquet(path, filters=[("encoder", "==", encoder), ("classifier", "==", classifier)])
