"""Endoscopy: HyperKvasir (Borgli et al. 2020).

10,662 labelled images in 23 classes and 99,417 unlabelled ones, JPEG of many sizes:
``labeled-images/lower-gi-tract/anatomical-landmarks/cecum/UUID.jpg``, ``labeled-images/image-labels.csv``
with the columns ``Video file,Organ,Finding,Classification`` (name of the file, "Lower GI" or "Upper GI",
class, group of classes), and ``unlabeled-images/images/UUID.jpg``. Which image is whose was not published.

Sources: https://datasets.simula.no/hyper-kvasir (counts: Borgli et al. 2020, doi 10.1038/s41597-020-00622-y);
folders as in the paper's lists ``splits/endo``; the columns as public readers of the table name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets.base import (
    DataSet,
    Reading,
    files_below,
    folders_below,
    locate,
    parts_of,
    with_part,
)
from hundredfold.data.datasets.lists import WHERE, PublishedSplit, check_labels, name_of
from hundredfold.data.rows import read_rows
from hundredfold.data.table import ImageTable

__all__ = ["COUNTS", "ENDOSCOPY", "read_endoscopy"]

#: class → images.
COUNTS: Mapping[str, int] = {
    "bbps-2-3": 1148, "polyps": 1028, "cecum": 1009, "dyed-lifted-polyps": 1002, "pylorus": 999,
    "dyed-resection-margins": 989, "z-line": 932, "retroflex-stomach": 764, "bbps-0-1": 646,
    "ulcerative-colitis-grade-2": 443, "esophagitis-a": 403, "retroflex-rectum": 391, "esophagitis-b-d": 260,
    "ulcerative-colitis-grade-1": 201, "ulcerative-colitis-grade-3": 133, "impacted-stool": 131,
    "barretts-short-segment": 53, "barretts": 41, "ulcerative-colitis-grade-0-1": 35,
    "ulcerative-colitis-grade-2-3": 28, "ulcerative-colitis-grade-1-2": 11, "ileum": 9, "hemorrhoids": 6,
}
UNLABELLED = 99_417
TITLE = "HyperKvasir"
TRACTS = ("lower-gi-tract", "upper-gi-tract")
TREE = (
    "labeled-images/ with image-labels.csv, lower-gi-tract/ and upper-gi-tract/ (such as "
    "lower-gi-tract/anatomical-landmarks/cecum/UUID.jpg), and unlabeled-images/images/UUID.jpg"
)
SUFFIXES = (".jpg", ".jpeg")
COLUMNS = ("video file", "organ", "finding", "classification")


def read_endoscopy(
    images: Path, choices: DatasetChoices, *, counts: Mapping[str, int] = COUNTS,
    unlabelled: int = UNLABELLED,
) -> Reading:
    """The images below ``images``; an id is the path from ``labeled-images`` or ``unlabeled-images`` on.

    Raises:
        InputError: the layout is another one, or the split lists cannot be used.
        LabelConflictError: image-labels.csv, or a list, calls an image otherwise than its folder.
        LeakError: ``published_split`` without ``allow_leak``.
    """
    # labeled-videos has folders of the same names.
    root = locate(images, lambda f: any(_images_of(f, tract) for tract in TRACTS), title=TITLE, tree=TREE)
    labelled = _labelled(root, counts)
    others = _unlabelled(images) if choices.unlabelled else labelled[:0]
    table = ImageTable.of(pd.concat([labelled, others]))
    listed = _listed(root / "image-labels.csv")
    told = labelled["id"].map(lambda name: listed.get(name_of(name), (None, ""))[0])
    check_labels(labelled, told, by="image-labels.csv")
    lists = PublishedSplit.read(choices, "endo")
    table, split = _split(table, choices, lists)
    parts = parts_of(counts, labelled["label"])
    if choices.unlabelled:
        parts = with_part(parts, "unlabelled", unlabelled, len(others))
    there = set(labelled["id"].map(name_of))
    notes = ("Which image is whose was not published: frames of one examination may be on both sides.",)
    missing = tuple(place for name, (_, place) in listed.items() if name not in there)
    return Reading(table, parts, "endoscopy", split, missing, notes)


def _labelled(root: Path, counts: Mapping[str, int]) -> pd.DataFrame:
    """Images ``TRACT/GROUP/CLASS/FILE`` of the known classes."""
    rows = [
        (f"labeled-images/{path.relative_to(root).as_posix()}", str(path.absolute()), path.parent.name)
        for tract in TRACTS for path in _images_of(root, tract)
    ]
    frame = pd.DataFrame(rows, columns=["id", "path", "label"])
    return frame[frame["label"].isin(list(counts))]


def _images_of(folder: Path, tract: str) -> list[Path]:
    return files_below(folder / tract, SUFFIXES) if (folder / tract).is_dir() else []


def _unlabelled(images: Path) -> pd.DataFrame:
    folder = next((f for f in folders_below(images) if f.name.endswith("unlabeled-images")), None)
    paths = files_below(folder, SUFFIXES) if folder is not None else []
    rows = [(f"unlabeled-images/{path.name}", str(path.absolute()), None) for path in paths]
    return pd.DataFrame(rows, columns=["id", "path", "label"])


def _listed(path: Path) -> dict[str, tuple[str, str]]:
    """Name → class and place, as image-labels.csv has them; none where it is not there."""
    if not path.is_file():
        return {}
    rows = read_rows(path, required=COLUMNS)
    tract = rows["organ"].str.split().str[0].str.lower() + "-gi-tract"
    places = "labeled-images/" + tract + "/" + rows["classification"] + "/" + rows["finding"] + "/"
    return {
        name: (label, f"{place}{name}.jpg")
        for name, label, place in zip(rows["video file"], rows["finding"], places, strict=True)
    }


def _split(
    table: ImageTable, choices: DatasetChoices, lists: PublishedSplit | None
) -> tuple[ImageTable, str]:
    if lists is None:
        return table, (
            "Drawn by the seed: of each class the share --test-size is the test set. The published lists are "
            f"in {WHERE}; with --splits their training list is taken, and all other labelled images are the "
            "test set."
        )
    leaking = f"{len(lists.leaking):,} of the {len(lists.test):,} images of the published test list"
    if choices.published_split:
        return lists.as_published(table, allow_leak=choices.allow_leak), (
            f"Published, with its leak: {leaking} are also training images. These results cannot be trusted."
        )
    return lists.by_train(table), (
        "The published training list, and all other labelled images as the test set. The published test list "
        f"is not taken: {leaking} are also training images."
    )


ENDOSCOPY = DataSet(
    name="endoscopy", title=TITLE, read=read_endoscopy,
    source="https://datasets.simula.no/hyper-kvasir",
)
