"""Bone-marrow cells: Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer (Matek et al. 2021).

171,374 single cells of 945 patients in 21 classes, 250 x 250 px, JPEG. A folder for each class; one with
over 1,000 images has sub-folders of 1,000: ``BM_cytomorphology_data/LYT/16001-17000/LYT_16826.jpg``,
``BM_cytomorphology_data/BAS/BAS_00365.jpg``. Which cell is whose was not published.

Sources: https://doi.org/10.7937/TCIA.AXH3-T579 (counts: Matek et al. 2021, doi 10.1182/blood.2020010568);
the layout as the list ``splits/bone_marrow/test.csv`` of the paper's repository shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hundredfold.config import DatasetChoices
from hundredfold.data.datasets.base import DataSet, Reading, files_below, locate, parts_of
from hundredfold.data.datasets.lists import WHERE, PublishedSplit
from hundredfold.data.table import ImageTable

__all__ = ["BONE_MARROW", "COUNTS", "published_place", "read_bone_marrow"]

#: class → images, in the order of the paper's figures.
COUNTS: Mapping[str, int] = {
    "NGS": 29424, "EBO": 27395, "LYT": 26242, "ART": 19630, "PMO": 11994, "BLA": 11973, "NGB": 9968,
    "PLM": 7629, "MYB": 6557, "EOS": 5883, "MON": 4040, "NIF": 3538, "MMZ": 3055, "PEB": 2740, "BAS": 441,
    "HAC": 409, "OTH": 294, "LYI": 65, "FGC": 47, "KSC": 42, "ABE": 8,
}
TITLE = "Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer"
TREE = (
    "BM_cytomorphology_data/ with one folder for each of 21 classes, such as BAS/BAS_00001.jpg and "
    "LYT/0001-1000/LYT_00001.jpg"
)
SUFFIXES = (".jpg", ".jpeg", ".tif", ".tiff")
BLOCK = 1000


def read_bone_marrow(
    images: Path, choices: DatasetChoices, *, counts: Mapping[str, int] = COUNTS
) -> Reading:
    """The cells below ``images``; an id is ``CLASS/FILE``, whatever the sub-folder.

    Raises:
        InputError: the layout is another one, or the split lists cannot be used.
        TableError: one image lies in two sub-folders.
    """
    root = locate(images, lambda f: any((f / name).is_dir() for name in counts), title=TITLE, tree=TREE)
    rows = [
        (f"{name}/{path.name}", str(path.absolute()), name)
        for name in counts for path in files_below(root / name, SUFFIXES)
    ]
    named = [row for row in rows if re.fullmatch(rf"{row[2]}/{row[2]}_\d{{5}}\.\w+", row[0])]
    table = ImageTable.of(pd.DataFrame(named, columns=["id", "path", "label"]))
    lists = PublishedSplit.read(choices, "bone_marrow")
    notes = ["Which cell is whose was not published: cells of one patient may be on both sides of the split."]
    if other := len(rows) - len(named):
        notes.append(f"{other:,} files were passed over: they are not named as in the data set.")
    return Reading(
        table=table if lists is None else lists.by_test(table),
        parts=parts_of(counts, table.frame["label"]),
        modality="microscopy",
        split=(
            "Drawn by the seed: of each class the share --test-size is the test set. The published list is "
            f"in {WHERE}; name its folder with --splits to take it."
            if lists is None else
            "Published: the images of bone_marrow/test.csv are the test set, all others training images."
        ),
        missing=tuple(_missing(table, counts)),
        notes=tuple(notes),
    )


def published_place(name: str, number: int, count: int) -> str:
    """Where image ``number`` of a class with ``count`` images lies.

    Examples:
        >>> published_place("BAS", 365, 441), published_place("EBO", 27329, 27395)
        ('BAS/BAS_00365.jpg', 'EBO/27001-27395/EBO_27329.jpg')
    """
    start = (number - 1) // BLOCK * BLOCK + 1
    block = f"{start:04d}-{min(start + BLOCK - 1, count)}/" if count > BLOCK else ""
    return f"{name}/{block}{name}_{number:05d}.jpg"


def _missing(table: ImageTable, counts: Mapping[str, int]) -> list[str]:
    """Of classes with too few images, those whose number is not there."""
    there = set(table.frame["id"].str.rpartition(".")[0])
    found = table.frame["label"].value_counts()
    return [
        published_place(name, number, count)
        for name, count in counts.items() if found.get(name, 0) < count
        for number in range(1, count + 1) if f"{name}/{name}_{number:05d}" not in there
    ]


BONE_MARROW = DataSet(
    name="bone_marrow", title=TITLE, read=read_bone_marrow,
    source="The Cancer Imaging Archive, https://doi.org/10.7937/TCIA.AXH3-T579",
)
