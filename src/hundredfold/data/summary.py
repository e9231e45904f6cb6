"""What a scan found, in sentences that a clinician can check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hundredfold.data.duplicates import CONTRADICTION, exact_duplicates
from hundredfold.data.rejects import NO_IMAGES
from hundredfold.data.splits import split_sizes
from hundredfold.data.table import ImageTable
from hundredfold.url import Url

__all__ = ["facts", "sentences"]

NAMES = 3
#: What programs write where there is no label; as names they are classes like others.
NO_LABEL = {"nan", "na", "n/a", "none", "null", "<na>"}
#: flag of a usable image → what is said of those that have it.
REMARKS = {
    "burned_in_annotation": "Warning: {} with writing burnt in, by their own account ({}). It may name the "
    "patient, and an encoder may learn it in place of the disease; look at them before you go on.",
    "overlay_left_out": "Warning: {} with an overlay, which is left out ({}).",
    "several_windows": "Warning: {} with several windows, of which the first was taken ({}). --window shows "
    "all CT through one.",
    "patient_not_read": "Warning: {} of DICOM files whose names end as those of others do ({}): whose they "
    "are was not read. Name them .dcm.",
    "constant": "Warning: {} with one and the same value everywhere ({}).",
}


def facts(table: ImageTable) -> dict[str, Any]:
    """The counts of a scanned table, as JSON can hold them; None of them names an image."""
    usable = table.usable
    reasons = table.rejects["reason"].value_counts(sort=False)
    copies = exact_duplicates(table)
    return {
        "images": len(table),
        "usable": len(usable),
        "rejected": {str(reason): int(count) for reason, count in reasons.items()},
        "labelled": int(usable.labelled.sum()),
        "classes": {str(name): int(count) for name, count in split_sizes(table).sum(axis=1).items()},
        "splits": {str(name): int(count) for name, count in usable.frame["split"].value_counts().items()},
        "groups": int(usable.frame["group"].nunique()),
        "grouped": int(usable.frame["group"].notna().sum()),
        "duplicates": len(copies),
        "duplicate_clusters": int(copies["cluster"].nunique()),
        "near_copies": int(usable.frame["cluster"].notna().sum()),
        "near_copies_astride": _astride(usable.frame),
        "contradictions": int(usable.frame["note"].str.contains(CONTRADICTION, regex=False, na=False).sum()),
    }


def sentences(
    table: ImageTable, source: Path | Url, *, ignored: Mapping[str, int] | None = None,
    unmatched: Iterable[str] = (), look_alikes: Iterable[tuple[str, ...]] = (), near_copies: bool = False,
) -> list[str]:
    """The lines a scan ends with.

    Args:
        table: the scanned images, with their splits.
        source: where they were found.
        ignored: kind of file → how many were passed over.
        unmatched: rows of the labels that name no image.
        look_alikes: labels that may be meant as one.
        near_copies: whether they were looked for.

    Examples:
        >>> table = ImageTable.of({"id": ["a", "b", "c"], "split": "train", "problem": [None, None, "empty"]})
        >>> for line in sentences(table, Path("cells")): print(line)
        Images: 3 found in cells.
        Left out: 1 of them (33 %), each with its reason in rejects.csv.
          empty: 1 (c)
        Labels: none.
        Groups: none known.
        Duplicates: no two images have the same pixels.
        Near-copies: not looked for.
        Split: all 2 images are for training.
    """
    counted = facts(table)
    lines = [f"Images: {len(table):,} found in {source}{_passed_over(ignored or {})}."]
    lines += _left_out(table)
    lines += _labels(table, counted, list(unmatched), list(look_alikes))
    lines += [*_remarks(table), _groups(counted), *_doubtful_groups(table), _duplicates(counted)]
    return [*lines, *_near_copies(counted, sought=near_copies), *_split(table, counted)]


def _astride(frame: pd.DataFrame) -> int:
    """Images held out that have a near-copy on the training side: where the split was given."""
    known = frame[frame["cluster"].notna()]
    training = set(known.loc[known["split"] == "train", "cluster"])
    return int((known["split"].isin(["test", "audit"]) & known["cluster"].isin(training)).sum())


def _passed_over(ignored: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(ignored.items()))
    return f"; passed over: {counts}" if counts else ""


def _left_out(table: ImageTable) -> list[str]:
    rejects = table.rejects
    if rejects.empty:
        return ["Left out: none."]
    percent = f"{100 * len(rejects) / len(table):.2g} %"
    lines = [f"Left out: {len(rejects):,} of them ({percent}), each with its reason in rejects.csv."]
    for reason, names in rejects.groupby("reason")["image"]:
        never = "; reports, plans and the like, which are no images" if reason in NO_IMAGES else ""
        lines.append(f"  {reason}: {len(names):,} ({_some(names)}){never}")
    return lines


def _remarks(table: ImageTable) -> list[str]:
    usable = table.usable.frame
    lines = []
    for flag, sentence in REMARKS.items():
        names = usable["id"][usable["note"].str.contains(flag, regex=False, na=False)]
        if len(names):
            lines.append(sentence.format(f"{len(names):,} image{'s' * (len(names) > 1)}", _some(names)))
    return lines


def _labels(
    table: ImageTable, counted: Mapping[str, Any], unmatched: list[str], look_alikes: list[tuple[str, ...]]
) -> list[str]:
    if not counted["labelled"]:
        return ["Labels: none."]
    sizes = split_sizes(table)
    without = counted["usable"] - counted["labelled"]
    lines = [
        f"Labels: {counted['labelled']:,} images of {len(sizes)} classes"
        + (f"; {without:,} without a label." if without else ".")
    ]
    width = max(len(str(name)) for name in sizes.index)
    for name, row in sizes.iterrows():
        sides = ", ".join(f"{count:,} {side}" for side, count in row.items() if count or side != "audit")
        lines.append(f"  {name!s:<{width}}  {row.sum():>7,}  ({sides})")
    lines += _not_tested(table, sizes)
    if unmatched:
        lines.append(
            f"  Rows of the labels that name no image: {len(unmatched):,} ({_some(unmatched)}); "
            "see rejects.csv."
        )
    lines += [
        f"  Is this one class? {' = '.join(map(repr, same))}: if so, write it one way in the labels."
        for same in look_alikes
    ]
    return lines + [
        f"  Is {str(name)!r} a class? For an image without a label leave the cell empty."
        for name in sizes.index if str(name).casefold() in NO_LABEL
    ]


def _not_tested(table: ImageTable, sizes: pd.DataFrame) -> list[str]:
    """The classes of which nothing will be known."""
    if not len(table.test) and (table.usable.frame["split"] == "audit").any():
        return ["  No image of the audit set has a label yet. Accuracy is measured on them: label them all."]
    absent = [str(name) for name in sizes.index[sizes[table.judging] == 0]]
    why = "for want of images or groups" if table.judging == "test" else "as chance would have it"
    return [f"  Not in the {table.judging} set, {why}: {_some(absent)}."] if absent else []


def _groups(counted: Mapping[str, Any]) -> str:
    groups, alone = counted["groups"], counted["usable"] - counted["grouped"]
    if groups:
        rest = f"; {alone:,} images have none and count as one each" if alone else ""
        single = (
            " Every group is one image: that is right only if no patient or slide gave two."
            if groups == counted["grouped"] else ""
        )
        return f"Groups: {groups:,} (patients or slides), each on one side of the split only{rest}.{single}"
    if not counted["labelled"]:
        return "Groups: none known."
    return (
        "Groups: none known. Images of one patient may stand on both sides of the split, and the results "
        "would then be too good. If you know the patients, add a column 'group' to the labels."
    )


def _doubtful_groups(table: ImageTable) -> list[str]:
    """Groups called as programs call what is missing, and those that may be one; a patient's is not named."""
    sizes = table.usable.frame["group"].value_counts(sort=False)
    names = sizes.index.to_series().astype(str)
    plain = names.str.casefold().str.replace(r"\s+", "", regex=True)
    lines = []
    if alike := int(plain.duplicated().sum()):
        lines.append(
            f"  {alike:,} group{'s are' if alike > 1 else ' is'} called as another one but for capitals or "
            "spaces. Of the same patient or slide? Write it one way, or it may stand on both sides."
        )
    return lines + [
        f"  Is {str(name)!r} a patient or slide, of {count:,} images? Where it is not known leave the cell "
        "empty."
        for name, count in sizes.items() if count > 1 and str(name).casefold() in NO_LABEL
    ]


