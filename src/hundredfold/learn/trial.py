"""What a learning curve is measured on: training side, test images, classes, and what is odd about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.config import CurveChoices
from hundredfold.data.duplicates import shown
from hundredfold.data.splits import HELD_OUT, check_disjoint, pieces_of
from hundredfold.data.table import ImageTable
from hundredfold.encode.embed import Embeddings
from hundredfold.errors import LeakError, SplitError
from hundredfold.learn.reads import expected_reads
from hundredfold.metrics import MIN_GROUPS

__all__ = ["Trial"]

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """The fixed sides of an evaluation.

    Attributes:
        train: the labelled images of the training side.
        test: the labelled test images, or those of the audit set: ``judging`` says which.
        classes: the classes of both, sorted; class numbers are positions in it.
        small: classes that were left out for having too few training images.
        leak: how images are on both sides, if the user insists on it.
        judging: the split of the test images, ``test`` or ``audit``.
        spared: labelled images of an audit set beside a test set; they take no part.
        untaught: of several splits, the classes that are tested in one whose training side has none of them.
        left_out: training images of the classes ``small``: who reads at random reads them, too.
    """

    train: ImageTable
    test: ImageTable
    classes: tuple[str, ...]
    small: tuple[str, ...] = ()
    leak: str | None = None
    judging: str = "test"
    spared: int = 0
    untaught: tuple[str, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, table: ImageTable, *, min_class_size: int = 0, allow_leak: bool = False) -> Self:
        """Take the sides from a table with labels and splits.

        Raises:
            SplitError: a side has no labelled image, or the training side fewer than two classes.
            LeakError: an image or a group is on both sides, and ``allow_leak`` is not set.

        Examples:
            >>> table = ImageTable.of({"id": list("abcd"), "label": ["x", "y"] * 2,
            ...     "split": ["train", "train", "test", "test"]})
            >>> Trial.of(table).classes
            ('x', 'y')
        """
        leak = _leak(table, insist=allow_leak)
        # In the order of ids, so that no result depends on the order of a table's rows.
        train, test = (side.by_id(sorted(side.ids)) for side in (table.train, table.test))
        every = sorted({*train.classes, *test.classes})  # also those that have no training image at all
        sizes = train.frame["label"].value_counts().reindex(every, fill_value=0)
        small = sorted(str(name) for name, size in sizes.items() if size < min_class_size)
        if small:
            train, test = (side.select(~side.frame["label"].isin(small)) for side in (train, test))
        _check_sides(train, test, min_class_size)
        classes = tuple(sorted({*train.classes, *test.classes}))
        audit = int((table.usable.labelled & (table.usable.frame["split"] == "audit")).sum())
        judging = table.judging
        return cls(
            train, test, classes, tuple(small), leak, judging, audit if judging == "test" else 0,
            left_out=int(sizes[small].sum()),
        )

    @classmethod
    def labelled(cls, table: ImageTable) -> Self:
        """All labels that are not held out, and no test images: to choose a method and fit it.

        Raises:
            SplitError: they are of fewer than two classes.
        """
        usable = table.usable
        train = usable.select(usable.labelled & ~usable.frame["split"].isin(HELD_OUT))
        train = train.by_id(sorted(train.ids))
        if len(train.classes) < 2:
            raise SplitError(
                f"expected labelled training images of two classes or more, found {len(train.classes)}",
                remedy="Add labelled images of another class.",
            )
        return cls(train, train.select(np.zeros(len(train), dtype=bool)), tuple(train.classes))

    @cached_property
    def train_codes(self) -> NDArray[np.int64]:
        """The class numbers of the training side."""
        return self._codes(self.train)

    @cached_property
    def test_codes(self) -> NDArray[np.int64]:
        """The class numbers of the test images."""
        return self._codes(self.test)

    @property
    def identity(self) -> str:
        """SHA-256 over the ids and labels of both sides, in their order."""
        sides = [side.frame[["id", "label"]].to_csv(index=False) for side in (self.train, self.test)]
        return hashlib.sha256("\0".join(sides).encode()).hexdigest()

    @cached_property
    def test_groups(self) -> NDArray[np.int64]:
        """The group number of each test image; one without a group or copies is its own."""
        return pieces_of(self.test)

    def groups_among(self, rows: NDArray[np.int64]) -> int | None:
        """How many groups some rows of the training side come from; ``None`` if groups are not known."""
        known = self.train.frame["group"].iloc[rows].dropna()
        return int(known.nunique()) if len(known) else None

    @cached_property
    def train_groups(self) -> NDArray[np.int64]:
        """The group number of each image of the training side; one without a group or copies is its own."""
        return pieces_of(self.train)

    @property
    def largest_class(self) -> int:
        """The most labels that a class has on the training side: so many a class are all there are."""
        return int(np.bincount(self.train_codes).max())

    def reads(self, budgets: Iterable[int]) -> dict[int, int]:
        """Labels per class → images of the training side read, in random order, until each class has them.

        Empty where an audit set judges: what is labelled beside it was chosen, perhaps, and its classes are
        then not as common as they are where the images come from.
        """
        if self.judging == "audit":
            return {}
        sizes = [*np.bincount(self.train_codes), self.left_out]
        others = len(sizes) - 1
        return {budget: round(expected_reads(sizes, [budget] * others + [0])) for budget in set(budgets)}

    def vectors(self, embeddings: Embeddings) -> tuple[Vectors, Vectors]:
        """The vectors of the training side and of the test images.

        Raises:
            TableError: an image has no vector.
        """
        return embeddings.of(self.train), embeddings.of(self.test)

    def transductive(self, embeddings: Mapping[str, Embeddings]) -> dict[str, int]:
        """Encoder → how many test images it was trained on, where any."""
        pixels = set(shown(self.test.frame).dropna())
        counts = {name: len(pixels & found.seen) for name, found in embeddings.items()}
        return {name: count for name, count in counts.items() if count}

    def facts(self, choices: CurveChoices | None = None) -> dict[str, Any]:
        """What a reader must know of the evaluation; JSON can hold it."""
        train, test = (side.frame["label"].value_counts() for side in (self.train, self.test))
        return {
            "classes": list(self.classes),
            "train_images": len(self.train),
            "train_images_by_class": {name: int(train.get(name, 0)) for name in self.classes},
            "test_images": {name: int(test.get(name, 0)) for name in self.classes},
            "test_set": self.judging,
            "audit_images_spared": self.spared,
            "test_groups": int(self.test.frame["group"].nunique()),
            "classes_without_test_images": sorted(set(self.classes) - set(self.test.classes)),
            "classes_without_training_images": sorted(
                {*self.untaught, *(set(self.classes) - set(self.train.classes))}
            ),
            "classes_left_out": list(self.small),
            "train_images_left_out": self.left_out,
            "classes_of_one_site": self._of_one_site() if choices and choices.leave_one_site_out else {},
            "leak": self.leak,
            "intervals": self.intervals(choices or CurveChoices()),
        }

    def intervals(self, choices: CurveChoices) -> str:
        """What is resampled for the intervals, or why there are none."""
        count = len(np.unique(self.test_groups))
        known = self.test.frame["group"].notna()
        if not choices.bootstrap:
            return "none: no resamples were asked for"
        if count < MIN_GROUPS:
            return f"none: the test images are of {count} groups, and fewer than {MIN_GROUPS} are no evidence"
        alone = "" if known.all() or not known.any() else " (an image without one is its own)"
        told = f"{count} test groups{alone}" if known.any() else "test images"
        if choices.repeats > 1:
            told += " and the draws, resampled jointly"
        else:
            told += ", resampled; what other labels would change is not in them"
        return told if known.any() else f"{told}; no groups are known, so they may be too narrow"

    def sentences(self, choices: CurveChoices | None = None) -> list[str]:
        """The facts that a user should read, in sentences."""
        facts = self.facts(choices)
        tested = "test images" if self.judging == "test" else "test images (the audit set)"
        sizes = f"{len(self.train):,} training and {len(self.test):,} {tested}"
        lines = [f"Curve: {sizes} of {len(self.classes)} classes.", f"Intervals: {facts['intervals']}."]
        for name, text in (
            ("classes_without_test_images", "Without test images, hence in no average"),
            ("classes_without_training_images", "Without training images, hence never recognised"),
            ("classes_left_out", "Left out for too few training images"),
        ):
            if facts[name]:
                lines.append(f"{text}: {', '.join(facts[name])}.")
        for site, names in facts["classes_of_one_site"].items():
            lines.append(
                f"Without the labels of {site} nothing recognises, since no other site has labels of it: "
                f"{', '.join(names)}."
            )
        if self.spared:
            lines.append(f"Judged on the test set: the {self.spared:,} labelled audit images take no part.")
        if self.leak:
            lines.append(f"Warning: {self.leak}; you insisted, so results will be too good.")
        return lines

    def _of_one_site(self) -> dict[str, list[str]]:
        """Site → the classes tested there that labels of the other sites do not teach, though two others."""
        learned, asked = (side.frame.dropna(subset="site") for side in (self.train, self.test))
        found = {}
        for site, own in asked.groupby("site"):
            others = set(learned.loc[learned["site"] != site, "label"])
            if len(others) > 1 and (names := set(own["label"]) - others):
                found[str(site)] = sorted(names)
        return found

    def _codes(self, side: ImageTable) -> NDArray[np.int64]:
        names = pd.Index(side.frame["label"].astype(object))
        return pd.Index(self.classes, dtype=object).get_indexer(names).astype(np.int64)


def _leak(table: ImageTable, *, insist: bool) -> str | None:
    try:
        check_disjoint(table)
    except LeakError as error:
        if not insist:
            raise
        return error.found
    return None


def _check_sides(train: ImageTable, test: ImageTable, min_class_size: int) -> None:
    if len(train.classes) < 2:
        raise SplitError(
            f"expected labelled training images of two classes or more, found {len(train.classes)}",
            where=f"classes of at least {min_class_size} images" if min_class_size else None,
            remedy="Label images of another class, or lower --min-class-size.",
        )
    if not len(test):
        raise SplitError(
            "expected labelled test images, found none",
            remedy="If there is an audit set, label images of it (splits.csv names them). Else leave the "
            "column 'split' out to have a test set drawn, or mark rows of it 'test'. "
            "Near-copies of each other stay together; if they are none, scan with --no-near-copies.",
        )
