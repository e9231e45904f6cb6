"""Chapter "The data": what was found, left out, and who is on which side."""

from __future__ import annotations

import pandas as pd

from hundredfold.data.duplicates import exact_duplicates
from hundredfold.report.chapters.base import Cell, Chapter, Exhibit, Listing
from hundredfold.report.examples import class_examples
from hundredfold.report.material import Material
from hundredfold.report.sheets import class_sheet, pair_sheet
from hundredfold.report.tables import class_counts, counts, reject_counts, rows_of
from hundredfold.report.words import shown

__all__ = ["data_chapter"]

EXAMPLES_EACH = 6
CLASSES_SHOWN = 12
PAIRS_SHOWN = 24


def data_chapter(material: Material) -> Chapter | None:
    """Counts, rejects, classes and copies; ``None`` if nothing was scanned."""
    if material.images is None:
        return None
    items: list[Exhibit | Listing] = [_counts(material)]
    classes = class_counts(material.images)
    if len(classes):
        items.append(_classes(classes, material.images.judging))
    sentences = []
    if material.rejects is not None and len(material.rejects):
        items.append(_rejects(material.rejects))
    elif len(material.images) == len(material.images.usable):
        sentences.append("Every image could be read; none was left out.")
    if material.outer:
        sentences.append(
            "Test splits took turns: each labelled image was a test image once, whatever its side below."
        )
    if stain := (material.state.get("scan") or {}).get("stain"):
        sentences.append(
            "The colours of every image were brought to those of the training side "
            f"(--stain {stain['method']}), here and in all that follows."
        )
    copies = exact_duplicates(material.images)
    if len(copies):
        items.append(_copies(copies))
    if (examples := _examples(material)) is not None:
        items.append(examples)
    if (pairs := _near_copies(material)) is not None:
        items.append(pairs)
    return Chapter("data", "The data", sentences, items)


def _counts(material: Material) -> Listing:
    assert material.images is not None
    table = counts(material.images, material.rejects, material.copies_across)
    return Listing(
        "counts",
        "What was found",
        "",
        ["", "number"],
        [[item, f"{number:,}"] for item, number in rows_of(table)],
        table,
    )


def _classes(table: pd.DataFrame, judging: str) -> Listing:
    most = max(int((table["train"] + table["test"]).max()), 1)
    grouped = bool(table["groups"].any())
    head = ["class", "train", judging] + (["groups"] if grouped else [])
    rows: list[list[Cell | str]] = []
    for row in rows_of(table):
        cells: list[Cell | str] = [
            Cell(shown(row.label), bar=(row.train + row.test) / most),
            f"{row.train:,}",
            f"{row.test:,}",
        ]
        rows.append(cells + ([f"{row.groups:,}"] if grouped else []))
    return Listing(
        "classes",
        "Labelled images of each class",
        "The bar is the class's share of the largest class.",
        head,
        rows,
        table,
    )


def _rejects(rejects: pd.DataFrame) -> Listing:
    table = reject_counts(rejects)
    rows = [[reason, shown(example, 160), f"{number:,}"] for reason, number, example in rows_of(table)]
    return Listing(
        "rejects",
        "What was left out, by reason",
        "Every one of them is listed in rejects.csv.",
        ["reason", "for example", "images"],
        rows,
        table,
        words=2,
    )


def _copies(clusters: pd.DataFrame) -> Listing:
    grouped = clusters.groupby("cluster", sort=True)
    table = pd.DataFrame(
        {
            "images": grouped.size(),
            "labels": grouped["label"].nunique(),
            "splits": grouped["split"].nunique(),
        }
    )
    several = table["labels"] > 1
    summary = pd.DataFrame(
        {
            "item": [
                "sets of identical images",
                "images in them",
                "sets with more than one label",
                "sets with copies on both sides",
            ],
            "count": [
                len(table),
                int(table["images"].sum()),
                int(several.sum()),
                int((table["splits"] > 1).sum()),
            ],
        }
    )
    return Listing(
        "copies",
        "Exact copies",
        "Copies of one image count as one group when the test set is drawn.",
        ["", "number"],
        [[item, f"{n:,}"] for item, n in rows_of(summary)],
        summary,
    )


def _examples(material: Material) -> Exhibit | None:
    if material.images is None or material.store is None:
        return None
    kept = material.images.select(material.images.frame["id"].isin(list(material.store.ids)))
    if not len(kept.usable):
        return None
    table = class_examples(kept, each=EXAMPLES_EACH, most_classes=CLASSES_SHOWN, seed=0)
    names = list(dict.fromkeys(table["label"]))
    side = "training " if len(kept.train) else ""  # an external validation has none
    some = (kept.train if side else kept.usable).frame["label"].nunique() > len(names)
    return Exhibit(
        "examples",
        "Images of each class",
        f"Random {side}images{' of the largest classes' if some else ''}, "
        "decoded once and resized.",
        f"Rows of up to {EXAMPLES_EACH} images for {len(names)} classes: "
        f"{', '.join(shown(n) for n in names)}.",
        class_sheet(table, material.store),
        table,
        photographic=True,
        wide=True,
    )


def _near_copies(material: Material) -> Exhibit | None:
    pairs, store = material.near_copies, material.store
    if pairs is None or store is None or not len(pairs):
        return None
    known = pairs["first"].isin(list(store.ids)) & pairs["second"].isin(list(store.ids))
    pairs = pairs[known].reset_index(drop=True)
    both = pairs["first_label"].notna() & pairs["second_label"].notna()
    torn = int((both & (pairs["first_label"] != pairs["second_label"])).sum())
    apart = int((pairs["first_split"].fillna("") != pairs["second_split"].fillna("")).sum())
    sides = (
        f"the split was given, and {apart:,} of the pairs are on both sides of it" if apart
        else "they are kept on one side of the split"
    )
    images = pd.concat([pairs["first"], pairs["second"]]).nunique()
    return Exhibit(
        "near_copies",
        "Copies and near-copies",
        f"{len(pairs):,} pairs among {images:,} images show the same, whatever was done to one of them; "
        f"{sides}, and they count as one group. "
        f"{f'{torn:,} pairs have two labels (orange): look at them. ' if torn else ''}"
        f"Shown: {'those first, then ' if torn else ''}the pairs that are least alike.",
        f"{min(len(pairs), PAIRS_SHOWN)} pairs of images that show the same.",
        pair_sheet(pairs.head(PAIRS_SHOWN), store),
        pairs,
        photographic=True,
        wide=True,
    )