def _duplicates(counted: Mapping[str, Any]) -> str:
    if not counted["duplicates"]:
        return "Duplicates: no two images have the same pixels."
    torn = counted["contradictions"]
    lost = f" {torn:,} of them had more than one label and count as unlabelled." if torn else ""
    return (
        f"Duplicates: {counted['duplicates']:,} images have exact copies "
        f"({counted['duplicate_clusters']:,} different ones); all but blank ones stay on one side.{lost}"
    )


def _near_copies(counted: Mapping[str, Any], *, sought: bool) -> list[str]:
    if not sought:
        return ["Near-copies: not looked for."]
    if not (found := counted["near_copies"]):
        return ["Near-copies: none found."]
    lines = [f"Near-copies: {found:,} images show what another shows (near_copies.csv); they stay together."]
    if astride := counted["near_copies_astride"]:
        lines.append(
            f"  Warning: by the given split {astride:,} of the images held out have one on the training "
            "side, so results will be too good."
        )
    return lines


def _split(table: ImageTable, counted: Mapping[str, Any]) -> list[str]:
    if set(counted["splits"]) <= {"train"}:
        return [f"Split: all {counted['usable']:,} images are for training."]
    usable = table.usable.frame
    known = usable["label"].notna().groupby(usable["split"]).agg(["size", "sum"])
    parts = [
        f"{side} {int(known['size'][side]):,} images ({int(known['sum'][side]):,} labelled)"
        for side in ("train", "test", "audit") if side in known.index
    ]
    return [f"Split: {', '.join(parts)}; written to splits.csv."]


def _some(names: Iterable[str] | pd.Series) -> str:
    """The first few names on one line, whatever characters are in them."""
    names = [str(name) for name in names]
    shown = [name if name.isprintable() else ascii(name) for name in names[:NAMES]]
    return ", ".join(shown) + (", …" if len(names) > NAMES else "")
