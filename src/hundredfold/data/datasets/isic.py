"""Dermoscopy: ISIC 2019 with labels, ISIC 2020 without.

ISIC 2019 (25,331 JPEG in 8 classes): ``ISIC_2019_Training_Input/ISIC_0000000.jpg`` (some end in
``_downsampled``), ``ISIC_2019_Training_GroundTruth.csv`` (``image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK``, one
1.0 a row) and ``ISIC_2019_Training_Metadata.csv`` (``image,age_approx,anatom_site_general,lesion_id,sex``). A
lesion may have several images, so the lesion is the group; patients were not published.

ISIC 2020 (33,126 and 10,982 DICOM): ``ISIC_2020_Train_DICOM_corrected/train/ISIC_0000000.dcm`` and
``ISIC_2020_Test_DICOM_corrected/test/``; ``ISIC_2020_Training_GroundTruth_v2.csv`` (or without ``_v2``;
columns ``image_name``, ``patient_id``) and ``ISIC_2020_Test_Metadata.csv`` (``image``, ``patient``). Its
labels are not used, as in the paper; the patient is the group where a table is there. Nothing is read from
the DICOM header but what the pixels need.

Sources: https://challenge.isic-archive.com/data (files and counts); folders as in the paper's lists
``splits/isic``; the columns as public readers of the tables name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
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
from hundredfold.data.datasets.lists import WHERE, PublishedSplit, name_of
from hundredfold.data.rows import existing, read_rows
from hundredfold.data.table import ImageTable
from hundredfold.errors import TableError

__all__ = ["COUNTS", "ISIC", "UNLABELLED", "read_isic"]

#: class → images of ISIC 2019.
COUNTS: Mapping[str, int] = {
    "NV": 12875, "MEL": 4522, "BCC": 3323, "BKL": 2624, "AK": 867, "SCC": 628, "VASC": 253, "DF": 239,
}
#: part of ISIC 2020 → images.
UNLABELLED: Mapping[str, int] = {"train": 33_126, "test": 10_982}
TITLE = "ISIC 2019 and 2020"
INPUT = "ISIC_2019_Training_Input"
TRUTH = "ISIC_2019_Training_GroundTruth.csv"
LESIONS = "ISIC_2019_Training_Metadata.csv"
TREE = (
    f"{INPUT}/ISIC_0000000.jpg, {TRUTH}, {LESIONS}, ISIC_2020_Train_DICOM_corrected/train/ISIC_0000000.dcm, "
    "ISIC_2020_Test_DICOM_corrected/test/ and the two tables of ISIC 2020"
)
#: table of ISIC 2020 → its columns for the image and the patient; the first of a part that is there is read.
PATIENTS: Mapping[str, tuple[str, str]] = {
    "ISIC_2020_Training_GroundTruth_v2.csv": ("image_name", "patient_id"),
    "ISIC_2020_Training_GroundTruth.csv": ("image_name", "patient_id"),
    "ISIC_2020_Test_Metadata.csv": ("image", "patient"),
}


def read_isic(
    images: Path, choices: DatasetChoices, *, counts: Mapping[str, int] = COUNTS,
    unlabelled: Mapping[str, int] = UNLABELLED,
) -> Reading:
    """The images below ``images``; an id is the path in the published layout.

    Raises:
        InputError: the layout is another one, a table is missing, or the split lists cannot be used.
        TableError: the table of labels does not name one class for each image.
        LeakError: ``published_split`` without ``allow_leak``.
    """
    root = locate(images, lambda folder: (folder / INPUT).is_dir(), title=TITLE, tree=TREE)
    truth = _truth(existing(root / TRUTH, "the labels of ISIC 2019 beside its images"), list(counts))
    lesions_file = existing(root / LESIONS, "the lesions of ISIC 2019 beside its images")
    lesions = _column(lesions_file, "image", "lesion_id")
    labelled = _labelled(root / INPUT, truth, lesions)
    lists = PublishedSplit.read(choices, "isic")
    others, patients = _unlabelled(images, unlabelled) if choices.unlabelled else ({}, 0)
    table = ImageTable.of(pd.concat([labelled, *others.values()]))
    table, split = _split(table, choices, lists)
    parts = parts_of(counts, labelled["label"])
    for part, frame in others.items():
        parts = with_part(parts, f"ISIC 2020 {part}", unlabelled[part], len(frame))
    there = set(labelled["id"].map(name_of))
    missing = tuple(f"{INPUT}/{name}.jpg" for name in truth.index if name not in there)
    alone = int(labelled["group"].isna().sum())
    notes = (
        ("Images of one lesion stay on one side. " if not choices.published_split else "")
        + f"{alone:,} labelled images have no lesion in the table, and patients were not published for it.",
        *([f"{patients:,} images of ISIC 2020 have no patient in a table."] if patients else []),
    )
    return Reading(table, parts, "dermoscopy", split, missing, notes)


def _truth(path: Path, classes: list[str]) -> pd.Series:
    """Name of the image → class."""
    names = [name.lower() for name in classes]
    rows = read_rows(path, required=["image", *names]).set_index("image")
    marks = rows.apply(pd.to_numeric, errors="coerce").eq(1)
    odd = marks.sum(axis=1) != 1
    if odd.any():
        raise TableError(
            f"expected one class for each image, found {int(marks[odd].iloc[0].sum())} for an image "
            f"({odd.sum():,} such rows)",
            where=f"{path}, {odd.index[odd][0]!r}", remedy="Fetch the table again.",
        )
    return pd.Series(np.array(classes, dtype=object)[marks.to_numpy().argmax(axis=1)], index=rows.index)


def _column(path: Path, key: str, value: str) -> pd.Series:
    """``key`` → ``value`` of a table, where it has one."""
    rows = read_rows(path, required=[key, value])
    known = rows[rows[value].notna()]
    return pd.Series(known[value].to_numpy(dtype=object), index=known[key])


def _labelled(folder: Path, truth: pd.Series, lesions: pd.Series) -> pd.DataFrame:
    paths = files_below(folder, (".jpg", ".jpeg"))
    frame = pd.DataFrame({
        "id": [f"{INPUT}/{path.name}" for path in paths],
        "path": [str(path.absolute()) for path in paths],
    })
    names = frame["id"].map(name_of)
    frame = frame.assign(label=names.map(truth), group=names.map(lesions))
    return frame[frame["label"].notna()]


def _unlabelled(images: Path, parts: Mapping[str, int]) -> tuple[dict[str, pd.DataFrame], int]:
    """Part of ISIC 2020 → its images, and how many have no patient in a table."""
    folders = list(folders_below(images))
    patients = pd.concat([pd.Series(dtype="str"), *_patients(folders)])
    patients = patients[~patients.index.duplicated()]
    found = {}
    for part in parts:
        holding = (f for f in folders if f.name == part and next(f.glob("*.dcm"), None) is not None)
        folder = next(holding, None)
        paths = files_below(folder, (".dcm",)) if folder is not None else []
        place = f"ISIC_2020_{part.capitalize()}_DICOM_corrected/{part}"
        frame = pd.DataFrame({
            "id": [f"{place}/{path.name}" for path in paths],
            "path": [str(path.absolute()) for path in paths],
        })
        found[part] = frame.assign(label=None, group=frame["id"].map(name_of).map(patients))
    return found, sum(int(frame["group"].isna().sum()) for frame in found.values())


def _patients(folders: list[Path]) -> list[pd.Series]:
    return [
        _column(path, *columns)
        for name, columns in PATIENTS.items() for folder in folders if (path := folder / name).is_file()
    ]


def _split(
    table: ImageTable, choices: DatasetChoices, lists: PublishedSplit | None
) -> tuple[ImageTable, str]:
    if lists is None:
        return table, (
            "Drawn by the seed: of each class the share --test-size is the test set, whole lesions at a "
            f"time. The published lists are in {WHERE}; name their folder with --splits to take their test "
            "images."
        )
    if lists.unlabelled is not None:
        known = table.frame["id"].map(name_of).isin(lists.unlabelled).to_numpy()
        table = table.select(table.labelled | known)
    if choices.published_split:
        return lists.as_published(table, allow_leak=choices.allow_leak), (
            "Published, with its leak: the lists have images of one lesion on both sides."
        )
    drawn, shared = _without_shared_lesions(lists.by_test(table))
    return drawn, (
        f"The published test list. {shared:,} of the other labelled images show a lesion of the test set; "
        "they were left out altogether, where the paper trained on them."
    )


def _without_shared_lesions(table: ImageTable) -> tuple[ImageTable, int]:
    """The table without training images of the test side's groups, and how many those were."""
    frame = table.frame
    held = frame.loc[frame["split"] == "test", "group"].dropna().unique()
    shared = frame["group"].isin(held) & (frame["split"] == "train")
    return table.select(~shared), int(shared.sum())


ISIC = DataSet(
    name="isic", title=TITLE, read=read_isic,
    source="https://challenge.isic-archive.com/data",
)
