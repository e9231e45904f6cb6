"""The published split lists of the paper, applied to what is there, with their leaks told.

The lists are in the repository of the paper (https://github.com/IPMI-ICNS-UKE/sparsam, folder ``splits``):
``bone_marrow/test.csv``, ``endo/labeled_train.csv`` and ``test.csv``, ``isic/labeled_train.csv``,
``test.csv`` and ``unlabeled_train.csv``, with the columns ``image`` (a path) and ``label``. Images are
matched by the name of the file, since the folders of the lists are not those of the data sets throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import pandas as pd

from hundredfold.config import DatasetChoices
from hundredfold.data.rows import existing, read_rows
from hundredfold.data.table import ImageTable
from hundredfold.errors import InputError, LabelConflictError, LeakError, SettingsError

__all__ = ["WHERE", "PublishedSplit", "check_labels", "name_of"]

WHERE = "github.com/IPMI-ICNS-UKE/sparsam, folder splits"
#: In front of the ids of test images that are training images, too.
COPY = "published-test"


def name_of(path: str) -> str:
    """The name by which an image is matched: that of its file, without the suffix.

    Examples:
        >>> name_of("ISIC_2019_Test_Input/ISIC_0032348.jpg")
        'ISIC_0032348'
    """
    return PurePosixPath(path).stem


def check_labels(labelled: pd.DataFrame, told: pd.Series, *, by: str) -> None:
    """Make sure that a second source calls the images as their folders do.

    Args:
        labelled: the columns ``id`` and ``label``.
        told: the labels by the second source, in the same order; missing where it has none.
        by: that source, for the message.

    Raises:
        LabelConflictError: it calls an image otherwise.

    Examples:
        >>> images = pd.DataFrame({"id": ["a.jpg", "b.jpg"], "label": ["cecum", "polyps"]})
        >>> check_labels(images, pd.Series(["cecum", None]), by="labels.csv")
    """
    wrong = told.notna() & (told != labelled["label"])
    if wrong.any():
        first = labelled[wrong].iloc[0]
        raise LabelConflictError(
            f"{wrong.sum():,} of {len(labelled):,} images are called otherwise by {by}, the first "
            f"{told[wrong].iloc[0]!r}, here {first['label']!r}", where=first["id"],
            remedy="Unpack the data set anew.",
        )


@dataclass(frozen=True)
class PublishedSplit:
    """The published lists of one data set.

    Attributes:
        train: name → label; missing where only the test images were listed.
        test: name → label.
        unlabelled: names of the unlabelled images for pre-training, where they were listed.
    """

    train: Mapping[str, str] | None
    test: Mapping[str, str]
    unlabelled: frozenset[str] | None

    @classmethod
    def read(cls, choices: DatasetChoices, name: str) -> Self | None:
        """The lists in ``--splits`` or its folder ``name``; ``None`` if none were named.

        Raises:
            SettingsError: ``published_split`` without the lists.
            InputError: there is no such folder, or no list in it.
        """
        if choices.splits is None:
            if choices.published_split:
                raise SettingsError(
                    "--published-split needs the published lists", where="splits",
                    remedy=f"Name their folder with --splits; they are in {WHERE}.",
                )
            return None
        folder = existing(choices.splits, "the folder of the published split lists")
        folder = folder / name if (folder / name).is_dir() else folder
        if not (folder / "test.csv").is_file():
            raise InputError(
                f"expected {name}/test.csv, found no such list", where=choices.splits,
                remedy=f"The lists are in {WHERE}. Without --splits a split is drawn.",
            )
        train, unlabelled = folder / "labeled_train.csv", folder / "unlabeled_train.csv"
        names = read_rows(unlabelled, required=["image"])["image"] if unlabelled.is_file() else None
        return cls(
            train=_labels(train) if train.is_file() else None,
            test=_labels(folder / "test.csv"),
            unlabelled=None if names is None else frozenset(names.map(name_of)),
        )

    @property
    def leaking(self) -> frozenset[str]:
        """The test images that are also training images."""
        return frozenset(self.test.keys() & (self.train or {}).keys())

    def by_test(self, table: ImageTable) -> ImageTable:
        """The listed test images are the test set, all others train."""
        self._check(table)
        return table.assign(split=_names(table).isin(set(self.test)).map({True: "test", False: "train"}))

    def by_train(self, table: ImageTable) -> ImageTable:
        """The listed training images and the unlabelled are train, all other labelled images test.

        Raises:
            InputError: there is no list of training images.
        """
        self._check(table)
        trained = _names(table).isin(set(self._trained())).to_numpy() | ~table.labelled
        return table.assign(split=pd.Series(trained).map({True: "train", False: "test"}))

    def as_published(self, table: ImageTable, *, allow_leak: bool) -> ImageTable:
        """Both lists as they stand; an image on both gets a second row, on the test side.

        Raises:
            InputError: there is no list of training images.
            LeakError: images, or images of one group, are on both sides, and ``allow_leak`` is not set.
        """
        frame, names = self.by_test(table).frame, _names(table)
        listed = frame["label"].isna() | names.isin(set(self._trained()) | set(self.test))
        twice = frame["label"].notna() & names.isin(self.leaking)
        copies = frame[twice].assign(id=COPY + "/" + frame.loc[twice, "id"])
        kept = frame.assign(split=frame["split"].mask(twice, "train"))[listed]
        both = ImageTable.of(pd.concat([kept, copies]))
        if not allow_leak:
            _check_leak(both, len(copies))
        return both

    def _trained(self) -> Mapping[str, str]:
        """The listed training images; without them all labelled images would be test images, or none."""
        if self.train is None:
            raise InputError(
                "expected labeled_train.csv beside test.csv, found no such list", where="splits",
                remedy=f"The lists are in {WHERE}.",
            )
        return self.train

    def _check(self, table: ImageTable) -> None:
        """Make sure that the lists speak of these images, and call them the same."""
        listed = {**(self.train or {}), **self.test}
        labelled = table.frame[table.labelled]
        told = _names(table)[table.labelled].map(listed)
        if not told.notna().any():
            raise InputError(
                f"none of the {len(listed):,} images of the lists is here; the first is {next(iter(listed))}",
                remedy="Are the lists those of this data set?",
            )
        check_labels(labelled, told, by="the lists")


def _check_leak(table: ImageTable, copies: int) -> None:
    frame = table.frame
    test, train = frame["split"] == "test", frame["split"] == "train"
    lesions = test & frame["group"].isin(frame.loc[train & frame["label"].notna(), "group"].dropna())
    for count, what in ((copies, "are also training images"), (int(lesions.sum()), "share a group with one")):
        if count:
            raise LeakError(
                f"{count:,} of {int(test.sum()):,} test images of the published split {what}",
                where="--published-split",
                remedy="Leave --published-split out for the honest split, or insist with --allow-leak.",
            )


def _names(table: ImageTable) -> pd.Series:
    return table.frame["id"].map(name_of)


def _labels(path: Path) -> dict[str, str]:
    rows = read_rows(path, required=["image", "label"])
    return dict(zip(rows["image"].map(name_of), rows["label"], strict=True))
