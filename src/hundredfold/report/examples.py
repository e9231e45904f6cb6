"""Which images a report shows: some of each class, and errors beside their nearest labelled images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hundredfold.data.splits import pieces_of
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.encode.neighbours import nearest
from hundredfold.report.tables import Headline, at_point, rows_of

__all__ = ["class_examples", "resembled", "right_and_wrong", "typical_errors"]


def class_examples(images: ImageTable, *, each: int, most_classes: int, seed: int) -> pd.DataFrame:
    """Random training images of the largest classes, or any if none has a label: ``label, id``."""
    pool = images.train if len(images.train) else images.usable
    frame = pool.frame.assign(label=pool.frame["label"].fillna("(no label)"))
    largest = frame["label"].value_counts(sort=True).index[:most_classes]
    shuffled = frame.sort_values("id").sample(frac=1, random_state=seed)
    parts = [shuffled[shuffled["label"] == name].head(each) for name in largest]
    chosen: pd.DataFrame = pd.concat(parts)[["label", "id"]].reset_index(drop=True)
    return chosen


def typical_errors(predictions: pd.DataFrame, at: Headline, *, most: int, seed: int) -> pd.DataFrame:
    """One random error of each of the most frequent confusions: ``id, label, predicted, times``.

    ``times`` is how many test images of the first draw are confused in that way.
    """
    rows = at_point(predictions, at)
    rows = rows[rows["repeat"] == rows["repeat"].min()].astype({"id": str, "label": str, "predicted": str})
    wrong = rows[rows["label"] != rows["predicted"]].sort_values("id").sample(frac=1, random_state=seed)
    grouped = wrong.groupby(["label", "predicted"], sort=False)
    table = grouped.agg(id=("id", "first"), times=("id", "size")).reset_index()
    table = table.sort_values(["times", "label", "predicted"], ascending=[False, True, True]).head(most)
    errors: pd.DataFrame = table[["id", "label", "predicted", "times"]].reset_index(drop=True)
    return errors


def right_and_wrong(predictions: pd.DataFrame, at: Headline, *, each: int, seed: int) -> pd.DataFrame:
    """Some test images of the first draw that are called right, of different classes, and some that are not.

    Returns:
        ``id, label, predicted``, the right ones first.
    """
    rows = at_point(predictions, at)
    rows = rows[rows["repeat"] == rows["repeat"].min()].astype({"id": str, "label": str, "predicted": str})
    right = rows[rows["label"] == rows["predicted"]].sort_values("id").sample(frac=1, random_state=seed)
    right = right.drop_duplicates("label").head(each)
    wrong = typical_errors(predictions, at, most=each, seed=seed)
    chosen: pd.DataFrame = pd.concat([right, wrong])[["id", "label", "predicted"]].reset_index(drop=True)
    return chosen


def resembled(
    images: pd.DataFrame, embeddings: Embeddings, *, neighbours: int, turns: bool = False
) -> pd.DataFrame:
    """Beside each image the labelled images that resemble it most, by cosine of the features.

    Left out are its own group, copies and near-copies of it, and test and audit images.

    Args:
        images: rows ``id, label, predicted``.
        embeddings: the features.
        neighbours: how many.
        turns: each labelled image was a test image once, so those of other groups may be shown.

    Returns:
        ``image, label, predicted, rank, neighbour, neighbour_label, similarity``.
    """
    frame, pieces = embeddings.images.frame, pieces_of(embeddings.images)
    sides = ["train", "test"] if turns else ["train"]
    known = frame["label"].notna() & frame["problem"].isna() & frame["split"].isin(sides)
    ids, labels, found = embeddings.ids, frame["label"].to_numpy(dtype=object), []
    places = pd.Index(ids).get_indexer(pd.Index(images["id"]))
    for image, own in zip(rows_of(images[places >= 0]), places[places >= 0], strict=True):
        others = np.flatnonzero(known.to_numpy(bool) & (pieces != pieces[own]))
        if not len(others):
            continue
        distances, rows = nearest(embeddings.vectors[[own]], embeddings.vectors[others], neighbours)
        found += [
            (image.id, image.label, image.predicted, rank, ids[other], labels[other], 1 - float(far))
            for rank, (other, far) in enumerate(zip(others[rows[0]], distances[0], strict=True), start=1)
        ]
    columns = ["image", "label", "predicted", "rank", "neighbour", "neighbour_label", "similarity"]
    return pd.DataFrame(found, columns=columns)
