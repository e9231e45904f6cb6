"""Labels in and out: the table ``image,label[,group]`` of the package, and exports of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hundredfold.annotate.classes import ClassBook
from hundredfold.annotate.events import Answer, Chain, chain_of
from hundredfold.annotate.label_studio import read_label_studio
from hundredfold.annotate.store import Store
from hundredfold.data.labels import LabelSet
from hundredfold.data.rows import write_rows
from hundredfold.data.table import ImageTable

__all__ = ["Imported", "export_labels", "import_labels", "labels_frame", "take_in"]

OPTIONAL = ("group", "site", "split")


@dataclass(frozen=True)
class Imported:
    """What became of the rows of an import.

    Args:
        new: images that had no label here.
        same: images whose label here is the same.
        other: images whose label here is another; both stay, and the page asks which is right.
        unmatched: names that are no image's.
    """

    new: int
    same: int
    other: int
    unmatched: tuple[str, ...] = ()


def labels_frame(store: Store, images: ImageTable) -> pd.DataFrame:
    """The labels that stand, as rows ``image,label`` with what the run knows of group, site and split."""
    names, labels = ClassBook(store).names(), store.labels()
    rows = images.frame[images.frame["id"].isin(labels.keys())]
    frame = pd.DataFrame({"image": rows["id"], "label": [names[labels[name]] for name in rows["id"]]})
    for column in OPTIONAL:
        told = images.frame[column]
        # "train" for all says that no split was drawn yet; a later scan shall draw one
        if told.isin(["test", "audit"]).any() if column == "split" else told.notna().any():
            frame[column] = rows[column]
    return frame.reset_index(drop=True)


def export_labels(store: Store, images: ImageTable, path: Path) -> int:
    """Write the labels to a CSV that every verb reads; gives their number."""
    frame = labels_frame(store, images)
    write_rows(path, frame)
    return len(frame)


def import_labels(store: Store, images: ImageTable, path: Path) -> Imported:
    """Take in a CSV or Parquet table of labels, or a JSON export of Label Studio.

    A label here stays: an import is one more reader, and where it says otherwise the page asks which of the
    two is right.

    Raises:
        InputError: no such file.
        TableError: it cannot be read, no row names an image, or an image has two labels.
        LabelConflictError: one image carries two labels.
    """
    if path.suffix.lower() == ".json":
        reads, unmatched = read_label_studio(path, images)
        each = [(0, 0, 0), *(take_in(store, labels, reader) for reader, labels in reads.items())]
        new, same, other = (sum(column) for column in zip(*each, strict=True))
        return Imported(new, same, other, unmatched)
    found = LabelSet.read(path, images)
    rows = found.frame.dropna(subset="label")
    reader = f"import of {path.name}"
    new, same, other = take_in(store, dict(zip(rows["image"], rows["label"], strict=True)), reader)
    return Imported(new, same, other, found.unmatched)


def take_in(store: Store, labels: Mapping[str, str], reader: str) -> tuple[int, int, int]:
    """Enter labels as those of a reader: how many are new, the same as here, and other than here."""
    names = ClassBook(store).ensure(reader, dict.fromkeys(labels.values()))
    decided = store.decided()
    new, same, other = [], 0, []
    for image, label in labels.items():
        before = decided.get(image)
        if before is None:
            new.append(_answer(store, Chain(image, "first", ""), names[label]))
        elif before.value == ("label", names[label]):
            same += 1
        else:
            other.append(_answer(store, chain_of(image, "second", reader), names[label]))
    store.answer(reader, "first", new)
    store.answer(reader, "second", other)
    return len(new), same, len(other)


def _answer(store: Store, chain: Chain, label: str) -> Answer:
    return Answer(chain.image, "label", label, version=store.version(chain), how="import")
