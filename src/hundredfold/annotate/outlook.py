"""How good a classifier of the labels so far would be on the audit set, and what more labels would bring."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hundredfold.annotate.background import Background, changed
from hundredfold.data.table import ImageTable

__all__ = ["Outlook", "Point", "Watcher", "measure_labels"]

BUDGETS = (1, 5, 10, 25, 50, 100, 250, 500, 1000)
CLASSIFIER, REPEATS, RESAMPLES, MORE = "logistic", 5, 500, 50
#: New labels after which the curve is measured anew.
EVERY = 20
FAILED = "The curve could not be measured ({}); it is tried again after the next labels."


class Point(NamedTuple):
    """Balanced accuracy with up to ``labels`` labels per class, and its 95 % interval (NaN: none)."""

    labels: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outlook:
    """The learning curve on the audit set.

    Args:
        points: of the curve; none where there is a problem.
        learned: labels that it learns from.
        audit: labelled images of the audit set.
        absent: classes that the audit set does not have.
        unlearned: classes of the audit set without a label to learn from; images of them count as wrong.
        forecast: what more labels would bring, as a sentence.
        problem: why there is no curve, as a sentence.
    """

    points: tuple[Point, ...] = ()
    learned: int = 0
    audit: int = 0
    absent: tuple[str, ...] = ()
    unlearned: tuple[str, ...] = ()
    forecast: str = ""
    problem: str = ""


def measure_labels(
    folder: Path, images: Path, labels: Mapping[str, str], pixels: Path | None = None
) -> Outlook:
    """Measure the curve of some labels; called in a process of its own.

    Images of the audit set, and those of one patient with them or copies of them, are not learned from, as in
    ``curve``. What is learned from may be chosen as one likes, since nothing of it is measured on.

    Args:
        folder: of the embeddings.
        images: the table of the run, which knows the audit set.
        labels: image → class.
        pixels: those of the run, by which copies that only the encoder sees are found; else they are not.
    """
    from hundredfold.config import CurveChoices
    from hundredfold.encode.embed import Embeddings
    from hundredfold.errors import HundredfoldError
    from hundredfold.learn.curve import learning_curve

    embeddings = Embeddings.read(folder)
    table = _sides(ImageTable.read(images).usable, labels)
    table = table.select(np.isin(table.ids.astype(str), embeddings.ids.astype(str)))
    if pixels is not None:
        table = table.select(~np.isin(table.ids.astype(str), list(_copies(folder, images, pixels))))
    train, audit = table.train, table.test
    counts = train.frame["label"].value_counts()
    learned, seen = len(train), len(audit)
    budgets = tuple(n for n in BUDGETS if n <= max(int(counts.max()) if learned else 0, 1))
    choices = CurveChoices(
        budgets=budgets, classifiers=(CLASSIFIER,), repeats=REPEATS, bootstrap=RESAMPLES
    )
    try:
        curve = learning_curve({folder.name: embeddings}, table, choices, jobs=1)
    except HundredfoldError as error:
        return Outlook(learned=learned, audit=seen, problem=f"{error.found}.")
    rows = curve.frame[(curve.frame["metric"] == "balanced_accuracy") & curve.frame["class"].isna()]
    means = rows.groupby("n_per_class")[["value", "low", "high"]].mean().sort_index()
    points = tuple(Point(int(n), *map(float, row)) for n, row in zip(budgets, means.to_numpy(), strict=True))
    absent, unlearned = (
        tuple(sorted(set(one.classes) - set(other.classes)))
        for one, other in ((train, audit), (audit, train))
    )
    capped = rows.groupby("n_per_class")["capped"].any()
    told = _forecast(curve.predictions, audit, capped)
    return Outlook(points, learned, seen, absent, unlearned, told)


@cache
def _copies(folder: Path, images: Path, pixels: Path) -> frozenset[str]:
    """Images to learn from that show what one held out shows, as the encoder sees it; sought once."""
    from hundredfold.data.store import PixelStore
    from hundredfold.encode.copies import copies_across
    from hundredfold.encode.embed import Embeddings

    embeddings, table = Embeddings.read(folder), ImageTable.read(images).usable
    table = table.select(np.isin(table.ids.astype(str), embeddings.ids.astype(str)))
    return frozenset(copies_across(embeddings, table, PixelStore.open(pixels))["first"].astype(str))


def _sides(images: ImageTable, labels: Mapping[str, str]) -> ImageTable:
    """The images with their labels; the audit set is the test side, and its kin on none."""
    from hundredfold.data.splits import pieces_of

    split, pieces = images.frame["split"], pieces_of(images)
    audit = (split == "audit").to_numpy(dtype=bool)
    kin = np.isin(pieces, pieces[split.isin(["audit", "test"]).to_numpy(dtype=bool)])
    sides = np.where(audit, "test", np.where(kin, "none", "train"))
    labelled = images.assign(label=[labels.get(str(image)) for image in images.ids], split=sides)
    return labelled.select((sides != "none") & labelled.labelled)


def _forecast(predictions: Any, audit: ImageTable, capped: Any) -> str:
    from hundredfold.data.splits import pieces_of
    from hundredfold.learn.compare import resampled_curve
    from hundredfold.learn.forecast import Refusal, forecast
    from hundredfold.metrics import MIN_GROUPS

    pieces = pd.Series(pieces_of(audit), index=audit.ids)
    if pieces.nunique() < MIN_GROUPS:
        return Refusal(f"the audit set has fewer than {MIN_GROUPS} patients or images").sentence
    method = (str(predictions["encoder"].iloc[0]), CLASSIFIER)
    budgets, values, samples = resampled_curve(predictions, pieces, method)
    found = capped.reindex(budgets, fill_value=True).to_numpy()
    return forecast(budgets, samples, values, capped=found, labels=MORE).sentence


class Watcher:
    """Keeps the curve fresh, in the background.

    Args:
        folder: of the embeddings.
        images: the table of the run.
        labels: gives image → class of what is labelled now.
        background: where it is measured.
        pixels: those of the run, where it looked for near-copies; see :func:`measure_labels`.
    """

    def __init__(
        self, folder: Path, images: Path, labels: Callable[[], Mapping[str, str]], background: Background,
        pixels: Path | None = None,
    ) -> None:
        self.found: Outlook | None = None
        self._folder, self._images, self._labels, self._background = folder, images, labels, background
        self._pixels = pixels
        self._measured: dict[str, str] = {}
        self._busy = False
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Measure anew if enough labels came since; returns at once."""
        with self._lock:
            if self._busy:
                return
            labels = dict(self._labels())
            if changed(labels, self._measured) < EVERY:
                return
            self._busy, self._measured = True, labels
        future = self._background.submit(measure_labels, self._folder, self._images, labels, self._pixels)
        future.add_done_callback(self._take)

    def _take(self, done: Future[Outlook]) -> None:
        if done.cancelled():
            return
        failed = done.exception()
        fault = FAILED.format(type(failed).__name__)
        self.found = done.result() if failed is None else Outlook(problem=fault)
        self._busy = False
        if failed is None:
            self.refresh()  # labels may have come meanwhile
