"""Train, test, audit: drawn once, by group, before anything learns."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hundredfold.data.dealing import Classes, deal
from hundredfold.data.duplicates import shown
from hundredfold.data.table import ImageTable
from hundredfold.errors import LeakError, SplitError

__all__ = ["HELD_OUT", "check_disjoint", "draw_audit", "draw_splits", "pieces_of", "split_sizes"]

HELD_OUT = ("test", "audit")


def draw_splits(table: ImageTable, *, test_size: float, seed: int) -> ImageTable:
    """Fill ``split`` where it is missing: a stratified, group-aware share is the test set.

    What belongs together stays on one side: images of one group, exact duplicates and near-copies. Of every
    class about ``test_size`` of its labelled images are held out; a class that comes in one piece
    only (one image) stays in train. Splits that are given are never changed, and images that
    belong to them follow. Unlabelled images are ``train`` unless they belong to the other side.
    Where there is an audit set, it takes the place of a test set, and none is drawn.
    How groups are dealt says :mod:`hundredfold.data.dealing`. The order is a function of the seed
    and the ids alone, so neither the order of rows nor the machine matters.

    Args:
        table: images, of which some have labels.
        test_size: share of each class to hold out, between 0 and 1.
        seed: another seed, another draw.

    Raises:
        SplitError: all labels are of one class, or one group holds a whole class.

    Examples:
        >>> table = ImageTable.of({"id": list("abcdef"), "label": ["x", "y"] * 3})
        >>> draw_splits(table, test_size=1 / 3, seed=0).frame["split"].value_counts().to_dict()
        {'train': 4, 'test': 2}
    """
    frame = table.frame
    good = frame["problem"].isna()
    told = good & frame["label"].notna()
    pieces = pieces_of(table)
    split = _follow(frame["split"], pieces, good)
    undecided = (told & split.isna()).to_numpy(dtype=bool)
    if undecided.any() and not split[good].eq("audit").any():
        _check_classes(table, pieces, told, undecided)
        chosen = _chosen(frame.assign(split=split), pieces, undecided, test_size, seed)
        split[undecided] = np.where(np.isin(pieces[undecided], chosen), "test", "train")
        split = _follow(split, pieces, good)
    return table.assign(split=split.mask(good & split.isna(), "train"))


def draw_audit(table: ImageTable, count: int, *, seed: int) -> ImageTable:
    """Choose about ``count`` images at random, labelled or not, as the audit set; other images are ``train``.

    It is stratified by nothing: what is measured on it once it is labelled holds for images as they come.
    Images of one group, exact duplicates and near-copies come together, so the number is as near to
    ``count`` as that allows. Splits that are given are never changed, and images that belong to them follow.

    Raises:
        SplitError: there is an audit set already, or no image would be left for training.

    Examples:
        >>> table = ImageTable.of({"id": list("abcdef")})
        >>> draw_audit(table, 2, seed=0).frame["split"].value_counts().to_dict()
        {'train': 4, 'audit': 2}
    """
    good = table.frame["problem"].isna()
    pieces = pieces_of(table)
    split = _follow(table.frame["split"], pieces, good)
    if already := int(split[good].eq("audit").sum()):
        raise SplitError(
            f"there is an audit set of {already:,} images, and it is drawn once only",
            remedy="Leave out --audit: these images stay.",
        )
    free = (good & split.isna()).to_numpy(dtype=bool)
    order = _random_order(table.ids[free], pieces[free], seed).sort_values().index
    reached = pd.Series(pieces[free]).value_counts().reindex(order).cumsum().to_numpy()
    taken = int(np.abs(reached - count).argmin()) + 1 if len(reached) else 0
    if not taken or reached[taken - 1] == good.sum():
        raise SplitError(
            f"expected more images than the {count:,} of the audit set, in groups of their own; found "
            f"{int(free.sum()):,} in {len(order):,} whose split is not given",
            remedy="Lower --audit.",
        )
    split[free] = np.where(np.isin(pieces[free], order[:taken]), "audit", "train")
    return table.assign(split=split)


def check_disjoint(table: ImageTable) -> None:
    """Make sure that no group and no pixels are both in train and in test or audit.

    Raises:
        LeakError: some are; the message counts and names them.
    """
    frame = table.frame
    decided = (frame["problem"].isna() & frame["split"].notna()).to_numpy(dtype=bool)
    held = decided & frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)
    for told, what in ((frame["group"], "groups"), (shown(frame), "images, by their pixels,")):
        codes, values = pd.factorize(told)
        known = codes >= 0
        inside = np.bincount(codes[known & held], minlength=len(values)) > 0
        outside = np.bincount(codes[known & decided & ~held], minlength=len(values)) > 0
        if shared := int((inside & outside).sum()):
            images = known & held & (inside & outside)[codes]
            raise LeakError(
                f"{shared:,} {what} are both in train and in test "
                f"({int(images.sum()):,} of {int(held.sum()):,} images held out)",
                where=frame["group" if what == "groups" else "id"][images].iloc[0],
                remedy="Correct the column 'split', leave it out to have a split drawn, or insist with "
                "--allow-leak.",
            )


def split_sizes(table: ImageTable) -> pd.DataFrame:
    """Labelled usable images of every class (rows, sorted) in train, test and audit (columns).

    Examples:
        >>> columns = {"id": ["a", "b"], "label": ["x", "x"], "split": ["train", "test"]}
        >>> split_sizes(ImageTable.of(columns)).loc["x"].to_dict()
        {'train': 1, 'test': 1, 'audit': 0}
    """
    frame = table.usable.frame.dropna(subset=["label", "split"])
    sizes = frame.groupby(["label", "split"]).size().unstack(fill_value=0)
    return sizes.reindex(columns=["train", "test", "audit"], fill_value=0).astype(int)


def pieces_of(table: ImageTable) -> NDArray[np.int64]:
    """The number of the piece that each image belongs to: linked by a group, equal pixels or near-copies.

    Blank images are equal and link nothing: of two patients both may have a black frame.

    Examples:
        >>> columns = {"id": list("abcd"), "group": ["p", "p", None, None], "cluster": [None, "b", "b", None]}
        >>> pieces_of(ImageTable.of(columns)).tolist()
        [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    frame = table.frame
    rows, nodes = [], []
    count = len(frame)
    for told in (frame["group"], shown(frame), frame["cluster"]):
        codes, values = pd.factorize(told.where(frame["problem"].isna()))
        rows.append(np.flatnonzero(codes >= 0))
        nodes.append(codes[codes >= 0] + count)
        count += len(values)
    start, end = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(labels[: len(frame)], dtype=np.int64)


def _follow(split: pd.Series, pieces: NDArray[np.int64], good: pd.Series) -> pd.Series:
    """Give each piece's undecided rows the side its other rows are on; held out goes first."""
    split = split.copy()
    for side in ("test", "audit", "train"):
        decided = pieces[(good & (split == side)).to_numpy(dtype=bool)]
        split[good & split.isna() & np.isin(pieces, decided)] = side
    return split


def _check_classes(
    table: ImageTable, pieces: NDArray[np.int64], told: pd.Series, undecided: NDArray[np.bool_]
) -> None:
    frame = table.frame[told]
    if frame["label"].nunique() < 2:
        raise SplitError(
            f"expected labels of two classes or more, found one: {frame['label'].iloc[0]!r}",
            remedy="Add labelled images of another class.",
        )
    frame = table.frame[undecided].assign(piece=pieces[undecided])
    by_class = frame.groupby("label")
    # One image and its copies are one sample, not a patient who holds a class.
    known = frame["cluster"].fillna(frame["sha256"]).fillna(frame["id"])
    samples = known.groupby(frame["label"]).nunique()
    whole = by_class["group"].count().gt(0) & by_class["piece"].nunique().eq(1) & samples.gt(1)
    decided = table.frame[told.to_numpy(dtype=bool) & ~undecided]["label"].unique()
    whole = whole[whole & ~whole.index.isin(decided)]
    if len(whole):
        name = str(whole.index[0])
        group = frame.loc[frame["label"] == name, "group"].dropna().iloc[0]
        raise SplitError(
            f"all {int(samples[name]):,} images of the class {name!r} belong to one group, so the class "
            f"cannot be both in train and in test ({len(whole)} such class{'es' * (len(whole) > 1)})",
            where=f"group {group!r}",
            remedy="Add images of the class from another group, remove its rows from the labels, or give a "
            "column 'split'. Where the groups come from DICOM files that carry one number for all: "
            "--dicom-groups study, or a column 'group'.",
        )


def _chosen(
    frame: pd.DataFrame, pieces: NDArray[np.int64], undecided: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.int64]:
    """The pieces of undecided images to hold out."""
    told = (frame["problem"].isna() & frame["label"].notna()).to_numpy(dtype=bool)
    codes, names = pd.factorize(frame["label"], sort=True)

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(codes[told & mask], minlength=len(names))

    held = frame["split"].isin(HELD_OUT).to_numpy(dtype=bool)
    kept = (frame["split"] == "train").to_numpy(dtype=bool)
    classes = Classes(total=count(told), held=count(held), kept=count(kept), share=share)
    order = _random_order(frame["id"].to_numpy(dtype=object)[undecided], pieces[undecided], seed)
    return deal(pieces[undecided], codes[undecided], order, classes)


def _random_order(ids: NDArray[np.object_], pieces: NDArray[np.int64], seed: int) -> pd.Series:
    """A random number for each piece: the smallest of its images' hashes of seed and id."""
    digests = b"".join(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8] for name in ids)
    return pd.Series(np.frombuffer(digests, dtype=">u8").astype(np.uint64)).groupby(pieces).min()
